"""Overlays: generators from elsewhere, vendored and pinned, so that nothing is fetched unasked.

An overlay lies in `.gitops/generators/<name>/` as the tool's file: a reviewer sees its changes, and
`sync` needs no network. The lock says where it came from, and at which commit.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import content, git
from gitops.errors import AnswerNo, ConfigError, UsageError, Where
from gitops.git import elsewhere
from gitops.scaffold import generator, paths
from gitops.scaffold import lock as locks
from gitops.scaffold.render import Rendered

if TYPE_CHECKING:
    from gitops.scaffold.generator import Generator
    from gitops.scaffold.lock import GeneratorLock

FOLDER = ".gitops/generators"
LARGEST = 5_000_000  # bytes of one template: it goes into every repository, and its history

_URL = re.compile(r"[a-z][a-z0-9+.-]*://|[\w.-]+@[\w.-]+:")
_SECRET = re.compile(r"//[^/@]*:[^/@]*@")


@dataclass(frozen=True)
class Origin:
    """Where an overlay comes from.

    `place`: a folder, or the URL of a git repository (`below`: the folder in it); `revision`: the
    branch, tag or commit that was asked for; `commit` is what that was. A folder has neither.
    """

    place: str
    below: str = ""
    revision: str | None = None
    commit: str | None = None

    @property
    def text(self) -> str:
        """As a user writes it."""
        return f"{self.place}//{self.below}" if self.below else self.place


def origin(text: str, revision: str | None, base: Path) -> Origin:
    """What a user's words mean; a local place is made absolute from `base`.

    Raises:
        UsageError: a password in a URL, a revision of what isn't git, or no such place.
    """
    if _SECRET.search(text):
        raise UsageError(
            "the URL holds a password, which would stand in the lock",
            fix="leave it out: git asks its credential helper",
        )
    if revision is not None and (not revision or revision.startswith("-")):
        raise UsageError(f"{revision!r} is no revision", fix="name a branch, a tag or a commit")
    scheme, cut, rest = text.partition("://")
    place, _, below = rest.partition("//") if cut else text.partition("//")
    place = scheme + cut + place if cut else place
    if _URL.match(text):
        return Origin(place, below.strip("/"), revision)
    folder = (base / Path(place).expanduser()).resolve()
    if not folder.is_dir():
        raise UsageError(
            f"{text} is no generator of gitops, no folder and no URL",
            fix=f"one of {', '.join(_shipped())}; or a folder with generator.yaml; or a git URL",
        )
    # A folder under development is taken as it is, unless a revision of it is asked for.
    if revision is None and (folder / below / "generator.yaml").is_file():
        return Origin(str(folder / below if below else folder))
    if elsewhere.is_repository(str(folder)):
        return Origin(str(folder), below.strip("/"), revision)
    if revision is not None:
        raise UsageError(
            f"{folder} is no git repository, so it has no revision {revision!r}",
            fix="leave --revision out",
        )
    return Origin(str(folder / below if below else folder))


@contextmanager
def opened(source: Origin) -> Iterator[tuple[Generator, Origin]]:
    """The overlay, read in a temporary folder if it comes from git, and the origin with its commit.

    Raises:
        ConfigError: it is no generator, or not a safe one.
        ToolError: it can't be reached.
        UsageError: there's no such revision.
    """
    if source.revision is None and not _is_git(source):
        yield _checked(generator.load(Path(source.place))), source
        return
    with tempfile.TemporaryDirectory(prefix="gitops-overlay-") as temporary:
        store, tree = Path(temporary) / "store", Path(temporary) / "tree"
        commit = elsewhere.take(source.place, source.revision or "HEAD", store)
        _write(store, commit, source, tree)
        found = _checked(generator.load(tree))
        yield found, replace(source, commit=commit)


def vendored(one: Generator) -> list[Rendered]:
    """The overlay's own files, as they lie in a repository that uses it."""
    files = [("generator.yaml", (one.folder / "generator.yaml").read_bytes(), False)]
    files += [(f"template/{file.path}", file.content, file.executable) for file in one.files]
    return [
        Rendered(paths.check(f"{FOLDER}/{one.name}/{path}"), data, executable, "tool", "gitops")
        for path, data, executable in files
    ]


