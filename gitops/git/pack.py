"""One commit without its history, as a file: what another machine needs to check it out."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from gitops import proc
from gitops.errors import EvidenceError, ToolError
from gitops.git.program import WARY


def write(root: Path, commit: str, target: Path) -> None:
    """Write the pack `target` with a commit, its tree and all of its files; no parent is in it."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="pack-") as folder:
        # As for a shallow clone: `--shallow` cuts the history off at the commit.
        lines = f"--shallow {commit}\n{commit}\n"
        command = ["git", "pack-objects", "--revs", "--quiet", str(Path(folder, "one"))]
        proc.run(command, cwd=root, input=lines)
        next(Path(folder).glob("one-*.pack")).replace(target)


def check_out(pack: Path, target: Path, commit: str) -> None:
    """Make `target` a shallow repository of what `write` wrote, detached at the commit.

    Git hashes every object, so that nothing but this commit's own files can come out.

    Raises:
        EvidenceError: the pack is damaged, or it lacks the commit or some of its files.
    """
    proc.run([*WARY, "init", "--quiet", "--template=", str(target)])
    (target / ".git" / "shallow").write_text(f"{commit}\n")
    kept = target / ".git" / "objects" / "pack" / "pack-0.pack"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pack, kept)
    try:
        proc.run([*WARY, "index-pack", "--strict", str(kept)], cwd=target)
        proc.run([*WARY, "fsck", "--connectivity-only", "--no-dangling", commit], cwd=target)
        proc.run([*WARY, "checkout", "--quiet", "--detach", commit], cwd=target)
    except ToolError as error:
        raise EvidenceError(
            f"the pack isn't that of commit {commit[:12]}: {error.message}",
            fix="submit the build again",
        ) from error
