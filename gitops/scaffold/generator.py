"""A generator: a folder with `generator.yaml` and `template/`, read into memory once."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, cast

from gitops import content, yamlfile
from gitops.errors import ConfigError, Where

Owner = Literal["tool", "user"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_KEYS = (
    "version",
    "name",
    "description",
    "revision",
    "files",
    "requires",
    "answers",
    "overrides",
    "migrations",
)
_RULE_KEYS = ("path", "owner", "when")
_MIGRATION_KEYS = ("to", "move", "answers", "delete")


@dataclass(frozen=True)
class Rule:
    """An item of `files`: what holds for the output paths that the glob `path` matches.

    The first that matches and has an `owner` settles the owner; the first that matches and has a
    `when` settles whether the file is written.
    """

    path: str
    owner: Owner | None
    when: str | None
    where: Where


@dataclass(frozen=True)
class Migration:
    """What turns a repository of the revision before `to` into one of `to`: data, no code.

    Paths are output paths, in which `@{ name }@` is an answer. `move`: (from, to), of a file or,
    with a `/` at the end of both, of a folder; `rename` and `set` are about answers: new names, and
    values for answers that aren't there yet; `delete` says that a file is gone, and hasn't moved.
    """

    to: int
    move: tuple[tuple[str, str], ...]
    rename: Mapping[str, str]
    set: Mapping[str, object]
    delete: tuple[str, ...]


@dataclass(frozen=True)
class TemplateFile:
    """A file under `template/`: its path there (`/` between names), bytes, and executable bit."""

    path: str
    content: bytes
    executable: bool


@dataclass(frozen=True)
class Generator:
    """What `generator.yaml` says, and every template file.

    `source` is `shipped` or the folder as it was given; `digest` is `sha256:` over all its files;
    `revision` counts its changes, `migrations` lead up to it. `answers` are its own, with their
    defaults; `overrides` globs over the output paths that it takes over from generators before it.
    """

    name: str
    description: str
    requires: tuple[str, ...]
    rules: tuple[Rule, ...]
    files: tuple[TemplateFile, ...]
    folder: Path
    source: str
    digest: str
    revision: int = 1
    migrations: tuple[Migration, ...] = ()
    answers: Mapping[str, object] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def owner(self, path: str) -> Owner:
        """Who owns the output file `path`: see `Rule`; by default the user."""
        return next((r.owner for r in self._matching(path) if r.owner), "user")

    def condition(self, path: str) -> Rule | None:
        """The first matching rule with a `when`, if any."""
        return next((rule for rule in self._matching(path) if rule.when), None)

    def takes_over(self, path: str) -> bool:
        """Whether it replaces what an earlier generator writes at `path`."""
        return any(matches(glob, path) for glob in self.overrides)

    def _matching(self, path: str) -> Iterator[Rule]:
        return (rule for rule in self.rules if matches(rule.path, path))


def is_shipped(name: str) -> bool:
    """Whether gitops comes with a generator of that name."""
    return (
        bool(_NAME.fullmatch(name))
        and (content.folder("generators") / name / "generator.yaml").is_file()
    )


def load(name_or_path: str | Path) -> Generator:
    """A shipped generator by its name, or any by its folder.

    Raises:
        ConfigError: there is none, generator.yaml is wrong (file, line, nearest spelling), or a
            symlink or special file is among the templates.
    """
    shipped = isinstance(name_or_path, str) and _NAME.fullmatch(name_or_path) is not None
    folder = content.folder("generators") / name_or_path if shipped else Path(name_or_path)
    if not (folder / "generator.yaml").is_file():
        raise (
            _unknown(str(name_or_path))
            if shipped
            else ConfigError(
                f"{folder} holds no generator.yaml, so it is no generator",
                fix="name a shipped generator, or a folder with generator.yaml and template/",
            )
        )
    return _read(folder, "shipped" if shipped else str(name_or_path))


def compose(names: Iterable[str | Path]) -> tuple[Generator, ...]:
    """The generators and all that they require, each once, the required ones first.

    A requirement is looked for beside the generator that names it, then among the shipped ones.

    Raises:
        ConfigError: as `load`; or they require each other in a circle; or two share a name.
    """
    done: dict[str, Generator] = {}
    for name in names:
        _add(load(name), (), done)
    return tuple(done.values())


def _add(generator: Generator, chain: tuple[str, ...], done: dict[str, Generator]) -> None:
    if generator.name in chain:
        circle = " -> ".join([*chain[chain.index(generator.name) :], generator.name])
        raise ConfigError(
            f"generators require each other in a circle: {circle}",
            fix="take one of them out of `requires`",
            where=Where(generator.folder / "generator.yaml"),
        )
    known = done.get(generator.name)
    if known is not None:
        if known.folder != generator.folder:
            raise ConfigError(
                f"two are named {generator.name!r}: {known.folder} and {generator.folder}",
                fix="rename one of them",
            )
        return
    for name in generator.requires:
        beside = generator.folder.parent / name
        near = generator.source != "shipped" and (beside / "generator.yaml").is_file()
        _add(load(beside if near else name), (*chain, generator.name), done)
    done[generator.name] = generator


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the spelling in `known` that is nearest to `name`; or nothing."""
    import difflib

    close = difflib.get_close_matches(name, [text for text in known if isinstance(text, str)], n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def matches(glob: str, path: str) -> bool:
    """Whether `path` fits `glob`: `*` and `?` within a name, `**` over any number of names."""
    return _compiled(glob).fullmatch(path) is not None


@cache
def _compiled(glob: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", glob)
    return re.compile("".join(parts.get(token) or re.escape(token) for token in tokens), re.DOTALL)


def _read(folder: Path, source: str) -> Generator:
    file = folder / "generator.yaml"
    document = yamlfile.read(file)
    data = document.data
    _known_keys(document, data, _KEYS, ())
    if data.get("version") != 1 or isinstance(data.get("version"), bool):
        raise _wrong(document, "version", data.get("version"), "1")
    name, description = data.get("name"), data.get("description")
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise _wrong(document, "name", name, "lower-case letters, digits and single hyphens")
    if source == "shipped" and name != folder.name:
        raise _wrong(document, "name", name, f"{folder.name!r}, the name of its folder")
    if not (isinstance(description, str) and description.strip() and "\n" not in description):
        raise _wrong(document, "description", description, "one line of text")
    revision = data.get("revision", 1)
    if not _is_count(revision):
        raise _wrong(document, "revision", revision, "a whole number from 1 on")
    files = _template_files(folder)
    return Generator(
        name=name,
        description=description,
        requires=_requires(document, data.get("requires", [])),
        rules=_rules(document, data.get("files", [])),
        files=files,
        folder=folder,
        source=source,
        digest=_digest(file.read_bytes(), files),
        revision=revision,
        migrations=_migrations(document, data.get("migrations", []), revision),
        answers=_answers(document, data.get("answers", {})),
        overrides=_overrides(document, data.get("overrides", [])),
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _requires(document: yamlfile.Document, data: object) -> tuple[str, ...]:
    good = isinstance(data, list) and all(isinstance(n, str) and _NAME.fullmatch(n) for n in data)
    if not good:
        raise _wrong(document, "requires", data, "a list of generators' names")
    return tuple(cast("list[str]", data))


def _rules(document: yamlfile.Document, data: object) -> tuple[Rule, ...]:
    if not isinstance(data, list):
        raise _wrong(document, "files", data, "a list of {path, owner}")
    rules = []
    for index, item in enumerate(data):
        place = ("files", index)
        if not isinstance(item, dict):
            raise _wrong(document, place, item, "{path, owner} or {path, when}")
        _known_keys(document, item, _RULE_KEYS, place)
        path, owner, when = item.get("path"), item.get("owner"), item.get("when")
        if not (isinstance(path, str) and path):
            raise _wrong(document, (*place, "path"), path, "a glob over output paths")
        if owner not in (None, "tool", "user"):
            raise _wrong(document, (*place, "owner"), owner, "tool or user")
        if not (when is None or (isinstance(when, str) and when.strip())):
            raise _wrong(document, (*place, "when"), when, "an expression in quotes")
        if owner is None and when is None:
            raise _wrong(document, place, item, "an item with an `owner`, a `when`, or both")
        rules.append(Rule(path, owner, when, document.where((*place, "when" if when else "path"))))
    return tuple(rules)


def _answers(document: yamlfile.Document, data: object) -> dict[str, object]:
    if not (isinstance(data, dict) and all(_is_text(k) and k.isidentifier() for k in data)):
        raise _wrong(document, "answers", data, "a mapping of names to default values")
    return data


def _overrides(document: yamlfile.Document, data: object) -> tuple[str, ...]:
    if not (isinstance(data, list) and all(_is_text(one) for one in data)):
        raise _wrong(document, "overrides", data, "a list of globs over output paths")
    return tuple(data)


def _migrations(document: yamlfile.Document, data: object, revision: int) -> tuple[Migration, ...]:
    if not isinstance(data, list):
        raise _wrong(document, "migrations", data, "a list of {to, move, answers, delete}")
    found: list[Migration] = []
    for index, item in enumerate(data):
        place = ("migrations", index)
        if not isinstance(item, dict):
            raise _wrong(document, place, item, "{to, move, answers, delete}")
        _known_keys(document, item, _MIGRATION_KEYS, place)
        to, last = item.get("to"), found[-1].to if found else 1
        if not (isinstance(to, int) and _is_count(to) and last < to <= revision):
            wanted = f"a revision from {last + 1} to {revision}, each once and in order"
            raise _wrong(document, (*place, "to"), to, wanted)
        move, delete, answers = item.get("move", []), item.get("delete", []), item.get("answers")
        if not isinstance(move, list):
            raise _wrong(document, (*place, "move"), move, "a list of {from, to}")
        moves = tuple(_move(document, one, (*place, "move", at)) for at, one in enumerate(move))
        if not (isinstance(delete, list) and all(_is_text(one) for one in delete)):
            raise _wrong(document, (*place, "delete"), delete, "a list of output paths")
        answers = {} if answers is None else answers
        if not isinstance(answers, dict):
            raise _wrong(document, (*place, "answers"), answers, "{rename, set}")
        _known_keys(document, answers, ("rename", "set"), (*place, "answers"))
        rename, values = answers.get("rename", {}), answers.get("set", {})
        if not (isinstance(rename, dict) and all(_is_text(one) for one in rename.values())):
            raise _wrong(document, (*place, "answers", "rename"), rename, "{old name: new name}")
        if not isinstance(values, dict):
            raise _wrong(document, (*place, "answers", "set"), values, "{name: value}")
        found.append(Migration(to, moves, rename, values, tuple(delete)))
    return tuple(found)


def _move(
    document: yamlfile.Document, item: object, place: tuple[str | int, ...]
) -> tuple[str, str]:
    old, new = (item.get("from"), item.get("to")) if isinstance(item, dict) else (None, None)
    known = isinstance(item, dict) and len(item) == 2 and _is_text(old) and _is_text(new)
    if not known or str(old).endswith("/") != str(new).endswith("/"):
        wanted = "{from: path, to: path}, two files or (with a / at the end) two folders"
        raise _wrong(document, place, item, wanted)
    return str(old), str(new)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _known_keys(
    document: yamlfile.Document,
    data: Mapping[str, object],
    known: Sequence[str],
    place: tuple[str | int, ...],
) -> None:
    for key in data:
        if key not in known:
            raise ConfigError(
                f"unknown key {key!r}{nearest(key, known)}",
                fix=f"the keys are: {', '.join(known)}",
                where=document.where((*place, key), key=True),
            )


def _wrong(
    document: yamlfile.Document, place: str | tuple[str | int, ...], value: object, wanted: str
) -> ConfigError:
    path = (place,) if isinstance(place, str) else place
    name = ".".join(str(part) for part in path)
    return ConfigError(
        f"`{name}` is missing" if value is None else f"`{name}` is {value!r}",
        fix=f"`{name}` must be {wanted}",
        where=document.where(path),
    )


def _unknown(name: str) -> ConfigError:
    folders = content.folder("generators").glob("*/generator.yaml")
    known = sorted(file.parent.name for file in folders)
    return ConfigError(
        f"there is no generator {name!r}{nearest(name, known)}",
        fix=f"the shipped generators are: {', '.join(known) or 'none'}",
    )


def _template_files(folder: Path) -> tuple[TemplateFile, ...]:
    """Every file under `template/`, by path.

    Raises:
        ConfigError: one is a symlink, which could carry in what isn't the generator's, or special.
    """
    found: list[TemplateFile] = []
    for path, entry in _walk(folder / "template", ""):
        file = Path(entry.path)
        if entry.is_symlink() or not entry.is_file():
            raise ConfigError(
                f"{file} is a {'symlink' if entry.is_symlink() else 'special file'}",
                fix="put the file itself into the generator: templates are plain files",
                where=Where(folder / "generator.yaml"),
            )
        found.append(TemplateFile(path, file.read_bytes(), bool(entry.stat().st_mode & 0o100)))
    return tuple(sorted(found, key=lambda file: file.path))


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    if folder.is_symlink() or not folder.is_dir():
        raise ConfigError(
            f"{folder} is {'a symlink' if folder.is_symlink() else 'not a folder'}",
            fix="a generator holds its templates in the folder template/",
        )
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}", entry


def _digest(settings: bytes, files: Sequence[TemplateFile]) -> str:
    total = hashlib.sha256(hashlib.sha256(settings).digest())
    for file in files:
        total.update(file.path.encode("utf-8", "surrogateescape") + b"\0")
        total.update(b"x" if file.executable else b"-")
        total.update(hashlib.sha256(file.content).digest())
    return f"sha256:{total.hexdigest()}"
