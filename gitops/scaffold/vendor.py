"""The tool inside the user's repository: CI installs the very version that generated it, by hash.

`.gitops/tool/` holds our wheel and a requirements file with the hash of it and of every dependency.
Both uv and pip take a path in a requirements file from the folder they run in, so CI runs
`uv pip install --require-hashes -r .gitops/tool/requirements.txt` in the repository's top folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tempfile
import zipfile
from base64 import urlsafe_b64encode
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from gitops import content, proc, uv
from gitops.errors import ToolError

if TYPE_CHECKING:
    from gitops.scaffold.render import Rendered


_DISTRIBUTION = "gitops-ml"
# What installers add to `.dist-info` (PyPA, "Recording installed projects"; uv adds uv_*).
_ADDED = frozenset(
    ["INSTALLER", "REQUESTED", "direct_url.json", "RECORD", "uv_build.json", "uv_cache.json"]
)
_EPOCH = (2020, 2, 2, 0, 0, 0)  # what hatchling stamps on the files of a wheel
_REINSTALL = "install gitops-ml anew from its wheel"


def vendored(requirements: Path | None = None) -> list[Rendered]:
    """The files under `.gitops/tool/`, for the running tool.

    `requirements` is the hash-pinned list of our dependencies; by default the one that we carry.

    Raises:
        ToolError: as `wheel`; or there's no such list.
    """
    from gitops.scaffold.render import tool_file

    name, data = wheel()
    lines = _dependencies(requirements or content.folder("requirements") / "tool.txt")
    own = f"./{content.TOOL}/{name} --hash=sha256:{hashlib.sha256(data).hexdigest()}"
    return [
        tool_file(f"{content.TOOL}/{name}", data),
        tool_file(f"{content.TOOL}/requirements.txt", f"{lines}{own}\n".encode()),
    ]


def wheel() -> tuple[str, bytes]:
    """File name and bytes of the running tool's wheel.

    An installed one is packed again, the same on every machine; a checkout's is built.

    Raises:
        ToolError: the installation is damaged, or the build failed.
    """
    try:
        installed = distribution(_DISTRIBUTION)
    except PackageNotFoundError as error:
        raise ToolError(f"{_DISTRIBUTION} is not installed", fix=_REINSTALL) from error
    checkout = _checkout(installed)
    return _built(checkout) if checkout else _packed(installed)


def _dependencies(file: Path) -> str:
    text = file.read_text("utf-8") if file.is_file() else ""
    if not text.strip():
        raise ToolError(
            f"this gitops carries no list of its dependencies: {file} is missing or empty",
            fix=f"{_REINSTALL}; in a checkout, run `make lock`",
        )
    return text if text.endswith("\n") else f"{text}\n"


def _checkout(installed: Distribution) -> Path | None:
    """The source folder of an editable install (PEP 610), if it's one."""
    text = installed.read_text("direct_url.json")
    origin = json.loads(text) if text else {}
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(url2pathname(urlsplit(origin["url"]).path))


def _built(checkout: Path) -> tuple[str, bytes]:
    """Built with what this environment holds (the lock's group `build`), so without the network."""
    with tempfile.TemporaryDirectory(prefix="gitops-wheel-") as folder:
        options = ["--no-build-isolation", "--python", sys.executable, "--out-dir", folder]
        proc.run([uv.binary(), "build", "--quiet", "--offline", "--wheel", *options, str(checkout)])
        built = next(Path(folder).glob("*.whl"))
        return built.name, built.read_bytes()


def _packed(installed: Distribution) -> tuple[str, bytes]:
    """A wheel (PyPA, "Binary distribution format") of the files that RECORD lists.

    Stored, not deflated: zlib's output differs between its versions, and git compresses anyway.
    """
    members = {str(path): (path, _content(path)) for path in _own_files(installed)}
    info = next((name.partition("/")[0] for name in members if name.endswith("/WHEEL")), None)
    if info is None:
        raise ToolError("the installation of gitops-ml has no WHEEL file", fix=_REINSTALL)
    # `.dist-info` comes last, as in a built wheel; its own RECORD at the very end.
    ordered = sorted(members, key=lambda name: (name.startswith(info), name))
    record = f"{info}/RECORD"
    lines = [
        f"{name},sha256={_digest(data)},{len(data)}"
        for name, data in ((name, members[name][1]) for name in ordered)
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in ordered:
            path, data = members[name]
            executable = Path(str(path.locate())).stat().st_mode & 0o100
            archive.writestr(_member(name, 0o755 if executable else 0o644), data)
        listing = "\n".join([*lines, f"{record},,", ""])
        archive.writestr(_member(record, 0o644), listing)
    tag = _tag(members[f"{info}/WHEEL"][1])
    return f"{info.removesuffix('.dist-info')}-{tag}.whl", buffer.getvalue()


def _own_files(installed: Distribution) -> list[PackagePath]:
    """What came out of the wheel: not bytecode, scripts (they lie outside) or installers' notes."""
    return [
        path
        for path in installed.files or []
        if ".." not in path.parts
        and path.suffix != ".pyc"
        and not (
            path.parts[0].endswith(".dist-info") and path.name in _ADDED and len(path.parts) == 2
        )
    ]


def _content(path: PackagePath) -> bytes:
    """The file's bytes, if they are those that were installed."""
    try:
        data = path.read_binary()
    except OSError as error:
        raise ToolError(
            f"{path.locate()} is missing from the installation", fix=_REINSTALL
        ) from error
    if path.hash is None or path.hash.mode != "sha256" or path.hash.value != _digest(data):
        raise ToolError(f"{path.locate()} is not as it was installed", fix=_REINSTALL)
    return data


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _member(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = (0o100000 | mode) << 16
    info.create_system = 3  # Unix, whichever system packs
    return info


def _tag(wheel_file: bytes) -> str:
    """`py3-none-any`: the compressed tag set that the file `WHEEL` spells out."""
    lines = wheel_file.decode().splitlines()
    tags = [
        line.removeprefix("Tag:").strip().split("-") for line in lines if line.startswith("Tag:")
    ]
    return "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))
