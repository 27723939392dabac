"""`gitops add generator`: one of gitops, or an overlay from a folder or a git repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gitops import git, yamlfile
from gitops.errors import AnswerNo, ConfigError
from gitops.scaffold import generator, overlay, sync
from gitops.scaffold import lock as locks
from gitops.scaffold.generator import Generator, nearest
from gitops.scaffold.lock import GeneratorLock
from gitops.scaffold.plan import Plan

# What a person or a machine may run later, without having read it.
_RUNS = (
    ".github/workflows/**",
    ".azure-pipelines/**",
    "azure-pipelines.yml",
    ".pre-commit-config.yaml",
    "**/Makefile",
    "**/dvc.yaml",
    "**/*.py",
    "**/*.sh",
)


@dataclass(frozen=True)
class Proposal:
    """A generator that could be added, and what that would write.

    `trusted`: it is one of gitops' own, or pinned here already at the same digest; `runs`: files of
    it that somebody may run later.
    """

    generator: Generator
    pin: GeneratorLock
    plan: Plan
    runs: tuple[str, ...]
    trusted: bool
    news: sync.News


@contextmanager
def proposed(
    root: Path, source: str, revision: str | None, settings: Mapping[str, str]
) -> Iterator[Proposal]:
    """What adding the generator `source` (a name, a folder, a git URL) would do.

    Raises:
        AnswerNo: the repository is not in sync, or has another generator of that name.
        GitopsError: as `overlay.opened`; or a template fails, or an answer isn't known.
    """
    git.root(root)
    before = locks.read(root / locks.PATH)
    if sync.survey(root).changes:
        raise AnswerNo(
            "the repository isn't in sync, so what a new generator changes can't be told apart",
            fix="gitops sync, commit, then say it again",
        )
    if revision is None and generator.is_shipped(source):
        own = generator.load(source)
        pin = GeneratorLock(own.name, own.digest, "shipped", own.revision)
        yield _proposal(root, own, pin, before, settings)
        return
    with overlay.opened(overlay.origin(source, revision, Path.cwd())) as (found, origin):
        yield _proposal(root, found, overlay.pin(found, origin), before, settings)


def _proposal(
    root: Path,
    found: Generator,
    pin: GeneratorLock,
    before: locks.Lock,
    settings: Mapping[str, str],
) -> Proposal:
    there = next((used for used in before.generators if used.name == found.name), None)
    if there is not None and (there.origin, there.source) != (pin.origin, pin.source):
        raise AnswerNo(
            f"there is a generator {found.name} already, from {there.origin or there.source}",
            fix=f"rename yours: `name` in {found.folder / 'generator.yaml'}",
        )
    others = [used for used in before.generators if used.name != found.name]
    news = sync.News(
        generators=(*others, pin),
        answers={**before.answers, **_own_answers(found, settings)},
        fresh={} if pin.source == "shipped" else {found.name: found.folder},
    )
    plan = sync.survey(root, news)
    written = [entry.file for entry in plan.changes if entry.state != "delete"]
    runs = tuple(
        str(file.path)
        for file in written
        if file.generator == found.name
        and (file.executable or any(generator.matches(glob, str(file.path)) for glob in _RUNS))
    )
    known = there is not None and there.digest == pin.digest
    return Proposal(found, pin, plan, runs, pin.source == "shipped" or known, news)


def _own_answers(found: Generator, settings: Mapping[str, str]) -> dict[str, object]:
    answers: dict[str, object] = {}
    for key, text in settings.items():
        if key not in found.answers:
            raise ConfigError(
                f"generator {found.name} has no answer {key!r}{nearest(key, found.answers)}",
                fix=f"its answers are: {', '.join(found.answers) or 'none'}",
            )
        value = yamlfile.parse(f"value: {text}".encode(), Path(f"--set {key}")).data["value"]
        answers[key] = text if isinstance(found.answers[key], str) else value
    return answers
