"""`gitops affected`: which models does a change touch?"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops import git
from gitops.cli import screen
from gitops.cli.common import JsonOption
from gitops.errors import ToolError, UsageError
from gitops.git import graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops.pipelines.groups import Group


def register(app: typer.Typer) -> None:
    app.command()(affected)


def affected(
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="REV",
            help="Where the change begins: its merge base with --head. By default the target of"
            " the pull request, or the first environment's branch.",
            show_default=False,
        ),
    ] = None,
    head: Annotated[str, typer.Option("--head", metavar="REV", help="The change.")] = "HEAD",
    groups: Annotated[
        int, typer.Option("--groups", min=1, help="Pack the models into so many groups at most.")
    ] = 20,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="NAME",
            help="Also give the groups to CI as the step's output NAME, for a dynamic matrix.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Name the models that a change touches, one per line; none for a change of docs alone.

    Told from git and DVC's files alone. What isn't certain counts as touched; all models do where
    --base is what a platform says of a new branch or a rewritten one: nothing, or a commit that
    isn't here.

    Examples:

        gitops affected                           HEAD against its target branch

        gitops affected --base v1 --head v2 --json

        gitops affected --groups 10 --output groups
    """
    from gitops import affected as engine
    from gitops import basis
    from gitops import config as configuration
    from gitops.pipelines.groups import pack

    root = git.root(Path.cwd())
    here = git.resolve(root, head)
    there = None if _unknown(root, base) else basis.of(root, base, None, here)
    if there is None:
        screen.say("what was before isn't known here: all models count as touched")
        models, fork = tuple(configuration.load_at(root, here).models), None
    else:
        models = engine.between(root, there, here)
        fork = graph.fork_point(root, there, here) or there
    packed = pack(models, groups)
    if output is not None:
        _tell_ci(output, packed)
    if as_json:
        named = [{"name": one.name, "models": list(one.models)} for one in packed]
        screen.document({"base": fork, "head": here, "models": list(models), "groups": named})
        return
    for name in models:
        screen.out(name)


def _unknown(root: Path, base: str | None) -> bool:
    """Whether the base is the commit before a push, as platforms name it, and there's none."""
    if base is None or not re.fullmatch(r"|[0-9a-f]{40}|[0-9a-f]{64}", base):
        return False
    return not base.strip("0") or git.find(root, base) is None


def _tell_ci(name: str, groups: Sequence[Group]) -> None:
    """A step's output: GitHub's file, Azure's logging command (on stderr, which it reads too)."""
    from gitops.pipelines.groups import for_azure, for_github

    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise UsageError(f"{name!r} can't name an output", fix="letters, digits and _: groups")
    if path := os.environ.get("GITHUB_OUTPUT"):
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"{name}={for_github(groups)}\n")
        except OSError as error:
            reason = error.strerror or str(error)
            raise ToolError(f"the step's output can't be written: {reason}") from error
    elif os.environ.get("TF_BUILD"):
        command = f"##vso[task.setvariable variable={name};isOutput=true]{for_azure(groups)}"
        sys.stderr.write(f"{command}\n")
        sys.stderr.flush()
    else:
        raise UsageError(
            "--output is for a step of CI: neither GITHUB_OUTPUT nor TF_BUILD is set",
            fix="--json gives the groups anywhere",
        )
