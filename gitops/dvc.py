"""The one place that speaks DVC.

DVC runs as a process of our own environment. What it reports is not enough to trust what it fetched
(a corrupt `.dir` object is checked out with exit code 0), so tracked bytes are hashed here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from gitops import proc
from gitops.errors import ConfigError, ToolError

_QUIET = {"DVC_NO_ANALYTICS": "1", "DVC_PAGER": "cat"}
_WOULD_RUN = re.compile(
    "(?:Running stage|failed to reproduce(?: stages:)?) ('[^']+'(?:(?:, | and )'[^']+')*)"
)
_CONNECT_SECONDS = 3.0


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


@dataclass(frozen=True)
class Remote:
    """The default remote: its URL and the options that say how to reach it."""

    name: str
    url: str
    options: Mapping[str, str]

    @property
    def is_folder(self) -> bool:
        return "://" not in self.url


def add(root: Path, path: str) -> None:
    """Track `path` (relative to the repository)."""
    _run(root, "add", "--quiet", path)


def push(root: Path, targets: Sequence[str] = ()) -> None:
    """Push `targets` and all that they depend on (none: everything of this work tree)."""
    preflight(root)
    _run(root, "push", "--quiet", *(["--with-deps", *targets] if targets else []))


def checkout(root: Path, targets: Sequence[str]) -> str:
    """Bring `targets` from the local cache, as far as it has them whole; what DVC said to it."""
    command = _command("checkout", "--quiet", "--allow-missing", "--force", *targets)
    return proc.run(command, cwd=root, env=_QUIET, check=False).err.strip()


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
        _command(*command), on_line, cwd=root, env={**_QUIET, **(env or {})}, pass_fds=pass_fds
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
    done = proc.run(_command(*line), cwd=root, env=_QUIET, check=False)
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


def stale(root: Path, targets: Sequence[str]) -> dict[str, object]:
    """What `dvc status` says of `targets`: stage -> changes; empty when nothing changed."""
    done = _run(root, "status", "--json", *targets)
    answer: dict[str, object] = json.loads(done.out or "{}")
    return answer


def tracked(root: Path, folders: Iterable[str], apart: Iterable[str] = ()) -> tuple[Tracked, ...]:
    """All that dvc.lock and the .dvc files under `folders` (relative) track, in a stable order.

    Data elsewhere in the repository counts too where a stage depends on it. `apart` are folders
    inside `folders` that belong to others: their data counts only where a stage depends on it.

    Raises:
        ConfigError: one of these files can't be read.
    """
    found: dict[str, Tracked] = {}
    others = {root / folder for folder in apart}
    for folder in folders:
        base = root / folder
        lock = read_yaml(base / "dvc.lock") if (base / "dvc.lock").is_file() else {}
        plain = _uncached(base / "dvc.yaml")
        for name, stage in (lock.get("stages") or {}).items():
            for out in stage.get("outs") or []:
                item = _item(root, base, out, name, cached=out["path"] not in plain)
                found[item.path] = item
        for file in sorted({*_dvc_files(base, others), *_dvc_files_of(lock, root, base)}):
            for out in read_yaml(file).get("outs") or []:
                item = _item(root, file.parent, out, None)
                found[item.path] = item
    return tuple(found[path] for path in sorted(found))


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


def remote(root: Path) -> Remote:
    """The default remote of `.dvc/config` and `.dvc/config.local`.

    Raises:
        ConfigError: DVC isn't set up, or no default remote is named.
    """
    config = _config(root)
    name = str(config.get("core", {}).get("remote", ""))
    options = {key: str(value) for key, value in config.get(_section(name), {}).items()}
    url = options.pop("url", "")
    if not name or not url:
        raise ConfigError(
            f"{root / '.dvc' / 'config'} names no default remote",
            fix="dvc remote add -d storage URL",
        )
    if "://" not in url:
        url = str((root / ".dvc" / url).resolve())
    return Remote(name, url, options)


def declared_remotes(root: Path) -> tuple[Remote, ...]:
    """The remotes of `.dvc/config` alone, the default first, their URLs as they are written.

    Raises:
        ConfigError: the file can't be read.
    """
    if not (root / ".dvc" / "config").is_file():
        return ()
    config = _config(root, local=False)
    default = str(config.get("core", {}).get("remote", ""))
    found = []
    for section, options in config.items():
        named = re.fullmatch(r'remote "(.+)"', section)
        if named and isinstance(options, dict) and options.get("url"):
            texts = {key: str(value) for key, value in options.items()}
            found.append(Remote(named[1], texts.pop("url"), texts))
    return tuple(sorted(found, key=lambda one: one.name != default))


def cache_folder(root: Path) -> Path:
    """The cache's folder by `.dvc/config` and `.dvc/config.local`; asks no process."""
    return root / ".dvc" / str(_config(root).get("cache", {}).get("dir", "cache"))


def set_local(
    root: Path,
    remote: Remote,
    options: Mapping[str, str],
    cache: Path,
    core: Mapping[str, str] | None = None,
) -> None:
    """Write .dvc/config.local: `options` for `remote`, the folder of the cache, `core` settings."""
    from configobj import ConfigObj

    local = ConfigObj(encoding="utf-8", interpolation=False)
    local.filename = str(root / ".dvc" / "config.local")
    if core:
        local["core"] = dict(core)
    local["cache"] = {"dir": str(cache)}
    local[_section(remote.name)] = dict(options)
    local.write()


