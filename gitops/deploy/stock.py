"""The packages and the releases' own files on this disk: fetched, proven, kept while needed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gitops import sha256, signature
from gitops.deploy.model import Code, Plan, Release, Source, Variant, Wanted, variants_of
from gitops.deploy.state import State, unwritable
from gitops.errors import AnswerNo, EvidenceError, GitopsError, ToolError, UsageError


@dataclass(frozen=True)
class Stock:
    """What the state folder has of packages and checkouts; `source` has what isn't here."""

    state: State
    source: Source
    say: Callable[[str], None]

    def variant(self, wanted: Wanted) -> Variant:
        """Where a release has its place in the state folder, whether it is there or not."""
        release = wanted.release
        files = str(self.state.checkout(release.commit))
        code = Code(files, wanted.serve.script) if wanted.code else None
        folder = str(self.state.package(release.package))
        return Variant(release.name, release.assignment, folder, release.package, code)

    def laid_out(self, wanted: Wanted) -> Variant:
        """The package, and where it needs them the release's files, on this disk, proven."""
        variant = self.variant(wanted)
        self.keep(variant)
        return variant

    def mend(self, plan: Plan | None) -> dict[Variant, GitopsError]:
        """What the plan names is here, and as it was; else why it can't be."""
        lost: dict[Variant, GitopsError] = {}
        for variant in variants_of(plan):
            try:
                self.keep(variant)
            except (AnswerNo, EvidenceError, ToolError, UsageError) as error:
                lost[variant] = error
        return lost

    def keep(self, variant: Variant) -> None:
        """Fetch what isn't here, and what was altered here."""
        folder = self.state.package(variant.package)
        found = digest_of(folder)
        if found != variant.package:
            if found:
                self.say(f"{variant.release}: the package on this disk was altered, so it goes")
                remove(folder)
            _onto_disk(lambda: self.source.fetch(variant, folder))
        if variant.code is not None and not Path(variant.code.workdir).is_dir():
            files = Path(variant.code.workdir)
            _onto_disk(lambda: self.source.checkout(files.name, files))

    def inputs(self, digest: str) -> set[str]:
        """The columns that a package takes; none of one that isn't here."""
        try:
            found = signature.read(self.state.package(digest) / "signature.json")
        except EvidenceError:
            return set()
        return {one.name for one in found.inputs}

    def tidy(self, variants: Iterable[Variant], under_way: Iterable[Release]) -> None:
        """Keep these alone."""
        variants, under_way = list(variants), list(under_way)
        packages = {one.package for one in variants} | {one.package for one in under_way}
        commits = {Path(one.code.workdir).name for one in variants if one.code}
        self.state.tidy(packages, commits | {one.commit for one in under_way})


def digest_of(folder: Path) -> str:
    """The digest of the package in a folder as it lies there; "" if there's none."""
    return signature.package_digest(sha256.of_files(folder)) if folder.is_dir() else ""


def remove(folder: Path) -> None:
    """Take a folder away at once, then remove it: nobody finds half of it."""
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _onto_disk(work: Callable[[], None]) -> None:
    """Raises ToolError if the disk is full, or the folder can't be written."""
    try:
        work()
    except OSError as error:
        raise unwritable(error, error.filename or "the state folder") from error
