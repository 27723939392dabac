"""Does a revision rebuild to what it says? Clean clone, locked environment, no cache."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitops import config as configuration
from gitops import dvc, dvcremote, git, objects, uv
from gitops.errors import AnswerNo, ToolError
from gitops.reproduce import build, fingerprint, record
from gitops.reproduce.compare import Comparison, compare
from gitops.reproduce.guard import only_one
from gitops.reproduce.model import Place, places, tracked
from gitops.reproduce.revision import clone as checkout_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class Verified:
    """The answer for one model: what was wanted, what was found, and against which machine."""

    model: str
    wanted: str
    found: Comparison
    machine: str

    @property
    def holds(self) -> bool:
        return self.found.holds(self.wanted)


def verify(
    root: Path, revision: str, names: Sequence[str], say: Say, keep: Path | None
) -> tuple[str, tuple[Verified, ...]]:
    """Rebuild `revision` (all models, or `names`) and compare; the commit and the answers.

    `keep` is a folder for the clone, which otherwise is removed.

    Raises:
        AnswerNo: dvc.lock is stale, stored bytes were altered, or a stage fails there.
        EvidenceError: the data isn't in the remote.
        ToolError: the remote or the environment failed.
    """
    commit = git.resolve(root, revision)
    dvcremote.preflight(root)
    with tempfile.TemporaryDirectory(prefix="gitops-verify-") as temporary:
        work = keep or Path(temporary)
        clone, original = work / "clone", work / "recorded"
        say(f"cloning {commit[:12]}")
        # A shared cache, of the repository or the machine, could hand out what should be rebuilt.
        checkout_of(root, clone, commit, cache=clone / ".dvc" / "cache")
        found = places(clone, configuration.load(clone), names)
        if stale := build.stale(found):
            raise build.answer_stale(stale)
        items = _fetch(clone, found, say)
        _set_aside(items, clone, original)
        if (clone / "uv.lock").is_file():
            say("installing the locked environment")
            uv.sync(clone)
        return commit, tuple(_rebuilt(root, place, items, original, say) for place in found)


def _fetch(clone: Path, models: tuple[Place, ...], say: Say) -> tuple[dvc.Tracked, ...]:
    """All tracked bytes from the remote, each proven; outputs that nobody pushed may be absent."""
    items = tracked(models)
    stored = [item for item in items if item.cached]
    say(f"fetching {len(stored)} tracked paths from {dvcremote.shown(dvcremote.remote(clone).url)}")
    try:
        lost = objects.bring(clone, stored, cached=False)
    except objects.Altered as error:
        raise AnswerNo(error.message, fix=error.fix) from error
    if lost:
        say(f"not in the remote: {', '.join(item.path for item in lost)}")
    return items


def _set_aside(items: tuple[dvc.Tracked, ...], clone: Path, original: Path) -> None:
    for item in items:
        if item.stage is not None and (clone / item.path).exists():
            target = original / item.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(clone / item.path, target)


def _rebuilt(
    root: Path, place: Place, items: tuple[dvc.Tracked, ...], original: Path, say: Say
) -> Verified:
    digest = place.lock_digest()
    own = {item.path for item in place.tracked()}
    with only_one(git.private(place.root), say) as lock:
        try:
            build.run_stages(place, lock, say, fresh=True)
        except ToolError as error:
            bare = dvc.outside_the_lock(place.root / place.pipeline)
            fix = f"start python in {', '.join(bare)} by `uv run --locked`: it was the one on PATH;"
            raise AnswerNo(
                f"it doesn't rebuild: {error.message}",
                fix=f"{fix if bare else 'mend the stage;'} build; commit",
            ) from error
    outputs = tuple(item for item in items if item.stage is not None and item.path in own)
    folder = Path(place.folder)
    packages = (
        (folder / place.declared.package).as_posix(),
        (folder / place.declared.evaluation).as_posix(),
    )
    found = compare(outputs, place.root, original, packages, place.declared.reproduce.tolerance)
    wanted, machine = _wanted(root, place, digest)
    return Verified(place.name, wanted, found, machine)


def _wanted(root: Path, place: Place, digest: str) -> tuple[str, str]:
    """The level to hold: bytes are promised on the machine that built; elsewhere, predictions."""
    known = record.latest(git.private(root), place.name, digest)
    declared = place.declared.reproduce.level
    if known is None:
        return declared, "no build record here: held to what is declared"
    apart = fingerprint.of(place.root).differences(fingerprint.Fingerprint(**known["fingerprint"]))
    if not apart:
        return declared, "same machine fingerprint as the build"
    return "predictions", f"another machine than the build's ({', '.join(apart)} differ)"
