"""Merging one file: what the user made of it, what was generated, and what would be today."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gitops import git
from gitops.git import merging
from gitops.scaffold.lock import blob

BASES = PurePosixPath(".gitops/base")
_MARKER = re.compile(rb"^<{7} yours\r?$.*^>{7} gitops\r?$", re.MULTILINE | re.DOTALL)
_BINARY_HEAD = 8000  # as far as git looks (xdiff-interface.c)


@dataclass
class Bases:
    """What was generated, by git blob id: the copies in `.gitops/base/`, and git's own objects.

    With `fetch`, what a shallow or partial clone lacks is asked of the remotes. `places`: the files
    that were generated with a content, whose history is searched if git has evened out line ends.
    """

    root: Path
    fetch: bool
    places: Mapping[str, str] = field(default_factory=dict)
    known: dict[str, bytes | None] = field(default_factory=dict)

    def load(self, ids: Iterable[str]) -> None:
        """Get these at once; `get` gives what there is of them."""
        wanted = set(ids) - self.known.keys()
        self.known |= dict.fromkeys(wanted)
        for one in sorted(wanted):
            copy = self.root / BASES / one
            content = copy.read_bytes() if copy.is_file() else b""
            if blob(content) == one:
                self.known[one] = content
        self.known |= git.blobs(self.root, self._missing(wanted))
        self.known |= self._evened_out(self._missing(wanted))
        if self.fetch and (missing := self._missing(wanted)):
            merging.fetch_blobs(self.root, missing)
            self.known |= git.blobs(self.root, missing)

    def get(self, one: str) -> bytes | None:
        """The content; None if it can't be had."""
        self.load([one])
        return self.known[one]

    def _evened_out(self, missing: Iterable[str]) -> dict[str, bytes]:
        r"""Contents with `\r\n` that were committed with `\n`, as `text=auto` asks git to do."""
        wanted = set(missing)
        paths = [self.places[one] for one in wanted if one in self.places]
        if not paths:
            return {}
        past = git.blobs(self.root, merging.past_blobs(self.root, paths)).values()
        ended = (_as_crlf(_as_lf(content)) for content in past)
        return {blob(content): content for content in ended if blob(content) in wanted}

    def _missing(self, ids: Iterable[str]) -> list[str]:
        return [one for one in ids if self.known[one] is None]


def is_binary(content: bytes) -> bool:
    """As git sees it."""
    return b"\0" in content[:_BINARY_HEAD]


def is_marked(content: bytes) -> bool:
    """Whether conflict markers of ours are left in it."""
    return b"<<<<<<< yours" in content and _MARKER.search(content) is not None


def is_edited(content: bytes, generated: str) -> bool:
    """Whether it isn't what was generated (a blob id), line ends aside."""
    return blob(content) != generated and not (
        _is_crlf(content) and blob(_as_lf(content)) == generated
    )


def with_ends_of(new: bytes, old: bytes) -> bytes:
    r"""`new` with every line ended by `\r\n`, if all of `old`'s are and none of `new`'s."""
    convert = _is_crlf(old) and b"\r" not in new and not is_binary(new)
    return _as_crlf(new) if convert else new


def merge(root: Path, yours: bytes, base: bytes, new: bytes) -> tuple[bytes, bool]:
    r"""What `git merge-file` makes of three texts, and whether there are conflicts (marked).

    Where only the user's lines end in `\r\n`, that is no change: it's merged without, and put back.
    """
    crlf = _is_crlf(yours) and b"\r" not in base + new
    sides = (_as_lf(yours) if crlf else yours, base, new)
    with tempfile.TemporaryDirectory(prefix="gitops-merge-") as folder:
        files = [Path(folder, name) for name in ("yours", "base", "new")]
        for file, content in zip(files, sides, strict=True):
            file.write_bytes(content)
        clean = merging.merge_file(root, *files)
        merged = files[0].read_bytes()
    return _as_crlf(merged) if crlf else merged, not clean


def similarity(one: bytes, other: bytes) -> float:
    """The share of lines that two texts have in common, in whatever order: 0 to 1."""
    lines = [Counter(_as_lf(text).splitlines()) for text in (one, other)]
    total = sum(lines[0].values()) + sum(lines[1].values())
    return 2 * sum((lines[0] & lines[1]).values()) / total if total else 0.0


def _is_crlf(content: bytes) -> bool:
    counts = {content.count(end) for end in (b"\r\n", b"\n", b"\r")}
    return counts != {0} and len(counts) == 1 and not is_binary(content)


def _as_lf(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def _as_crlf(content: bytes) -> bytes:
    return content.replace(b"\n", b"\r\n")
