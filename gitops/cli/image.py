"""`gitops image`: a package becomes an image."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.cli.moves import RemoteOption
from gitops.errors import UsageError

if TYPE_CHECKING:
    from gitops.config import Config


def register(app: typer.Typer) -> None:
    app.command()(image)


def image(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="The model. [default: all that go to their place as an image]"
        ),
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option("--env", help="The release that runs there.", show_default=False),
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="A version: v1.2.0.", show_default=False)
    ] = None,
    push: Annotated[
        bool, typer.Option("--push", help="Push it; one that the registry has isn't built again.")
    ] = False,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build the image of a model's package: gitops and the package, answering on port 8080.

    Without --env or --version it is the package that lies in the work tree. The image is built by
    deploy/Containerfile, with buildah, podman or docker; its tag is made from the package's digest.
    `gitops deploy` does this by itself where a target needs it.

    Examples:

        gitops image late

        gitops image late --env staging --push

        gitops image --env production --push --json
    """
    from gitops.cli.hands_image import Images

    if environment is not None and version is not None:
        raise UsageError("--env and --version name two things", fix="give one of them")
    root, config = open_repository()
    wanted = [config.model(model)[0]] if model else _all(config)
    images = Images(root, config, None, screen.say)
    found = []
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="gitops-package-") as temporary:
            if environment is None and version is None:
                folder, package = _here(root, config, name)
            else:
                folder = Path(temporary) / name
                package = _fetched(root, config, name, environment, version, remote, folder)
            made = images.image(name, folder, package, push=push)
        found.append({"model": name, "package": package, **asdict(made)})
        word = "built" if made.built else "is in the registry already"
        if not as_json:
            screen.out(f"{screen.style(made.pinned or made.image, 'bold')} {word}")
    if as_json:
        screen.document({"images": found})


def _all(config: Config) -> list[str]:
    found = [name for name, one in config.models.items() if one.deploy.target != "local"]
    if not found:
        raise UsageError(
            "no model goes to its place as an image", fix="name one, or gitops add target"
        )
    return found


def _here(root: Path, config: Config, model: str) -> tuple[Path, str]:
    """The package in the work tree, and the digest of its files as they lie there."""
    from gitops import signature
    from gitops.promote import fetch

    declared = config.models[model]
    folder = root / declared.path / declared.package
    if not (folder / "signature.json").is_file():
        raise UsageError(f"there's no package in {folder}", fix=f"gitops build {model}")
    return folder, signature.package_digest(fetch.digests(folder))


def _fetched(
    root: Path,
    config: Config,
    model: str,
    environment: str | None,
    version: str | None,
    remote: str | None,
    folder: Path,
) -> str:
    """The package of a release, proven, into `folder`; its digest."""
    from gitops.promote import fetch
    from gitops.promote import world as worlds

    world = worlds.read(root, remote)
    chosen = fetch.choose(world, config, model, environment, version)
    fetch.into(world, chosen, folder)
    return chosen.package