def apart(root: Path, folder: Path) -> None:
    """Make `folder` a DVC repository of its own, without git, with the remote and cache of `root`.

    What is added there is in the cache and can be pushed before `root` knows of it.
    """
    with stores(root) as (cache, _):
        place = cache.base.parents[1]  # above files/md5
    (folder / ".dvc").mkdir(parents=True)
    shutil.copyfile(root / ".dvc" / "config", folder / ".dvc" / "config")
    known = remote(root)
    options = {**known.options, "url": known.url}
    set_local(folder, known, options, place, core={"no_scm": "true", "autostage": "false"})


def _config(root: Path, *, local: bool = True) -> dict[str, Any]:
    """.dvc/config with .dvc/config.local over it, read as DVC reads them."""
    from configobj import ConfigObj, ConfigObjError

    files = [root / ".dvc" / "config", root / ".dvc" / "config.local"]
    if not files[0].is_file():
        raise ConfigError(f"{root} has no .dvc/config", fix="dvc init")
    merged = ConfigObj(encoding="utf-8", interpolation=False)
    for file in files if local else files[:1]:
        try:
            merged.merge(ConfigObj(str(file), encoding="utf-8", interpolation=False))
        except (ConfigObjError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{file}: {error}", fix="mend the file; `dvc config --list` reads it"
            ) from error
    return dict(merged)


def _section(name: str) -> str:
    return f'remote "{name}"'


def preflight(root: Path) -> Remote:
    """Prove in seconds that the default remote can be reached (DVC itself tries for half a minute).

    Raises:
        ToolError: it can't.
        ConfigError: there is none.
    """
    place = remote(root)
    if place.is_folder:
        if not Path(place.url).is_dir():
            raise ToolError(
                f"the storage folder {place.url} isn't there",
                fix=f"mkdir -p {place.url}, or name another: dvc remote modify --local"
                f" {place.name} url PATH",
            )
        return place
    address = _endpoint(place)
    if not _answers(address):
        raise ToolError(
            f"the remote {place.url} can't be reached: {address} gave no answer"
            f" within {_CONNECT_SECONDS:g} seconds",
            fix="check the network and the remote's address: dvc remote list",
        )
    return place


@dataclass(frozen=True)
class Store:
    """A place that keeps objects by their hash: DVC's cache, or a remote."""

    odb: Any

    @property
    def base(self) -> Path:
        """The top folder of a store on this machine."""
        return Path(self.odb.path)

    def path(self, md5: str) -> Path:
        """Where a store on this machine has the object."""
        return Path(self.odb.oid_to_path(md5))

    def get(self, md5: str, target: Path) -> None:
        """Download the object as it is.

        Raises:
            FileNotFoundError: it isn't there.
            Exception: whatever this kind of remote raises.
        """
        self.odb.fs.get_file(self.odb.oid_to_path(md5), str(target))


@contextmanager
def stores(root: Path) -> Iterator[tuple[Store, Store]]:
    """The cache and the default remote."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        yield Store(repo.cache.local), Store(repo.cloud.get_remote_odb())


def _endpoint(place: Remote) -> str:
    """The URL of the service behind a remote's URL."""
    bound = re.search(r"BlobEndpoint=([^;]+)", place.options.get("connection_string", ""))
    if bound:
        return bound.group(1)
    if "endpointurl" in place.options:
        return place.options["endpointurl"]
    scheme = urlsplit(place.url).scheme
    if scheme == "s3":
        return "https://s3.amazonaws.com"
    if scheme == "azure":
        return f"https://{place.options.get('account_name', '')}.blob.core.windows.net"
    return place.url


def _answers(address: str) -> bool:
    """Whether the service says anything in time, name look-up (it has no timeout) included.

    Behind a proxy only the proxy can be asked, and only for a connection.
    """
    parts = urlsplit(address)
    proxy = getproxies().get(parts.scheme)
    if proxy and parts.hostname and not proxy_bypass(parts.hostname):
        parts = urlsplit(proxy)._replace(scheme="proxy")
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "proxy": 80, "ssh": 22}.get(parts.scheme, 443)
    reached = threading.Event()

    def ask() -> None:
        with suppress(OSError), socket.create_connection((host, port), _CONNECT_SECONDS) as plain:
            if parts.scheme == "http":
                plain.sendall(f"HEAD / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                plain.recv(1)
            elif parts.scheme == "https":
                with suppress(ssl.SSLError):  # an answer, too
                    ssl.create_default_context().wrap_socket(plain, server_hostname=host).close()
            reached.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_CONNECT_SECONDS)
    return reached.is_set()


def _item(
    root: Path, base: Path, out: Mapping[str, object], stage: str | None, *, cached: bool = True
) -> Tracked:
    path = (base / str(out["path"])).resolve().relative_to(root.resolve()).as_posix()
    size = out.get("size")
    return Tracked(path, str(out["md5"]), size if isinstance(size, int) else None, stage, cached)


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

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(file.read_text("utf-8"), loader)  # noqa: S506  # a safe loader
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{file} can't be read: {error}", fix=f"git checkout -- {file}"
        ) from error
    return content if isinstance(content, dict) else {}


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _run(root: Path, *arguments: str) -> proc.Done:
    return proc.run(_command(*arguments), cwd=root, env=_QUIET)
