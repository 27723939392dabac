"""Files that moved, in the template or by the user's hand, known again by what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from gitops import git
from gitops.scaffold.merge import similarity

_OF_TEMPLATES = 0.5  # of the lines; beyond it a new file of a template is an old one that moved
_OF_USERS = 0.6
_DISTINCT = 5  # lines; files of fewer are alike by chance


def of_templates(
    gone: Mapping[PurePosixPath, tuple[str, bytes]],
    fresh: Mapping[PurePosixPath, tuple[str, bytes]],
) -> dict[PurePosixPath, PurePosixPath]:
    """Which of the `fresh` files each of the `gone` ones has become, where that's beyond doubt.

    Both: by path, (what made it, its content as generated).
    """
    best: dict[PurePosixPath, PurePosixPath] = {}
    for path, (maker, content) in gone.items():
        scores = {
            new: 1.0 if content == after else similarity(content, after)
            for new, (by, after) in fresh.items()
            if by == maker and content
        }
        if (found := _clearly_best(scores, _OF_TEMPLATES)) is not None:
            best[path] = found
    taken = list(best.values())
    return {path: new for path, new in best.items() if taken.count(new) == 1}


def _clearly_best(scores: Mapping[PurePosixPath, float], least: float) -> PurePosixPath | None:
    ordered = sorted(scores, key=lambda path: scores[path], reverse=True)
    if not ordered or scores[ordered[0]] < least:
        return None
    if len(ordered) > 1 and scores[ordered[1]] == scores[ordered[0]]:
        return None
    return ordered[0]


class Strays:
    """Files of the repository that weren't generated: any may be a generated one, renamed."""

    def __init__(self, root: Path, generated: Iterable[PurePosixPath]) -> None:
        self.root = root
        self._generated = set(generated)
        self._known: list[PurePosixPath] | None = None

    def find(self, path: PurePosixPath, content: bytes) -> PurePosixPath | None:
        """Where the file generated at `path` as `content` is now, if just one file can be it."""
        if not content:
            return None
        scores = {}
        telling = len({line for line in content.splitlines() if line.strip()}) >= _DISTINCT
        for other in self._files():
            at = self.root / other
            if other.suffix == path.suffix and at.is_file() and not at.is_symlink():
                there = at.read_bytes() if at.stat().st_size < 4 * len(content) + 4096 else b""
                alike = similarity(content, there) if telling else 0.0
                scores[other] = 1.0 if there == content else alike
        good = [other for other, score in scores.items() if score >= _OF_USERS]
        if len(good) > 1:
            good = [other for other in good if scores[other] == 1.0]
        if len(good) != 1:
            return None
        self._generated.add(good[0])
        return good[0]

    def _files(self) -> list[PurePosixPath]:
        if self._known is None:
            self._known = [PurePosixPath(name) for name in git.files(self.root)]
        return [path for path in self._known if path not in self._generated]
