"""Images for deploying: looked up in the registry; where it hasn't one, built and pushed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gitops import git
from gitops.errors import ConfigError, Where

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.deploy.model import Variant
    from gitops.image.builder import Builder


@dataclass(frozen=True)
class Built:
    """An image: its name by tag, and by digest (None: it was only built)."""

    image: str
    pinned: str | None
    built: bool


@dataclass
class Images:
    """The `Images` of deploying; `commit` is where the Containerfile and the tool come from (None:
    the work tree)."""

    root: Path
    config: Config
    commit: str | None
    say: Callable[[str], None]
    _known: dict[str, str] = field(default_factory=dict)
    _builder: Builder | None = None

    def __call__(self, variant: Variant) -> str:
        from gitops.image import context

        model = variant.release.partition("@")[0]
        if variant.code is not None:
            raise context.code_of_its_own(model)
        if variant.package not in self._known:
            folder = Path(variant.folder)
            made = self.image(model, folder, variant.package, push=True)
            self._known[variant.package] = str(made.pinned)
        return self._known[variant.package]

    def image(self, model: str, folder: Path, package: str, *, push: bool) -> Built:
        """The image of the package in `folder`, with `push` in the registry.

        Raises:
            ConfigError: no registry is known, or deploy/Containerfile isn't there.
            EvidenceError: it isn't that package, or no image can serve it.
            ToolError: it can't be built or pushed.
        """
        from gitops.image import names

        repository = names.repository(self.config, model)
        image = names.reference(repository, package)
        program = self._program()
        digest = program.digest(image) if push else None
        if digest is not None:
            return Built(image, f"{repository}@{digest}", built=False)
        self._build(program, image, folder, package)
        digest = program.push(image) if push else None
        return Built(image, f"{repository}@{digest}" if digest else None, built=True)

    def _program(self) -> Builder:
        """What builds images, logged in where gitops.yaml's own infrastructure keeps them."""
        from gitops.image import builder, names

        if self._builder is None:
            self._builder = builder.find(self.say)
            if registry := names.provisioned(self.config):
                self._builder.login(registry)
        return self._builder

    def _build(self, program: Builder, image: str, folder: Path, package: str) -> None:
        from gitops.image import context

        files = self._files()
        containerfile = files.get(context.CONTAINERFILE)
        if containerfile is None:
            raise ConfigError(
                f"there's no {context.CONTAINERFILE}",
                fix="gitops add target, or gitops sync, writes it; commit and promote it",
                where=Where(self.root / context.CONTAINERFILE),
            )
        tool = {Path(path).name: content for path, content in files.items() if "tool" in path}
        with tempfile.TemporaryDirectory(prefix="gitops-image-") as made:
            model = context.lay_out(Path(made), containerfile, tool, folder, package)
            program.build(Path(made), image, model)

    def _files(self) -> Mapping[str, bytes]:
        from gitops.image import context

        if self.commit is not None:
            at = git.snapshot(self.root, self.commit)
            wanted = [path for path in at.files if path.startswith(f"{context.TOOL}/")]
            return at.read([path for path in (context.CONTAINERFILE, *wanted) if path in at.files])
        paths = [self.root / context.CONTAINERFILE, *(self.root / context.TOOL).glob("*")]
        files = [one for one in paths if one.is_file()]
        return {one.relative_to(self.root).as_posix(): one.read_bytes() for one in files}


def named(config: Config, variant: Variant) -> str:
    """The image of a variant by its tag: nothing is asked or built."""
    from gitops.image import names

    repository = names.repository(config, variant.release.partition("@")[0])
    return names.reference(repository, variant.package)
