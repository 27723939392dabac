"""The default remote: where it is, whether it answers, and the stores of objects that DVC opens."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from gitops.errors import ConfigError, ToolError

_CONNECT_SECONDS = 3.0


@dataclass(frozen=True)
class Remote:
    """The default remote: its URL and the options that say how to reach it."""

    name: str
    url: str
    options: Mapping[str, str]

    @property
    def is_folder(self) -> bool:
        return "://" not in self.url


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
