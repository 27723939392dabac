"""Verdicts told to a pull request: one comment for each model, updated in place.

A comment of an earlier run that this one has nothing to put in place of is taken back: nobody may
merge on an answer about another commit.

What the gate wrote comes from a job that runs the pull request's own code, so it is data and no
more: documents of bounded size, held against contract and digest, of models and environments that
gitops.yaml knows, and rendered here by the one renderer, which lets no markup through.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import cirun, git, jsontext
from gitops.errors import EvidenceError, UsageError, Where
from gitops.validate import reports, reread

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.forge import Forge
    from gitops.validate.model import Verdict

FILE = "verdict.json"
_LARGEST = 4 << 20  # bytes of one verdict
_MOST = 2000  # verdicts
_APART = 10  # so many models have a comment each; more have one together
_ALL = "gate"


def read(folder: Path, config: Config) -> tuple[Verdict, ...]:
    """The verdicts that lie anywhere below `folder`, sorted by model and environment.

    Raises:
        EvidenceError: there are too many, or one that can't be used.
    """
    files = sorted(_files(folder))
    if len(files) > _MOST:
        raise EvidenceError(f"{len(files)} verdicts lie below {folder}, more than {_MOST}")
    found = [_verdict(file) for file in files]
    environments = {one.name for one in config.environments}
    for file, one in zip(files, found, strict=True):
        if one.model not in config.models or one.environment not in environments:
            raise EvidenceError(
                "it is of a model or an environment that gitops.yaml doesn't have",
                fix="gitops gate --report DIR, in this repository",
                where=Where(file),
            )
    return tuple(sorted(found, key=lambda one: (one.model, one.environment)))


def comments(
    verdicts: tuple[Verdict, ...], run: str = "", commit: str = ""
) -> Iterator[tuple[str, str]]:
    """Key and text of each comment.

    `run` is the address of the CI run that keeps the reports, `commit` the pull request's last one.
    """
    end = f"\nJudged: {commit}, merged with its target.\n" if commit else ""
    end += f"\n[HTML report, with plots]({run}): in the artifacts of this run\n" if run else ""
    if len(verdicts) > _APART:
        yield _ALL, reports.markdown(verdicts, end)
        return
    for one in verdicts:
        yield f"{_ALL} {one.model} {one.environment}", reports.markdown([one], end)


def number(forge: str, env: Mapping[str, str]) -> int:
    """The pull request that the run is of, as the platform says.

    Raises:
        UsageError: it's of none.
    """
    parts = env.get("GITHUB_REF", "").split("/")
    told = parts[2] if parts[:2] == ["refs", "pull"] and len(parts) > 2 else ""
    azure = "NUMBER" if forge == "GitHub" else "ID"
    text = told or env.get(f"SYSTEM_PULLREQUEST_PULLREQUEST{azure}", "")
    if not text.isdecimal():
        raise UsageError(
            "this run is of no pull request", fix="name it: gitops gate --post DIR --pull-request 7"
        )
    return int(text)


def head(root: Path, env: Mapping[str, str]) -> str:
    """The pull request's own last commit; "" if unknown. Runs are of it merged into its target."""
    merged = env.get("GITHUB_SHA") or env.get("BUILD_SOURCEVERSION")
    return (git.find(root, f"{merged}^2") if merged else None) or ""


def taken_back(run: str, commit: str, *, other: bool) -> str:
    """What replaces a verdict of an earlier commit; `other`: models have one on the last commit."""
    what = f"the last commit ({commit})" if commit else "the last commit"
    if other:
        return (
            f"## ⌛ Out of date\n\n**The gate has judged {what}, but not this.** What stood here"
            " was about an earlier one.\n\nWhat now: read the gate's other comments.\n"
        )
    told = f"its job `gate` says why: [the run]({run})" if run else "its job `gate` says why"
    return (
        f"## ❌ No verdict\n\n**The gate has no answer about {what}.** An answer about an earlier"
        f" one, if there was any, holds no more.\n\nWhat now: don't let it through; {told}.\n"
    )


def post(
    verdicts: tuple[Verdict, ...], forge: Forge, pull_request: int, commit: str = ""
) -> tuple[str, ...]:
    """Write or update the comments, and take back those of earlier runs; the keys of all these.

    Raises:
        ToolError: the forge refuses, or can't be reached.
    """
    run = cirun.url()
    told = dict(comments(verdicts, run, commit))
    ours = {key for key in forge.keys(pull_request) if key.split(" ")[0] == _ALL}
    old = ours - told.keys()
    if not told:
        old |= {_ALL}
    told |= dict.fromkeys(sorted(old), taken_back(run, commit, other=bool(told)))
    for key, text in told.items():
        forge.comment(pull_request, key, text)
    return tuple(told)


def _files(folder: Path) -> Iterator[Path]:
    """No link is followed: it could lead to what isn't the gate's."""
    for top, folders, names in os.walk(folder):
        folders.sort()
        file = Path(top) / FILE
        if FILE in names and file.is_file() and not file.is_symlink():
            yield file


def _verdict(file: Path) -> Verdict:
    where = Where(file)
    if file.stat().st_size > _LARGEST:
        raise EvidenceError(f"it has more than {_LARGEST:,} bytes", where=where)
    try:
        found = jsontext.loads(file.read_bytes())
    except ValueError as error:
        raise EvidenceError(f"it is no JSON: {error}", where=where) from error
    return reread.verdict(found, where)
