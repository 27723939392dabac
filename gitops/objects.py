"""Tracked bytes, from the cache or the remote into the work tree: proven, or not used at all.

DVC's own fetch trusts a remote's objects by their file mode, deletes in the remote what it finds
corrupt, and fails without a name on a damaged folder listing; so objects are fetched and hashed
here, and DVC only checks out what is in its cache.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gitops import dvc, dvcremote, dvcstore, jsontext
from gitops.errors import EvidenceError, ToolError, Where

_PARALLEL = 8
_ALTERED = "stored bytes are not what is tracked:\n  "
_MEND = (
    "delete the altered object in the remote, then `dvc push` from a clone that has the good one"
)
_AGAIN = "let nothing else write to the cache, and run the command again"
_HASH = re.compile(r"[0-9a-f]{32}")


class Altered(EvidenceError):
    """Stored bytes aren't those that were tracked."""


def bring(
    root: Path, items: Sequence[dvc.Tracked], *, cached: bool = True
) -> tuple[dvc.Tracked, ...]:
    """Put `items` into the work tree, from the cache or the remote, every byte proven.

    Returns the outputs that are nowhere: they can be built again. `cached`: the cache may have
    some, so it is asked first.

    Raises:
        Altered: the remote holds other bytes than were tracked; they were not used.
        EvidenceError: data is nowhere.
        ToolError: the remote can't be reached.
    """
    if not items:
        return ()
    if cached:
        dvc.checkout(root, [item.path for item in items])
    wrong = dvc.damaged(root, items)
    if not wrong:
        return ()
    _discard(root, wrong)
    problems = fetch(root, [item.md5 for item, _ in wrong])
    said = dvc.checkout(root, [item.path for item, _ in wrong])
    lost = tuple(item for item, _ in dvc.damaged(root, [item for item, _ in wrong]))
    if unexplained := [item.path for item in lost if item.md5 not in problems]:
        raise ToolError(f"dvc could not check out {', '.join(unexplained)}:\n  {said}")
    lines = {item: f"{item.path} (object {item.md5}): {problems[item.md5]}" for item in lost}
    if altered := [line for line in lines.values() if "corrupt" in line]:
        raise Altered(_ALTERED + "\n  ".join(altered), fix=_MEND)
    if data := [line for item, line in lines.items() if item.stage is None]:
        raise EvidenceError(
            "data is missing:\n  " + "\n  ".join(data), fix="`dvc push` from a clone that has it"
        )
    return lost


def lay_out(root: Path, items: Sequence[dvc.Tracked], target: Path) -> None:
    """Give `items` below `target`, as links to the cache; what it lacks comes from the remote.

    Every byte is proven. The work tree isn't touched, and no process is started.

    Raises:
        Altered: the remote holds other bytes than were tracked; they were not used.
        EvidenceError: an object is nowhere.
        ToolError: the remote can't be reached.
    """
    store = dvcremote.cache_folder(root).resolve() / "files" / "md5"
    found = {item: _parts(store, item.md5) for item in items}
    if wanted := [item for item, parts in found.items() if parts is None]:
        _fetch_all(root, wanted)
        with dvcstore.stores(root) as (cache, _):  # settings of the user's may put it elsewhere
            found |= {item: _parts(cache.base.resolve(), item.md5) for item in wanted}
    for item, parts in found.items():
        if parts is None:
            raise Altered(f"{item.path} (object {item.md5}) changes while it is read", fix=_AGAIN)
        for name, kept in parts.items():
            path = target / item.path / name if name else target / item.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(kept)


def _fetch_all(root: Path, items: Sequence[dvc.Tracked]) -> None:
    problems = fetch(root, [item.md5 for item in items])
    lines = {
        one.md5: f"{one.path} (object {one.md5}): {problems[one.md5]}"
        for one in items
        if one.md5 in problems
    }
    if altered := [line for md5, line in lines.items() if "corrupt" in problems[md5]]:
        raise Altered(_ALTERED + "\n  ".join(altered), fix=_MEND)
    if lines:
        raise EvidenceError(
            "not in the cache, and not in the remote:\n  " + "\n  ".join(lines.values()),
            fix="`gitops build --push` where it was built",
        )


def prove(root: Path, items: Sequence[dvc.Tracked]) -> None:
    """Hold what was checked out from the cache against its hashes.

    Raises:
        Altered: it differs; it's gone from the work tree and the cache.
    """
    if wrong := [(item, how) for item, how in dvc.damaged(root, items) if how == "differs"]:
        _discard(root, wrong)
        names = [f"{item.path} (object {item.md5})" for item, _ in wrong]
        raise Altered(
            "altered in the local cache, and removed from it:\n  " + "\n  ".join(names),
            fix="run the command again: it comes from the remote, or is built anew",
        )


