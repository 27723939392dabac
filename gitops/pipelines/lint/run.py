"""All rules over all files, without what is ignored for a reason.

`# gitops: ignore[rule] reason` stands on the line that a rule names, or alone on the line above.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitops.errors import UsageError
from gitops.pipelines.lint import files
from gitops.pipelines.lint.model import Finding, Hit, Known, Source
from gitops.pipelines.lint.rules import RULES

_IGNORE = re.compile(r"#\s*gitops:\s*ignore\[([^\]]*)\]\s*(.*)$")


@dataclass(frozen=True)
class Linted:
    """`files`: how many were looked at; `ignored`: findings with a reason against them."""

    files: int
    findings: tuple[Finding, ...]
    ignored: int


def lint(
    root: Path,
    paths: Sequence[Path] = (),
    known: Known | None = None,
    drift: Iterable[tuple[str, str]] = (),
) -> Linted:
    """Look at the workflow files of `root`, or at `paths`.

    `drift`: files that aren't as they are generated, and why; those that are looked at count.

    Raises:
        UsageError: as `files.find`, or a file that was named is no workflow.
        ToolError: an action's repository can't be asked.
    """
    known = known or Known()
    found: list[Finding] = []
    sources: list[Source] = []
    for path in files.find(root, paths):
        one = files.read(path, _shown(path, root))
        if isinstance(one, Source):
            sources.append(one)
        elif one is not None:
            found.append(one)
        elif path in paths:
            raise UsageError(f"{path} is no workflow file", fix="name workflow files or folders")
    read = len(sources) + len(found)
    for source in sources:
        for rule in RULES:
            if rule.check is not None and source.platform in rule.platforms:
                found += (_finding(source, rule.id, hit) for hit in rule.check(source, known))
    for rule in RULES:
        if rule.all is not None:
            found += (_finding(source, rule.id, hit) for source, hit in rule.all(tuple(sources)))
    looked = {source.path for source in sources}
    fix = "change gitops.yaml or .gitops/, then: gitops sync"
    found += (Finding(path, 1, 1, "drift", why, fix) for path, why in drift if path in looked)
    kept, ignored = _kept(sources, sorted(set(found)))
    return Linted(read, tuple(sorted(kept)), ignored)


def _shown(path: Path, root: Path) -> str:
    full = path.resolve()
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else str(path)


def _finding(source: Source, rule: str, hit: Hit) -> Finding:
    if hit.script is not None:
        line, column = source.line_in(hit.script, hit.text)
    else:
        where = source.document.where(hit.place, key=hit.key)
        line, column = where.line or 1, where.column or 1
    return Finding(source.path, line, column, rule, hit.message, hit.fix)


# ---------------------------------------------------------------- ignores


@dataclass(frozen=True)
class _Ignore:
    """`about`: the line that it is about; `line` and `column`: its own."""

    about: int
    line: int
    column: int
    rules: tuple[str, ...]
    reason: str


def _kept(sources: Sequence[Source], found: Sequence[Finding]) -> tuple[list[Finding], int]:
    ignores = {source.path: list(_ignores(source)) for source in sources}
    used: set[tuple[str, int, str]] = set()
    kept = []
    for one in found:
        match = next(
            (
                each
                for each in ignores.get(one.path, ())
                if each.about == one.line and one.rule in each.rules and each.reason
            ),
            None,
        )
        if match is None:
            kept.append(one)
        else:
            used.add((one.path, match.line, one.rule))
    ignored = len(found) - len(kept)
    for path, each in ignores.items():
        kept += (problem for one in each for problem in _problems(path, one, used))
    return kept, ignored


def _ignores(source: Source) -> Iterator[_Ignore]:
    for number, line in enumerate(source.lines, 1):
        found = _IGNORE.search(line)
        if found is not None:
            alone = not line[: found.start()].strip()
            rules = tuple(one.strip() for one in found[1].split(",") if one.strip())
            about = number + 1 if alone else number
            yield _Ignore(about, number, found.start() + 1, rules, found[2].strip())


def _problems(path: str, one: _Ignore, used: set[tuple[str, int, str]]) -> Iterator[Finding]:
    known = {rule.id for rule in RULES}
    place = (path, one.line, one.column, "ignore")
    if not one.reason:
        yield Finding(*place, "ignores without a reason", "write why after the bracket")
        return
    for rule in one.rules or ("",):
        if rule not in known:
            yield Finding(
                *place, f"there is no rule {rule!r}", f"rules: {', '.join(sorted(known))}"
            )
        elif (path, one.line, rule) not in used:
            yield Finding(*place, f"ignores {rule}, which finds nothing here", "take it out")
