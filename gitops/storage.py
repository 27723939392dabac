"""Proof, without a checkout, that the default DVC remote holds what a commit needs.

DVC calls a remote up to date whose objects are corrupt, or whose folder listing is gone; so
listings are read and hashed here, and what will run is hashed byte by byte where it is stored.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import posixpath
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from gitops import dvclock, dvcremote, dvcstore, git, jsontext, objects, whole
from gitops.errors import EvidenceError, Where

if TYPE_CHECKING:
    from gitops.config import Config

_K = TypeVar("_K")
_T = TypeVar("_T")
_PARALLEL = 16
_SAY_EVERY_SECONDS = 5.0
_REMEMBERED = 100_000

Say = Callable[[str], None]
Kind = Literal["missing", "truncated", "corrupt"]


@dataclass(frozen=True)
class Need:
    """A tracked file or folder of a commit: its path in the repository, and what must be stored.

    `md5` is DVC's hash, ending in `.dir` for a folder's listing; `size` is in bytes (of a folder
    all its files together), None if not known. `deep`: every byte is to be hashed. `legacy`:
    stored as DVC before 3.0 did.
    """

    path: str
    md5: str
    size: int | None
    deep: bool
    legacy: bool = False


@dataclass(frozen=True)
class Problem:
    """What is wrong with the object `md5`, which holds `path` (that of a file in a folder, too)."""

    path: str
    md5: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.path} (object {self.md5}) is {self.kind} in the remote"


@dataclass(frozen=True)
class Examined:
    """A need held against the remote: how many objects and bytes are there, and what is wrong."""

    need: Need
    objects: int
    size: int
    problems: tuple[Problem, ...]


def needs(at: git.Snapshot, config: Config, models: Sequence[str]) -> tuple[Need, ...]:
    """What `models` need of the remote at a commit: outputs, and data that their stages read.

    Package and evaluation are deep. Left out is what git holds (`cache: false`), what `dvc push`
    leaves out (`push: false`, imports from repositories) and what lies outside of the repository.
    A model that was never built has no needs.

    Raises:
        ConfigError, EvidenceError: dvc.lock or a .dvc file of the commit can't be read.
    """
    found: dict[tuple[str, str], Need] = {}
    for name in models:
        _, model = config.model(name)
        lock = dvclock.read(at, model.path)
        if lock is None:
            continue
        run = [posixpath.join(model.path, one) for one in (model.package, model.evaluation)]
        entries = {**dvclock.sources(at, lock), **lock.outs}
        for path, entry in entries.items():
            deep = any(_overlap(path, posixpath.normpath(one)) for one in run)
            if deep and not entry.md5:
                message = f"{path} has no hash that its bytes could be held against"
                raise EvidenceError(message, fix="gitops build", where=Where(lock.path))
            if _elsewhere(at, entry, deep):
                continue
            known = found.get((path, entry.md5))
            deep = deep or (known is not None and known.deep)
            found[path, entry.md5] = Need(path, entry.md5, entry.size, deep, entry.legacy)
    return tuple(found[key] for key in sorted(found))


def _elsewhere(at: git.Snapshot, entry: dvclock.Entry, deep: bool) -> bool:
    """Whether an entry's bytes needn't be in the remote; what runs must be there or in git."""
    if not entry.md5 or entry.outside or dvclock.in_git(at, entry):
        return True
    return entry.kept != "remote" and not deep


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def prove(
    root: Path, needs: Sequence[Need], say: Say, *, fresh: bool = False
) -> tuple[Problem, ...]:
    """What is wrong with `needs` in the default remote; empty if each object is what it must be.

    A listing is always read and hashed; what is deep is hashed, unless that very writing of the
    object was hashed before (`fresh`: even then); anything else is there, with the right size.

    Raises:
        ToolError: the remote can't be reached, or refuses.
        ConfigError: there is none.
    """
    return tuple(
        problem for one in examine(root, needs, say, fresh=fresh) for problem in one.problems
    )


def examine(
    root: Path, needs: Sequence[Need], say: Say, *, fresh: bool = False
) -> tuple[Examined, ...]:
    """`prove`, with what was found for each of `needs`."""
    if not needs:
        return ()
    place = dvcremote.preflight(root)
    say(f"looking for {len(needs)} tracked paths in {dvcremote.shown(place.url)}")
    memory = _Memory(git.private(root) / "proven.json", dvcremote.identity(root))
    known = {} if fresh else memory.read()
    with dvcstore.stores(root) as (_, remote):
        proof = _Proof(root, remote, known, say)
        found = proof.of(needs)
    memory.write(proof.proven, proof.disproven)
    return found


def read_listing(store: dvcstore.Store, md5: str) -> dict[str, str] | Kind:
    """MD5 by relative path of a stored folder, proven by its hash; else what is wrong with it.

    Raises:
        Exception: whatever this kind of remote raises; see `dvcstore.refusals`.
    """
    try:
        raw = store.read(md5)
        if hashlib.md5(raw, usedforsecurity=False).hexdigest() == md5.removesuffix(".dir"):
            return objects.parse_listing(raw, md5)
    except FileNotFoundError:
        return "missing"
    except EvidenceError:
        pass
    return "corrupt"


_Listing = dict[str, str] | Kind
_Key = tuple[str, bool]  # hash, and whether it is stored as DVC before 3.0 did


class _Proof:
    """One look at the remote; `proven` and `disproven` are what it learned, by hash."""

    def __init__(
        self, root: Path, remote: dvcstore.Store, known: Mapping[str, str], say: Say
    ) -> None:
        self.root, self.known, self.say = root, known, say
        self.stores = {False: remote, True: remote.legacy}
        self.proven: dict[str, str] = {}
        self.disproven: set[str] = set()

    def of(self, needs: Sequence[Need]) -> tuple[Examined, ...]:
        listings = self._listings(needs)
        files = {one: dict(_files(one, listings)) for one in needs}
        stats = self._stats({key for found in files.values() for key in found.values()})
        deep = {
            key: stat
            for one in needs
            if one.deep or _odd(one, files[one], stats)
            for key in files[one].values()
            if (stat := stats[key])
        }
        wrong = self._hashed(deep)
        return tuple(_examined(one, listings, files[one], stats, wrong) for one in needs)

    def _listings(self, needs: Iterable[Need]) -> dict[_Key, _Listing]:
        keys = [(one.md5, one.legacy) for one in needs if one.md5.endswith(".dir")]

        def read(key: _Key) -> _Listing:
            return read_listing(self.stores[key[1]], key[0])

        return in_parallel(self.root, keys, read, "listings", self.say)

    def _stats(self, keys: Iterable[_Key]) -> dict[_Key, dvcstore.Stat | None]:
        found = {}
        for legacy, store in self.stores.items():
            hashes = sorted(md5 for md5, old in keys if old == legacy)
            with dvcstore.refusals(self.root, "didn't say what it holds"):
                answers = store.stats(hashes)
            found.update({(md5, legacy): stat for md5, stat in answers.items()})
        return found

    def _hashed(self, stats: Mapping[_Key, dvcstore.Stat]) -> dict[_Key, Kind]:
        """What is wrong with those of the objects that don't have the hash they should have."""
        wanted = {
            key: stat
            for key, stat in stats.items()
            if not stat.stamp or self.known.get(key[0]) != f"{stat.size} {stat.stamp}"
        }
        what = "objects, byte by byte"
        answers = in_parallel(self.root, wanted, self._wrong, what, self.say)
        for key, wrong in answers.items():
            if wrong:
                self.disproven.add(key[0])
            elif stamp := wanted[key].stamp:
                self.proven[key[0]] = f"{wanted[key].size} {stamp}"
        return {key: wrong for key, wrong in answers.items() if wrong}

    def _wrong(self, key: _Key) -> Kind | None:
        try:
            return None if self.stores[key[1]].digest(key[0]) == key[0] else "corrupt"
        except FileNotFoundError:
            return "missing"


