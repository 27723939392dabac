"""Options and first steps that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops import git

if TYPE_CHECKING:
    from gitops.config import Config

MODELS = "GITOPS_MODELS"  # what a job of a matrix works on: names with spaces between
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout; progress stays on stderr.")
]


def open_repository() -> tuple[Path, Config]:
    """The repository around the current folder, and its gitops.yaml."""
    from gitops import config

    root = git.root(Path.cwd())
    return root, config.load(root)