def fetch(root: Path, hashes: Iterable[str]) -> dict[str, str]:
    """Objects from the default remote into the cache; by hash, what is wrong with the others.

    A folder's listing comes last, so that the cache has it with all its files or not at all.

    Raises:
        ToolError: the remote can't be reached, or refuses.
    """
    dvcremote.preflight(root)
    problems = {}
    with dvcstore.stores(root) as (cache, remote):
        cache.base.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=cache.base, prefix=".fetching-") as temporary,
            ThreadPoolExecutor(_PARALLEL) as pool,
        ):
            job = _Job(root, cache, remote, Path(temporary), pool)
            for one in dict.fromkeys(hashes):
                if problem := job.folder(one) if one.endswith(".dir") else job.file(one):
                    problems[one] = problem
    return problems


@dataclass(frozen=True)
class _Job:
    """One fetch: where from, where to, and where half a file may lie meanwhile."""

    root: Path
    cache: dvcstore.Store
    remote: dvcstore.Store
    temporary: Path
    pool: ThreadPoolExecutor

    def file(self, md5: str) -> str:
        """Fetch one object; what is wrong with it, or ""."""
        kept = self.cache.path(md5)
        if kept.exists() and _is(kept, md5):
            return ""
        half = self.temporary / md5
        return self._get(md5, half) or self._keep(md5, half)

    def folder(self, md5: str) -> str:
        """Fetch the files of a folder, and then its listing."""
        target, half = self.cache.path(md5), self.temporary / md5
        if target.exists() and _is(target, md5):
            half = target
        elif problem := self._get(md5, half):
            return problem
        listed = {one: name for name, one in listing(half).items()}
        for one, problem in zip(listed, self.pool.map(self.file, listed), strict=True):
            if problem:
                return f"its {listed[one]} (object {one}) is {problem}"
        return "" if half == target else self._keep(md5, half)

    def _get(self, md5: str, half: Path) -> str:
        try:
            with dvcstore.refusals(self.root, f"didn't give object {md5}"):
                self.remote.get(md5, half)
        except FileNotFoundError:
            return "missing in the remote"
        return "" if _is(half, md5) else "corrupt in the remote"

    def _keep(self, md5: str, half: Path) -> str:
        target = self.cache.path(md5)
        target.parent.mkdir(parents=True, exist_ok=True)
        half.chmod(0o444)  # as DVC protects its cache
        half.replace(target)
        return ""


def listing(path: Path) -> dict[str, str]:
    """`parse_listing` of a file."""
    return parse_listing(path.read_bytes(), path)


def parse_listing(raw: bytes, name: Path | str) -> dict[str, str]:
    """MD5 by relative path, from a folder's stored listing, which errors call `name`.

    Raises:
        EvidenceError: it's no listing, or it names a file outside of the folder.
    """
    where = Where(name)
    try:
        found = {str(one["relpath"]): str(one["md5"]) for one in jsontext.loads(raw)}
    except (ValueError, TypeError, KeyError) as error:
        raise EvidenceError(
            "the stored object is no listing of a folder", fix="build it again", where=where
        ) from error
    for path, md5 in found.items():
        parts = path.split("/")
        if not _HASH.fullmatch(md5) or {"", ".", ".."} & set(parts) or "\0" in path:
            raise EvidenceError(
                f"a folder's listing has {path!r} with the hash {md5!r}, which can't be",
                fix="build it again",
                where=where,
            )
    return found


def _parts(store: Path, md5: str) -> dict[str, Path] | None:
    """The cache's files of an object by their path in it ("": a file); None if not whole."""
    top = store / md5[:2] / md5[2:]
    if not top.exists() or not _is(top, md5):
        return None
    if not md5.endswith(".dir"):
        return {"": top}
    hashes = listing(top)
    files = {name: store / one[:2] / one[2:] for name, one in hashes.items()}
    whole = all(path.exists() and _is(path, hashes[name]) for name, path in files.items())
    return files if whole else None


def _is(path: Path, md5: str) -> bool:
    return dvc.file_md5(path) == md5.removesuffix(".dir")


def _discard(root: Path, wrong: Sequence[tuple[dvc.Tracked, str]]) -> None:
    """Remove altered bytes from the work tree and the cache, so that nothing uses them later."""
    altered = [item for item, how in wrong if how == "differs"]
    if not altered:
        return
    with dvcstore.stores(root) as (cache, _):
        for item in altered:
            path, hashes = root / item.path, [item.md5]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            kept_listing = cache.path(item.md5)
            if item.md5.endswith(".dir") and kept_listing.exists() and _is(kept_listing, item.md5):
                hashes += listing(kept_listing).values()
            for one in hashes:
                kept = cache.path(one)
                if kept.exists() and not _is(kept, one):
                    kept.unlink()
