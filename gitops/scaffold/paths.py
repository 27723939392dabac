"""Where a generated file may land: names that every platform holds, never outside the target."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from gitops.errors import ConfigError, Where

# Devices, also with an extension: https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
_RESERVED = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{device}{digit}" for device in ("COM", "LPT") for digit in "0123456789¹²³"]
)
# Control, format (zero-width, bidirectional), surrogate, and line and paragraph separators: they
# hide in a listing, and HFS+ ignores some of them (so `.g<ZWNJ>it` would be `.git`: CVE-2014-9390).
_HIDDEN = frozenset(["Cc", "Cf", "Cs", "Zl", "Zp"])
_LONGEST = 255  # bytes of a name on the usual file systems


class SameName(ConfigError):
    """Two names that are one where case or Unicode form is ignored."""


def check(text: str, where: Where | None = None) -> PurePosixPath:
    """The relative path that `text` spells, if every platform can hold it inside the target.

    Raises:
        ConfigError: `..`, absolute, a drive, a backslash, an empty name, hidden characters, a name
            that Windows refuses, `.git`; names `where`, the file that asked for it.
    """
    if text.startswith("/"):
        raise _refused(text, "it is absolute", where)
    for name in text.split("/"):
        reason = _unusable(name)
        if reason:
            raise _refused(text, reason, where)
    return PurePosixPath(text)


def check_name(text: str, path: str, where: Where | None = None) -> str:
    """`text` as one name (no folders), made of the template path `path`; raises as `check`."""
    reason = "a name holds a `/`" if "/" in text else _unusable(text)
    if reason:
        raise _refused(text, reason, where, of=f" (of `{path}`)" if text != path else "")
    return text


def folded(path: PurePosixPath | str) -> str:
    """Equal for two paths that are one file where case and Unicode form are ignored."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


def check_distinct(paths: Iterable[PurePosixPath]) -> None:
    """Raise ConfigError if two paths or their folders fold to one, or a file is also a folder."""
    files: dict[str, PurePosixPath] = {}
    folders: dict[str, PurePosixPath] = {}
    for path in paths:
        other = files.setdefault(folded(path), path)
        if other is not path:
            raise _same(path, other)
        for parent in _parents(path):
            other = folders.setdefault(folded(parent), parent)
            if other != parent:
                raise _same(parent, other)
    for key in files.keys() & folders.keys():
        raise ConfigError(
            f"{_shown(files[key])} would be both a file and a folder", fix="rename one of the two"
        )


def check_target(paths: Sequence[PurePosixPath], target: Path) -> None:
    """Refuse paths that leave `target` by a symlink, or fold to another name that is there.

    `target` need not exist. Symlinks of folders that stay inside are followed, unless into `.git`.

    Raises:
        ConfigError: names both the path and what it collides with or leads to.
    """
    top = target.resolve()
    names: dict[Path, dict[str, set[str]]] = {}
    real: dict[PurePosixPath, PurePosixPath] = {}
    for path in paths:
        for part in (*_parents(path), path):
            if part in real:
                continue
            at = target / part
            parent = real.get(part.parent, PurePosixPath())
            real[part] = parent / part.name
            if part != path and at.is_symlink():
                real[part] = _inside(at, top)
            if at.parent not in names:
                names[at.parent] = _listing(at.parent)
            there = names[at.parent].get(folded(part.name), {part.name})
            if part.name not in there:
                raise _same(part, part.with_name(min(there)))
    files = [real[path] for path in paths]
    if len(set(files)) < len(files):
        twice = next(path for path in files if files.count(path) > 1)
        raise ConfigError(
            f"two paths lead to {_shown(twice)} by a symlink", fix="replace the symlink by a folder"
        )


def _inside(link: Path, top: Path) -> PurePosixPath:
    """Where in `top` the folder symlink `link` leads."""
    try:
        real = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # dangling, or a loop
        raise ConfigError(
            f"{link} is a symlink that leads nowhere", fix="remove the symlink"
        ) from error
    if not real.is_relative_to(top):
        raise ConfigError(
            f"{link} is a symlink that leads outside, to {real}",
            fix="replace the symlink by a folder: nothing is written outside the repository",
        )
    inside = PurePosixPath(real.relative_to(top))
    if any(_is_git(name) for name in inside.parts):
        raise ConfigError(
            f"{link} is a symlink into {inside}", fix="replace the symlink by a folder"
        )
    return inside


def _listing(folder: Path) -> dict[str, set[str]]:
    """Names in `folder` by their folded form."""
    names: dict[str, set[str]] = {}
    if folder.is_dir():
        for entry in folder.iterdir():
            names.setdefault(folded(entry.name), set()).add(entry.name)
    return names


@cache
def _unusable(name: str) -> str | None:
    """Why no platform-neutral tree can hold `name`, or None."""
    if not name:
        return "a name is empty"
    if name in (".", ".."):
        return f"it contains `{name}`"
    if "\\" in name:
        return "it contains a backslash"
    hidden = [sign for sign in name if unicodedata.category(sign) in _HIDDEN]
    if hidden:
        return f"it contains the invisible character U+{ord(hidden[0]):04X}"
    bad = [sign for sign in name if sign in '<>:"|?*']
    if bad:
        return f"it contains {bad[0]!r}, which Windows refuses"
    if name[-1] in ". ":
        return "a name ends in a dot or a space, which Windows drops"
    if name.partition(".")[0].rstrip(" ").upper() in _RESERVED:
        return f"{name!r} is a device on Windows"
    if _is_git(name):
        return f"{name!r} belongs to git"
    if len(name.encode()) > _LONGEST:
        return f"a name is longer than {_LONGEST} bytes"
    return None


def _is_git(name: str) -> bool:
    """`.git`, or `git~1`: its short name on Windows."""
    return folded(name) in (".git", "git~1")


def _parents(path: PurePosixPath) -> Iterator[PurePosixPath]:
    """Folders above `path`, the top left out, outermost first."""
    return reversed(list(path.parents)[:-1])


def _refused(text: str, reason: str, where: Where | None, of: str = "") -> ConfigError:
    return ConfigError(
        f"{_shown(text)}{of} cannot be a path of a generated file: {reason}",
        fix="change the file's name in the generator, or the answer that it is made from",
        where=where,
    )


def _same(one: PurePosixPath, other: PurePosixPath) -> SameName:
    return SameName(
        f"{_shown(one)} and {_shown(other)} are one file where case or Unicode form is ignored",
        fix="rename one of the two",
    )


def _shown(path: PurePosixPath | str) -> str:
    """`path` quoted, with escapes for what cannot be seen or is told apart only by its form."""
    text = str(path)
    return repr(text) if unicodedata.is_normalized("NFC", text) else ascii(text)
