"""The one place that runs DVC and knows its files (`dvcstore` opens its stores).

DVC runs as a process of our own environment. What it reports is not enough to trust what it fetched
(a corrupt `.dir` object is checked out with exit code 0), so tracked bytes are hashed here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops import dvcremote, proc
from gitops.errors import ConfigError, EvidenceError, Where

_QUIET = {"DVC_NO_ANALYTICS": "1", "DVC_PAGER": "cat"}
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
_NESTED = 10_000  # brackets, or characters of a line: fewer can't nest deeper than a stack holds
NOTE = "gitops"  # our key below `meta:` of a .dvc file
# Looking for garbage, all the while and at the end, would be a third of what a command takes.
_IN_TURN = """
import gc, json, sys
gc.set_threshold(100_000, 20, 100)
from dvc.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["dvc", *words]  # as whoever waits for it is told
    if code := main(words):
        break
gc.freeze()
sys.exit(code)
"""
# A command of a line, after its settings of variables.
_BARE = re.compile(r"(?:^|&&|\|\||[;|\n])\s*(?:\w+=\S+\s+)*python[\d.]*\s")
_WOULD_RUN = re.compile(
    "(?:Running stage|failed to reproduce(?: stages:)?) ('[^']+'(?:(?:, | and )'[^']+')*)"
)


@dataclass(frozen=True)
class Tracked:
    """A file or folder that DVC tracks: its path relative to the repository, and what it must be.

    `md5` is DVC's hash: of the bytes, or (ending in `.dir`) of a folder's listing. `stage` is the
    dvc.yaml stage that writes it, None for data added by `dvc add`.
    """

    path: str
    md5: str
    size: int | None
    stage: str | None
    cached: bool = True


def add(root: Path, path: str, *, push: bool = False) -> None:
    """Track `path` (relative to the repository), and `push` it if so wanted."""
    if push:
        dvcremote.preflight(root)
    _run(root, ["add", path], *([_push(f"{path}.dvc")] if push else []))


def note(root: Path, path: str, origin: Mapping[str, object] | None) -> None:
    """Say under `meta: gitops:` of the .dvc file of `path` where its bytes were taken; None: not.

    DVC keeps `meta` as it is, and looks at nothing in it.
    """
    from gitops import yamlfile

    file = root / f"{path}.dvc"
    if origin is not None:
        yamlfile.edit(file, {("meta", NOTE): dict(origin)})
    elif NOTE in (read_yaml(file).get("meta") or {}):
        yamlfile.edit(file, {("meta", NOTE): yamlfile.REMOVE})


def origin(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `note` has said in a .dvc file, if it is of the bytes that the file tracks."""
    known = (content.get("meta") or {}).get(NOTE)
    hashes = [out.get("md5") for out in content.get("outs") or []]
    return known if isinstance(known, dict) and [known.get("snapshot")] == hashes else None


def push(root: Path, targets: Sequence[str] = ()) -> None:
    """Push `targets` and all that they depend on (none: everything of this work tree)."""
    dvcremote.preflight(root)
    _run(root, _push(*targets))


def _push(*targets: str) -> list[str]:
    return ["push", *(["--with-deps", *targets] if targets else [])]


def checkout(root: Path, targets: Sequence[str]) -> str:
    """Bring `targets` from the local cache, as far as it has them whole; what DVC said to it."""
    line = ["checkout", "--allow-missing", "--force", *targets]
    return proc.run(_command(line), cwd=root, env=_QUIET, check=False).err.strip()


def repro(
    root: Path,
    targets: Sequence[str],
    on_line: Callable[[str], None],
    *,
    fresh: bool = False,
    env: Mapping[str, str | None] | None = None,
    pass_fds: Sequence[int] = (),
) -> int:
    """Run the stages that changed (`fresh`: all of them, without run cache); the exit code."""
    _forget_the_dead(root)
    command = ["repro", *(["--force", "--no-run-cache"] if fresh else []), *targets]
    return proc.stream(
        _command(command), on_line, cwd=root, env={**_QUIET, **(env or {})}, pass_fds=pass_fds
    )


def _forget_the_dead(root: Path) -> None:
    """Free what killed runs hold in DVC's lock file.

    DVC frees what is held by no process; a zombie, or another process of the same id, is one to it.
    Half a file, of a run killed while it wrote it, stops DVC for good.
    """
    file = root / ".dvc" / "tmp" / "rwlock"
    try:
        held = json.loads(file.read_text("utf-8"))
        readers = [one for several in held.get("read", {}).values() for one in several]
        if any(_is_dvc(one["pid"]) for one in [*held.get("write", {}).values(), *readers]):
            return
    except OSError:
        return
    except ValueError:
        pass
    file.unlink(missing_ok=True)


