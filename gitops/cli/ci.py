"""`gitops ci`: a workflow on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gitops import git
from gitops.cli import screen
from gitops.cli.common import JsonOption
from gitops.errors import UsageError

if TYPE_CHECKING:
    from gitops.pipelines.local.run import Ran


def register(app: typer.Typer) -> None:
    app.command()(ci)


def ci(
    workflow: Annotated[
        str,
        typer.Argument(
            metavar="WORKFLOW", help="pull-request, build, promote, ... or one of your own."
        ),
    ],
    job: Annotated[
        str | None,
        typer.Option("--job", metavar="JOB", help="Only this job, and those that it needs."),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(
            "--event",
            metavar="NAME|FILE",
            help="What starts it: pull-request, push, manual, schedule, or a file with the payload"
            " that GitHub sends.",
        ),
    ] = None,
    branch: Annotated[
        str | None,
        typer.Option(
            "--branch",
            metavar="BRANCH",
            help="Of which branch: its tip at the remote. By default HEAD, as if it were pushed.",
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="KEY=VALUE", help="What the workflow asks for by hand."),
    ] = None,
    real: Annotated[
        bool,
        typer.Option(
            "--for-real",
            help="Push to the true remote and storage, and deploy. Without it, a rehearsal: on a"
            " copy that is thrown away.",
        ),
    ] = False,
    engine: Annotated[
        Literal["local", "act"],
        typer.Option("--engine", help="act: the emitted GitHub file, in containers."),
    ] = "local",
    as_json: JsonOption = False,
) -> None:
    """Run a workflow here, as the platforms do: exit 0 it passes, 1 it doesn't.

    Each job gets a clean clone of HEAD (of a pull request the merge result), an environment
    without your settings and credentials, and only the rights that it declares.

    Examples:

        gitops ci pull-request                           would this change be merged?

        gitops ci pull-request --job gate

        gitops ci promote --input source=dev --input target=staging --input reason=weekly

        gitops ci deploy --branch release/staging
    """
    from gitops import config as configuration
    from gitops import pipelines
    from gitops.pipelines.local.event import Asked

    root = git.root(Path.cwd())
    config = configuration.load_at(root, git.resolve(root, "HEAD"))
    asked = Asked(event, branch, _inputs(given or []))
    known = pipelines.names(root)
    if workflow not in known:
        raise UsageError(f"there's no workflow {workflow!r}", fix=f"there are {', '.join(known)}")
    if engine == "act":
        from gitops.pipelines.local import act

        pipeline = pipelines.load(workflow, config, "github", root)
        if act.run(root, pipeline, asked, job, screen.say):
            raise typer.Exit(1)
        return
    pipeline = pipelines.load(workflow, config, "local", root)
    if not pipeline.jobs:
        raise UsageError(
            f"{workflow} has nothing to do: gitops.yaml has too few environments",
            fix="name another workflow",
        )
    from gitops.pipelines.local import run as engine_

    ran = engine_.run(root, pipeline, asked, job=job, real=real, say=screen.say)
    if as_json:
        screen.document(ran.as_json())
    else:
        _show(ran)
    if not ran.passed:
        raise typer.Exit(1)


def _inputs(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--input {text!r} is not KEY=VALUE", fix="--input reason=weekly")
        found[name] = value
    return found


def _show(ran: Ran) -> None:
    kind = "green" if ran.passed else "red"
    screen.out(screen.style(ran.headline, kind))
    screen.out()
    rows = [(one.name, one.state, f"{one.seconds:.0f} s", one.why) for one in ran.results]
    screen.table(("job", "result", "time", ""), rows)
    for one in ran.results:
        for step in one.steps:
            if step.state != "failed" and step.why and one.state != "skipped":
                screen.out(f"  {one.name}: {step.name}: {step.state}, {step.why}")
    if not ran.real:
        screen.out("a rehearsal: nothing was pushed, stored or deployed (--for-real does)")
    screen.out(f"logs and summary: {ran.logs}")
