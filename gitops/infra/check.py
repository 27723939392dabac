"""`gitops infra check`: everything about infrastructure/ that can be known without a cloud.

A check whose program isn't installed says so: it has neither passed nor failed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gitops import jsontext, proc
from gitops.errors import ConfigError, Where
from gitops.infra import arm, bicep, hcl, schema
from gitops.infra.finding import Finding

TOOLS = ("terraform", "tofu")
State = Literal["passed", "failed", "not installed"]
_SKIP = re.compile(r"checkov:skip=(\w+)[^\S\n]*(:?)[^\S\n]*([^\n]*)")


@dataclass(frozen=True)
class Check:
    """A check: what it looked with (a program and version), and what it found."""

    name: str
    state: State
    by: str
    findings: tuple[Finding, ...] = ()


NAMES = ("format", "syntax", "arguments", "reasons", "security")


def run(folder: Path, names: Sequence[str] = NAMES) -> tuple[Check, ...]:
    """The checks of these names, of the folder `infrastructure`.

    Raises:
        ConfigError: there is no such folder.
        ToolError: a program that is installed broke down.
    """
    terraform, files = any(folder.rglob("*.tf")), bicep.paths(folder)
    if not (terraform or files):
        raise ConfigError(
            f"there's no infrastructure in {folder}",
            fix="gitops add infrastructure",
            where=Where(folder),
        )
    found: list[Check] = []
    if "format" in names and terraform:
        found.append(_format(folder))
    if {"syntax", "arguments"} & set(names):
        read = (*(_hcl(folder) if terraform else ()), *(_bicep(files) if files else ()))
        found += (one for one in read if one.name in names)
    if "reasons" in names:
        found.append(_explained(folder))
    if "security" in names:
        # Both are there where somebody keeps files of one beside those of the other.
        languages = {"terraform": terraform, "bicep": bool(files)}
        found.append(_security(folder, [name for name, there in languages.items() if there]))
    return tuple(found)


def tool(wanted: str | None = None) -> str | None:
    """Terraform or OpenTofu, whichever is on PATH; None if neither is."""
    names = (wanted,) if wanted else TOOLS
    return next((name for name in names if shutil.which(name)), None)


def _check(name: str, by: str, findings: Iterator[Finding]) -> Check:
    found = tuple(findings)
    return Check(name, "failed" if found else "passed", by, found)


def _format(folder: Path) -> Check:
    program = tool()
    if program is None:
        return Check("format", "not installed", "terraform or tofu")
    done = proc.run([program, "fmt", "-check", "-recursive"], cwd=folder, check=False)
    names = [line for line in done.out.splitlines() if line.endswith((".tf", ".tfvars"))]
    if done.code and not names:
        raise proc.failed([program, "fmt", "-check"], done)
    findings = (
        Finding(Where(folder / name), f"isn't formatted: {program} fmt -recursive {folder.name}")
        for name in names
    )
    return _check("format", f"{program} fmt", findings)


def _hcl(folder: Path) -> Iterator[Check]:
    if not hcl.installed():
        yield Check("syntax", "not installed", "python-hcl2")
        yield Check("arguments", "not installed", "python-hcl2")
        return
    faults = list(_faults(folder))
    yield _check("syntax", "python-hcl2", iter(faults))
    if faults:  # the rest would speak of what couldn't be read
        return
    found = schema.folders(folder)
    unknown = schema.unknown(found)
    beside = f"; not in the table, so not looked at: {', '.join(unknown)}" if unknown else ""
    by = ", ".join(schema.providers(found)) or "python-hcl2"
    yield _check("arguments", f"{by}{beside}", schema.problems(found))


def _faults(folder: Path) -> Iterator[Finding]:
    for path in sorted(folder.rglob("*.tf")):
        try:
            hcl.read(path)
        except ConfigError as error:
            where = error.where if isinstance(error.where, Where) else Where(path)
            yield Finding(where, error.message)


def _bicep(paths: Sequence[Path]) -> Iterator[Check]:
    version = f"bicep-types-az {arm.table()['commit'][:7]}"
    if not bicep.installed():
        yield Check("syntax", "not installed", "tree-sitter-bicep")
        yield Check("arguments", "not installed", f"tree-sitter-bicep, {version}")
        return
    files, faults = [], []
    for path in paths:
        try:
            files.append(bicep.read(path))
        except ConfigError as error:
            where = error.where if isinstance(error.where, Where) else Where(path)
            faults.append(Finding(where, error.message))
    yield _check("syntax", "tree-sitter-bicep", iter(faults))
    if faults:  # the rest would speak of what couldn't be read
        return
    unknown = arm.unknown(files)
    beside = f"; not in the table, so not looked at: {', '.join(unknown)}" if unknown else ""
    yield _check("arguments", f"{version}{beside}", arm.problems(files))


def _explained(folder: Path) -> Check:
    """A rule of security that is switched off has its reason beside it."""
    paths = sorted(one for one in folder.rglob("*") if one.suffix in (".tf", ".bicep"))
    findings = (
        Finding(Where(path, number), f"{found[1]} is skipped without a reason")
        for path in paths
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1)
        if (found := _SKIP.search(line)) and len(found[3].split()) < 2
    )
    return _check("reasons", "gitops", findings)


def _security(folder: Path, languages: Sequence[str]) -> Check:
    if shutil.which("checkov") is None:
        return Check("security", "not installed", "checkov")
    command = ["checkov", "--directory", str(folder), "--framework", *languages]
    command += ["--compact", "--quiet", "--skip-download", "--output", "json"]
    done = proc.run(command, cwd=folder, check=False)
    try:
        report = jsontext.loads(done.out)
    except ValueError as error:
        raise proc.failed(command, done) from error
    return _check("security", "checkov", _failed(folder, report))


def _failed(folder: Path, report: object) -> Iterator[Finding]:
    """The failed checks of checkov's report: a mapping, a list of them, or one without results."""
    for one in report if isinstance(report, list) else [report]:
        results = one.get("results", {}) if isinstance(one, dict) else {}
        for failed in results.get("failed_checks", ()):
            first, last = (failed.get("file_line_range") or [None, None])[:2]
            path = folder / str(failed.get("file_path", "")).lstrip("/")
            text = (
                f"{failed.get('check_id')}: {failed.get('check_name')} ({failed.get('resource')})"
            )
            if not _skipped(path, first, last, str(failed.get("check_id"))):
                yield Finding(Where(path, first), text)
        unread = one.get("summary", {}).get("parsing_errors") if isinstance(one, dict) else 0
        if unread:  # it doesn't say which
            yield Finding(Where(folder), f"there are files that checkov can't read: {unread}")


def _skipped(path: Path, first: int | None, last: int | None, rule: str) -> bool:
    """Whether a comment in the resource switches the rule off: checkov forgets it where a rule is
    about resources together."""
    if first is None or last is None or not path.is_file():
        return False
    lines = path.read_text("utf-8", "replace").splitlines()[max(first - 1, 0) : last]
    return any((found := _SKIP.search(line)) and found[1] == rule for line in lines)