def in_parallel(
    root: Path, keys: Iterable[_K], work: Callable[[_K], _T], what: str, say: Say
) -> dict[_K, _T]:
    """`work`, which reads `what` of the default remote, on each key; the first failure ends it.

    Raises:
        ToolError: the remote refuses.
    """
    todo, said = list(dict.fromkeys(keys)), time.monotonic()
    found: dict[_K, _T] = {}
    with ThreadPoolExecutor(_PARALLEL) as pool:
        waiting = pool.map(work, todo)
        try:
            for key in todo:
                with dvcstore.refusals(root, "didn't give an object"):
                    found[key] = next(waiting)
                if time.monotonic() - said > _SAY_EVERY_SECONDS:
                    said = time.monotonic()
                    say(f"read {len(found)} of {len(todo)} {what}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _files(need: Need, listings: Mapping[_Key, _Listing]) -> Iterator[tuple[str, _Key]]:
    """The objects with the bytes of a need, by path."""
    if not need.md5.endswith(".dir"):
        yield need.path, (need.md5, need.legacy)
    elif isinstance(listed := listings[need.md5, need.legacy], dict):
        for name, md5 in listed.items():
            yield f"{need.path}/{name}", (md5, need.legacy)


def _odd(need: Need, files: Mapping[str, _Key], stats: Mapping[_Key, dvcstore.Stat | None]) -> bool:
    """Whether a folder's files don't add up to its size: then one of them isn't what it was."""
    found = [stats[key] for key in files.values()]
    sizes = [stat.size for stat in found if stat]
    whole = need.md5.endswith(".dir") and len(sizes) == len(found)
    return whole and need.size is not None and sum(sizes) != need.size


def _examined(
    need: Need,
    listings: Mapping[_Key, _Listing],
    files: Mapping[str, _Key],
    stats: Mapping[_Key, dvcstore.Stat | None],
    wrong: Mapping[_Key, Kind],
) -> Examined:
    folder = need.md5.endswith(".dir")
    if folder and isinstance(kind := listings[need.md5, need.legacy], str):
        return Examined(need, 0, 0, (Problem(need.path, need.md5, kind),))
    problems, size = [], 0
    for path, key in files.items():
        stat = stats[key]
        size += stat.size if stat else 0
        found: Kind | None = wrong.get(key) if stat else "missing"
        if stat and not folder and need.size not in (None, stat.size):
            found = "truncated"
        if found:
            problems.append(Problem(path, key[0], found))
    return Examined(need, len(files) + folder, size, tuple(problems))


@dataclass(frozen=True)
class _Memory:
    """Which writing of which object was found whole, by `remote`: only ever saves work.

    Damage, or a file that can't be written, costs that work and nothing else.
    """

    file: Path
    remote: str

    def read(self) -> dict[str, str]:
        return self._all().get(self.remote, {})

    def write(self, proven: Mapping[str, str], disproven: Iterable[str]) -> None:
        """Add `proven`, forget `disproven`; what parallel runs learned stays."""
        with suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                known = self._all()
                mine = {**known.get(self.remote, {}), **proven}
                for md5 in disproven:
                    mine.pop(md5, None)
                known[self.remote] = dict(list(mine.items())[-_REMEMBERED:])
                whole.write(self.file, json.dumps(known))

    def _all(self) -> dict[str, dict[str, str]]:
        try:
            found = jsontext.loads(self.file.read_bytes())
            return {str(name): dict(some) for name, some in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
