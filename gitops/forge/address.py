"""From the URL of a git remote to a repository on a forge."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

# host:path, as scp and git write it; a single letter before the colon is a drive.
_SCP = re.compile(r"(?:[^@/:\\]+@)?(?P<host>[^@/:\\]{2,}):(?P<path>[^\\]+)")
_WEB = ("https", "http")
_SSH = ("ssh", "git+ssh", "ssh+git")


@dataclass(frozen=True)
class Address:
    """A remote's `host` (with its port if it's a web address) and the parts of its path."""

    host: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class OnGitHub:
    """`api` is the base of the REST API, without a slash at the end."""

    api: str
    owner: str
    repository: str


@dataclass(frozen=True)
class OnAzure:
    """`collection` is the organization's address, without a slash at the end."""

    collection: str
    project: str
    repository: str


def parse(remote_url: str) -> Address | None:
    """Where a remote is; None for a path on this machine. Credentials in the URL are dropped."""
    scheme, found, _ = remote_url.partition("://")
    if found and scheme.lower() in (*_WEB, *_SSH):
        try:
            url = urlsplit(remote_url)
            host, port = url.hostname or "", url.port
        except ValueError:
            return None
        keep_port = port and scheme.lower() in _WEB
        return _address(f"{host}:{port}" if keep_port else host, url.path)
    if found:
        return None
    if match := _SCP.fullmatch(remote_url):
        return _address(match["host"], match["path"])
    return None


def _address(host: str, path: str) -> Address | None:
    parts = tuple(unquote(part) for part in path.split("/") if part)
    # The parts become paths of the API: none may climb out of its own.
    if not host or any(part in (".", "..") or "/" in part or "\0" in part for part in parts):
        return None
    return Address(host.lower(), parts)


def on_github(place: Address, env: Mapping[str, str]) -> OnGitHub | None:
    """The repository on github.com, a *.ghe.com, or the server that the environment names."""
    host = "github.com" if place.host in ("ssh.github.com", "www.github.com") else place.host
    server = _server(env.get("GITHUB_SERVER_URL", "")) or "github.com"
    enterprise = (_server(env.get("GITHUB_SERVER_URL", "")), _server(env.get("GH_HOST", "")))
    if host != "github.com" and not host.endswith(".ghe.com") and host not in enterprise:
        return None
    if len(place.parts) != 2:
        return None
    if host == server and env.get("GITHUB_API_URL"):
        api = env["GITHUB_API_URL"]
    elif host == "github.com":
        api = "https://api.github.com"
    else:
        api = f"https://api.{host}" if host.endswith(".ghe.com") else f"https://{host}/api/v3"
    owner, repository = place.parts
    return OnGitHub(api.rstrip("/"), owner, repository.removesuffix(".git"))


def _server(text: str) -> str:
    """The host of `https://host/` or `host`, with its port."""
    url = urlsplit(text if "://" in text else f"//{text}")
    return url.netloc.rpartition("@")[2].lower()


def on_azure(place: Address, env: Mapping[str, str]) -> OnAzure | None:
    """The repository on dev.azure.com, by its older names, or on the server of the environment."""
    collection = env.get("SYSTEM_COLLECTIONURI", "").rstrip("/")
    if collection:
        base = parse(collection)
        if base and base.host == place.host and place.parts[: len(base.parts)] == base.parts:
            return _within(collection, place.parts[len(base.parts) :], "_git")
    host, parts = place.host, place.parts
    if host == "dev.azure.com" and parts:
        organization, rest, mark = parts[0], parts[1:], "_git"
    elif host in ("ssh.dev.azure.com", "vs-ssh.visualstudio.com") and parts[:1] == ("v3",):
        if len(parts) != 4:
            return None
        organization, rest, mark = parts[1], (parts[2], "_git", parts[3]), "_git"
    elif host.endswith(".visualstudio.com"):
        # organization.visualstudio.com, once with DefaultCollection; ssh: organization.vs-ssh...
        organization = host.split(".")[0]
        rest = parts[1:] if parts[:1] == ("DefaultCollection",) else parts
        mark = "_ssh" if ".vs-ssh." in host else "_git"
    else:
        return None
    # In a pipeline the organization's address is told; it may be the older one.
    told = parse(collection) if collection else None
    same = told and (told.parts[-1:] == (organization,) or told.host.split(".")[0] == organization)
    return _within(collection if same else f"https://dev.azure.com/{organization}", rest, mark)


def _within(collection: str, parts: tuple[str, ...], mark: str) -> OnAzure | None:
    """`[project/]_git/[_full|_optimized/]repository`: without a project the names are equal."""
    if mark not in parts:
        return None
    at = parts.index(mark)
    rest = tuple(part for part in parts[at + 1 :] if part not in ("_full", "_optimized"))
    if at > 1 or len(rest) != 1:
        return None
    return OnAzure(collection, parts[0] if at else rest[0], rest[0])


def identities(collection: str) -> str:
    """Where Azure DevOps answers about people; a server of one's own does it itself."""
    url = urlsplit(collection)
    if url.netloc == "dev.azure.com":
        return f"https://vssps.dev.azure.com{url.path}"
    organization, _, rest = url.netloc.partition(".")
    if rest == "visualstudio.com":
        return f"https://{organization}.vssps.visualstudio.com"
    return collection