def pin(one: Generator, source: Origin) -> GeneratorLock:
    """What the lock says of an overlay."""
    return locks.GeneratorLock(
        name=one.name,
        digest=one.digest,
        source=f"{FOLDER}/{one.name}",
        revision=one.revision,
        origin=source.text,
        wanted=source.revision,
        commit=source.commit,
    )


def is_overlay(used: GeneratorLock) -> bool:
    """Whether this generator of a lock is vendored."""
    return used.source.startswith(f"{FOLDER}/")


def require_intact(one: Generator, used: GeneratorLock, root: Path) -> None:
    """Raise ConfigError if the vendored copy isn't what the lock has pinned."""
    if one.digest != used.digest:
        raise ConfigError(
            f"{used.source} is not as it was pinned: its digest is {one.digest[:19]},"
            f" {locks.PATH} has {used.digest[:19]}",
            fix=f"git checkout HEAD -- {used.source}; a newer one comes by `gitops upgrade`",
            where=Where(root / used.source / "generator.yaml"),
        )


def origin_of(used: GeneratorLock) -> Origin:
    """The origin that a lock has recorded."""
    text = str(used.origin)
    scheme, cut, rest = text.partition("://")
    place, _, below = rest.partition("//") if cut else text.partition("//")
    return Origin(scheme + cut + place if cut else place, below, used.wanted, used.commit)


def require_unmoved(source: Origin, *, accept: bool) -> None:
    """Raise AnswerNo if the tag that was asked for is another commit now: tags don't move."""
    if source.commit is None or source.revision is None or accept:
        return
    now = elsewhere.refs(source.place).get(f"refs/tags/{source.revision}")
    if now is not None and now != source.commit:
        raise AnswerNo(
            f"the tag {source.revision} of {source.text} has moved:"
            f" it was {source.commit[:12]}, and is now {now[:12]}",
            fix="ask its owner why; to take it all the same: --accept-moved-tags",
        )


def _is_git(source: Origin) -> bool:
    return (
        bool(source.below or _URL.match(source.place))
        or not (Path(source.place) / "generator.yaml").is_file()
    )


def _write(store: Path, commit: str, source: Origin, tree: Path) -> None:
    """The overlay's files out of git's objects: no checkout, so no filter and no link."""
    prefix = f"{source.below}/" if source.below else ""
    modes = {
        path.removeprefix(prefix): mode
        for path, mode in git.modes(store, commit).items()
        if path.startswith(prefix)
    }
    wanted = {path: mode for path, mode in modes.items() if _is_part(path)}
    if "generator.yaml" not in wanted:
        near = [path for path in modes if path.endswith("/generator.yaml")]
        raise ConfigError(
            f"{source.text} holds no generator.yaml at {commit[:12]}",
            fix=f"name the folder: {source.place}//{near[0].removesuffix('/generator.yaml')}"
            if near
            else "name a repository with generator.yaml and template/",
        )
    for path, mode in wanted.items():
        if not mode.startswith("100"):
            kind = "symlink" if mode == "120000" else "submodule"
            raise ConfigError(
                f"{source.text}: {path} is a {kind}",
                fix="put the file itself into the generator: templates are plain files",
            )
        paths.check(path)
    contents = git.snapshot(store, commit).read([prefix + path for path in wanted])
    for path, mode in wanted.items():
        at = tree / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(contents[prefix + path])
        if mode == "100755":
            at.chmod(0o755)


def _is_part(path: str) -> bool:
    return path == "generator.yaml" or path.startswith("template/")


def _checked(one: Generator) -> Generator:
    """What only a stranger's generator can get wrong."""
    if one.name in _shipped():
        raise ConfigError(
            f"this overlay has the name of a generator of gitops: {one.name}",
            fix="rename it: its `name` in generator.yaml",
            where=Where(one.folder / "generator.yaml"),
        )
    for file in one.files:
        if len(file.content) > LARGEST:
            raise ConfigError(
                f"{file.path} has {len(file.content):,} bytes, more than {LARGEST:,}",
                fix="keep data out of a generator",
                where=Where(one.folder / "template" / file.path),
            )
    return one


def _shipped() -> list[str]:
    return sorted(
        file.parent.name for file in content.folder("generators").glob("*/generator.yaml")
    )