def _is_dvc(pid: int) -> bool:
    """Whether a living process of this id is DVC's, as far as the system tells."""
    processes = Path("/proc")
    if not (processes / "self").exists():
        return True
    try:
        return b"dvc" in (processes / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False


def would_run(root: Path, targets: Sequence[str]) -> tuple[str, ...]:
    """The first stages of `targets` that would run, by the hashes of dvc.lock; see `stages_of`.

    The data needn't be here: DVC skips what is unchanged and trips over the first that isn't.

    Raises:
        ToolError: the pipeline can't be read.
    """
    line = ["repro", "--dry", "--keep-going", "--allow-missing", *targets]
    done = proc.run(_command(line), cwd=root, env=_QUIET, check=False)
    said = f"{done.out}\n{done.err}"
    found = [name for some in _WOULD_RUN.findall(said) for name in re.findall("'([^']+)'", some)]
    if done.code and not found:
        raise proc.failed(["dvc", *line], done)
    return tuple(dict.fromkeys(found))


def stages_of(addresses: Iterable[str], pipeline: str) -> tuple[str, ...]:
    """Names of the stages of `pipeline`; DVC writes `folder/dvc.yaml:name`, at the top `name`."""
    parts = (address.rpartition(":") for address in addresses)
    return tuple(name for file, _, name in parts if (file or "dvc.yaml") == pipeline)


def always_run(file: Path) -> frozenset[str]:
    """Stages of a dvc.yaml that DVC runs every time: `always_changed`, or without dependencies."""
    stages = read_yaml(file).get("stages") or {}
    return frozenset(
        name
        for name, stage in stages.items()
        if stage.get("always_changed") or not (stage.get("deps") or stage.get("params"))
    )


def stale(root: Path, targets: Sequence[str], *, push: Sequence[str] = ()) -> dict[str, object]:
    """What `dvc status` says of `targets`: stage -> changes; empty when nothing changed.

    What `push` names is pushed first, with all that it depends on.
    """
    if push:
        dvcremote.preflight(root)
    done = _run(root, *([_push(*push)] if push else []), ["status", "--json", *targets])
    # On the last line, after what the push tells; with `--quiet` it would hide why it failed, too.
    answer: dict[str, object] = json.loads((done.out.splitlines() or ["{}"])[-1])
    return answer


def tracked(root: Path, folders: Iterable[str], apart: Iterable[str] = ()) -> tuple[Tracked, ...]:
    """All that dvc.lock and the .dvc files under `folders` (relative) track, in a stable order.

    Data elsewhere in the repository counts too where a stage depends on it. `apart` are folders
    inside `folders` that belong to others: their data counts only where a stage depends on it.

    Raises:
        ConfigError: one of these files can't be read.
        EvidenceError: one isn't as DVC writes it, or tracks what is none of this repository's data.
    """
    found: dict[str, Tracked] = {}
    others = {root / folder for folder in apart}
    for folder in folders:
        base = root / folder
        with _as_written(base / "dvc.lock"):
            lock = read_yaml(base / "dvc.lock") if (base / "dvc.lock").is_file() else {}
            plain = _uncached(base / "dvc.yaml")
            for name, stage in (lock.get("stages") or {}).items():
                for out in stage.get("outs") or []:
                    item = _item(root, base, out, name, cached=out["path"] not in plain)
                    found[item.path] = item
            files = sorted({*_dvc_files(base, others), *_dvc_files_of(lock, root, base)})
        for file in files:
            with _as_written(file):
                for out in read_yaml(file).get("outs") or []:
                    item = _item(root, file.parent, out, None)
                    found[item.path] = item
    return tuple(found[path] for path in sorted(found))


@contextmanager
def _as_written(file: Path) -> Iterator[None]:
    """Anybody may have written these files: what DVC doesn't write is an error of theirs."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise EvidenceError(
            f"not as DVC writes it: {type(error).__name__}: {error}",
            fix=f"git checkout -- {file.name}, or gitops build",
            where=Where(file),
        ) from error


def damaged(root: Path, items: Iterable[Tracked]) -> tuple[tuple[Tracked, str], ...]:
    """Those of `items` that are not what they must be, each with `missing` or `differs`."""
    wrong = []
    for item in items:
        path = root / item.path
        if not path.exists():
            wrong.append((item, "missing"))
        elif hash_of(path) != item.md5:
            wrong.append((item, "differs"))
    return tuple(wrong)


def hash_of(path: Path) -> str:
    """DVC's hash of a file or folder: MD5 of the bytes, or of the folder's listing plus `.dir`.

    The listing is what DVC stores: a JSON list of {"md5", "relpath"}, sorted by relpath.
    """
    if not path.is_dir():
        return file_md5(path)
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    return listing_md5({name: file_md5(file) for name, file in files.items()})


def listing_md5(files: Mapping[str, str]) -> str:
    """DVC's hash of a folder, from the MD5 of its files by their path in it."""
    paths = sorted(files, key=lambda path: path.split("/"))
    text = json.dumps([{"md5": files[path], "relpath": path} for path in paths], sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def ignored(patterns: str, paths: Iterable[str]) -> set[str]:
    """Those of `paths` (relative to the repository) that a .dvcignore of its top folder names."""
    from pathspec import GitIgnoreSpec

    return set(GitIgnoreSpec.from_lines(patterns.splitlines()).match_files(paths))


def file_md5(path: Path) -> str:
    """MD5 of a file's bytes, as 32 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _item(
    root: Path, base: Path, out: Mapping[str, object], stage: str | None, *, cached: bool = True
) -> Tracked:
    path = (base / str(out["path"])).resolve().relative_to(root.resolve()).as_posix()
    # What is tracked may be written and removed.
    if path == "." or path.split("/")[0] in (".git", ".dvc"):
        raise ValueError(f"{out['path']} is no data")
    md5, size = str(out["md5"]), out.get("size")
    if not _MD5.fullmatch(md5):
        raise ValueError(f"{out['path']} has the hash {md5!r}")
    return Tracked(path, md5, size if isinstance(size, int) else None, stage, cached)


def _uncached(file: Path) -> frozenset[str]:
    """Outputs that dvc.yaml keeps in git (`cache: false`)."""
    if not file.is_file():
        return frozenset()
    plain = set()
    for stage in (read_yaml(file).get("stages") or {}).values():
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind) or []:
                if isinstance(out, dict):
                    plain |= {
                        path
                        for path, options in out.items()
                        if isinstance(options, dict) and options.get("cache") is False
                    }
    return frozenset(plain)


def _dvc_files(base: Path, others: set[Path]) -> list[Path]:
    """The .dvc files of a model's folder, but for hidden folders and `others`."""
    found = []
    for folder, folders, files in os.walk(base):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and Path(folder, name) not in others
        )
        found += [Path(folder, name) for name in sorted(files) if Path(name).suffix == ".dvc"]
    return found


def _dvc_files_of(lock: Mapping[str, Any], root: Path, base: Path) -> Iterator[Path]:
    """The .dvc files that track what the stages of a lock depend on, or a folder around it."""
    for stage in (lock.get("stages") or {}).values():
        for dep in stage.get("deps") or []:
            path = Path(os.path.normpath(base / dep["path"]))
            for at in (path, *path.parents):
                if at.is_relative_to(root) and (file := Path(f"{at}.dvc")).is_file():
                    yield file


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML file of DVC's own formats.

    Raises:
        ConfigError: it can't be read.
    """
    import yaml

    from gitops import yamlfile

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = file.read_text("utf-8")
        # The loader in C ends Python itself where a file is nested too deeply.
        if max(text.count("[") + text.count("{"), *map(len, text.splitlines()), 0) > _NESTED:
            yamlfile.parse(text.encode(), file)
        content = yaml.load(text, loader)  # noqa: S506  # a safe loader
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{file} can't be read: {error}", fix=f"git checkout -- {file}"
        ) from error
    return content if isinstance(content, dict) else {}


def outside_the_lock(pipeline: Path) -> tuple[str, ...]:
    """Stages of a dvc.yaml that start whatever `python` is on PATH, not by `uv run`."""
    found = []
    for name, stage in (read_yaml(pipeline).get("stages") or {}).items():
        each = stage.get("do", stage) if isinstance(stage, dict) else {}
        said = each.get("cmd")
        lines = said if isinstance(said, list) else [said]
        if any(isinstance(line, str) and _BARE.search(line) for line in lines):
            found.append(str(name))
    return tuple(found)


def _command(*commands: Sequence[str]) -> list[str]:
    """One process for all: DVC takes longer to be imported than most commands do."""
    return [sys.executable, "-P", "-c", _IN_TURN, json.dumps(commands)]


def _run(root: Path, *commands: Sequence[str]) -> proc.Done:
    """Run commands one after the other, up to the first that fails.

    Raises:
        ToolError: one failed.
    """
    done = proc.run(_command(*commands), cwd=root, env=_QUIET, check=False)
    if done.code:
        raise proc.failed(" && ".join(f"dvc {' '.join(words)}" for words in commands).split(), done)
    return done
