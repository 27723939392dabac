"""The default remote as DVC's settings have it: where it is, and whether it answers."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from gitops.errors import ConfigError, ToolError

_CONNECT_SECONDS = 3.0
# Options that the environment may give instead; the later variable wins.
_VARIABLES = (
    ("s3", "endpointurl", "AWS_ENDPOINT_URL"),
    ("s3", "endpointurl", "AWS_ENDPOINT_URL_S3"),
    ("azure", "connection_string", "AZURE_STORAGE_CONNECTION_STRING"),
    ("azure", "account_name", "AZURE_STORAGE_ACCOUNT"),
)


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


def rehearsed(place: Remote) -> bool:
    """Whether this is a step of a rehearsal (`gitops ci`), and the remote the true one.

    A folder remote has a stand-in there; of another kind nothing is written.
    """
    return os.environ.get("GITOPS_CI") == "rehearsal" and not place.is_folder


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


def alone(root: Path, url: str, options: Mapping[str, str]) -> None:
    """Make `root` a DVC repository without git that has nothing but this remote."""
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").touch()
    core = {"no_scm": "true", "remote": "storage"}
    there = Remote("storage", url, options)
    set_local(root, there, {**options, "url": url}, root / ".dvc" / "cache", core)


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
            f"the remote {shown(place.url)} can't be reached: {shown(address)} gave no answer"
            f" within {_CONNECT_SECONDS:g} seconds",
            fix="check the network and the remote's address: dvc remote list",
        )
    return place


def shown(url: str) -> str:
    """A URL without the password that may be in it."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def identity(root: Path) -> str:
    """A name for the place behind the default remote, which tells it from all others."""
    place = remote(root)
    text = place.url if place.is_folder else f"{place.url} {_endpoint(place)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _endpoint(place: Remote) -> str:
    """The URL of the service behind a remote's URL, as its options or the environment name it."""
    scheme = urlsplit(place.url).scheme
    options = {**_from_environment(scheme), **place.options}
    bound = re.search(r"BlobEndpoint=([^;]+)", options.get("connection_string", ""))
    if bound:
        return bound.group(1)
    if "endpointurl" in options:
        return options["endpointurl"]
    if scheme == "s3":
        return "https://s3.amazonaws.com"
    if scheme == "azure":
        named = re.search(r"AccountName=([^;]+)", options.get("connection_string", ""))
        account = named.group(1) if named else options.get("account_name", "")
        return f"https://{account}.blob.core.windows.net"
    return place.url


def _from_environment(scheme: str) -> dict[str, str]:
    return {
        option: os.environ[variable]
        for kind, option, variable in _VARIABLES
        if kind == scheme and os.environ.get(variable)
    }


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
