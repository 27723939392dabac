"""`gitops add`: more for a repository that is there."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import questions, screen
from gitops.cli.common import JsonOption, open_repository
from gitops.cli.moves import ModelOption
from gitops.cli.questions import AnswersOption, NoInputOption, SettingsOption
from gitops.errors import AnswerNo, UsageError

if TYPE_CHECKING:
    from gitops.scaffold.extend import Proposal
    from gitops.scaffold.models import Added
    from gitops.scaffold.provision import Declared

group = typer.Typer(help="Add to a repository that is there.", no_args_is_help=True)
DeclaredOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="What to declare; may be repeated."),
]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="add")


@group.callback()
def add() -> None:
    """Add to a repository that is there."""


@group.command()
def packaging(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A model of gitops.yaml with `wrap:`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Wrap training code that is there: a stage that packages and evaluates what it wrote.

    The code stays as it is. gitops.yaml says, under `wrap:` of the model, what the training reads
    and writes; this adds the packaging module and the stages of dvc.yaml.

    Examples:

        gitops add packaging

        gitops add packaging churn --json
    """
    from gitops.scaffold.wrap import wrap

    root, config = open_repository()
    done = wrap(root, config, model, screen.say)
    if as_json:
        screen.document(asdict(done))
        return
    screen.out(
        f"{done.model}: {len(done.files)} files; stages {', '.join(done.stages) or 'unchanged'}"
    )
    screen.out("next: git add -A && git commit -m 'Package the model', then gitops build")


@group.command()
def model(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The model's name: its folder is models/NAME.")
    ],
    data: Annotated[Path | None, typer.Option("--data", help="A table: .csv or .parquet.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="The column to predict.")] = None,
    settings: SettingsOption = None,
    answers: AnswersOption = None,
    no_input: NoInputOption = False,
    commit: Annotated[
        bool,
        typer.Option(
            "--commit/--no-commit",
            help="Commit it if the work tree was clean before (never in CI).",
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Add a model: its own table, parameters, stages and dvc.lock in models/NAME, the same code.

    Reads the table and infers the roles of its columns as `gitops new` does. Adds the model to
    gitops.yaml; nothing else of yours changes. Said again, it changes nothing.

    Answers (--set, --answers): data, target, task, id, time, group, positive, drop, slices,
    sensitive, split, type.COLUMN.

    Examples:

        gitops add model price --data houses.csv --target price

        gitops add model churn --data c.parquet --target churned --set id=customer --no-input
    """
    from gitops.scaffold import models
    from gitops.scaffold.new import read_answers
    from gitops.scaffold.table import read

    given = read_answers(answers, settings or [])
    flags = {"data": data, "target": target}
    given |= {key: value for key, value in flags.items() if value is not None}
    questions.check_keys(given, tuple(flags))
    asking = sys.stdin.isatty() and sys.stderr.isatty() and not no_input and not as_json
    root, config = open_repository()
    lock = models.preflight(root, name)
    if "data" not in given:
        raise UsageError(f"which table is model {name} trained on?", fix="--data FILE")
    table = read(Path(str(given["data"])).expanduser())
    goal = questions.target(given, table, None, asking)
    overrides = {key: value for key, value in given.items() if key not in flags}
    there = name in config.models or name in lock.models
    roles, profile = questions.agree(
        table, goal, overrides, asking and not there, quiet=as_json or there
    )
    request = models.Request(name, table, roles, tuple(overrides))
    if there:
        added = models.found(root, config, name, models.existing(root, config, lock, request))
    else:
        added = models.add(root, config, request, commit=commit, say=screen.say)
    if as_json:
        state = "added" if added.files else "unchanged"
        more = {"roles": asdict(roles), "profile": profile.as_json()}
        screen.document({"state": state, **asdict(added), **more})
    else:
        _show(added)


@group.command("generator")
def generator_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, a git URL (or URL//FOLDER below its top), or a name of gitops' own.",
        ),
    ],
    revision: Annotated[
        str | None,
        typer.Option("--revision", help="A branch, tag or commit. [default: the remote's HEAD]"),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Don't ask whether to trust what it writes.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An answer of its own; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would write, and write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Add a generator: an organisation's overlay, pinned, kept in .gitops/generators, and updated.

    Shows where it comes from, what it would write and what of that may run later, and asks.
    Nothing of it runs here. `gitops upgrade` brings its newer versions.

    Examples:

        gitops add generator https://example.org/org/ml-overlay.git --revision v2

        gitops add generator ../overlays//docker --dry-run

        gitops add generator git@example.org:org/overlays.git//security --trust
    """
    from gitops.scaffold import extend, sync
    from gitops.scaffold.new import read_answers

    given = {key: str(value) for key, value in read_answers(None, settings or []).items()}
    root, _ = open_repository()
    with extend.proposed(root, source, revision, given) as proposal:
        due = bool(proposal.plan.changes)
        if not as_json:
            _show_proposal(proposal)
        if due and not dry_run:
            if not (proposal.trusted or trust):
                _ask_for_trust(proposal.generator.name, as_json=as_json)
            sync.sync(root, proposal.news)
    if as_json:
        state = "proposed" if dry_run else "added" if due else "unchanged"
        pin = {k: v for k, v in asdict(proposal.pin).items() if v is not None}
        runs = list(proposal.runs)
        screen.document({"state": state, "pin": pin, "runs": runs, **proposal.plan.as_json()})
    elif due and not dry_run:
        screen.out(f"next: git add -A && git commit -m 'Add {proposal.generator.name}'")
        screen.out("or take it back: gitops sync --abort")
    if proposal.plan.conflicts and not dry_run:
        raise typer.Exit(1)


@group.command()
def infrastructure(
    settings: DeclaredOption = None,
    as_json: JsonOption = False,
) -> None:
    """Declare what is provisioned in a cloud, and write it: Terraform or Bicep in infrastructure/.

    Adds `infrastructure:` to gitops.yaml (or changes it there) and brings the files up to date.
    The core is always there: storage, registry, logs, identities. Keys of --set are provider
    (azure or aws), generator (on Azure terraform-azure or bicep-azure), region, private, prefix,
    and components, with dots for what is within: on Azure azureml, aks, iot, sql, data_factory,
    databricks and grafana, on AWS eks and sagemaker, and alerts and budget. A value is YAML;
    without one a component is as it is by default. Said again, it changes nothing.

    Examples:

        gitops add infrastructure --set region=northeurope

        gitops add infrastructure --set provider=aws --set region=eu-west-1 --set eks=

        gitops add infrastructure --set generator=bicep-azure --set azureml.cpu.nodes=4

        gitops add infrastructure --set 'budget={amount: 200, emails: \\[ml@example.org]}'
    """
    from gitops.scaffold import provision
    from gitops.scaffold.new import read_answers

    root, _ = open_repository()
    given = {key: str(value) for key, value in read_answers(None, settings or []).items()}
    done = provision.add(root, given)
    _declared(
        done,
        "gitops infra check; git add -A && git commit -m 'Declare infrastructure'",
        as_json=as_json,
    )


@group.command()
def source(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="files, sql or databricks.")],
    model: ModelOption = None,
    settings: DeclaredOption = None,
    as_json: JsonOption = False,
) -> None:
    """Declare where a model's table comes from; `gitops data ingest` takes snapshots of it.

    Adds `source:` to the model in gitops.yaml (or changes it there), the workflow `ingest` and, for
    a database without a table, queries/MODEL.sql, which is yours. Keys of --set: for files path,
    endpoint, account, marker; for databases url_env (the environment variable that holds the URL),
    table or query, login; for all order_by, schedule, event. A value is YAML; an empty one takes
    the key away.

    Examples:

        gitops add source sql --model late --set url_env=FLIGHTS_DB --set table=public.flights

        gitops add source files --set path=azure://landing/flights --set marker=_SUCCESS

        gitops add source sql --set 'order_by=\\[time_hour, flight]' --set schedule=
    """
    from gitops.scaffold import source as engine
    from gitops.scaffold.new import read_answers

    root, config = open_repository()
    given = {key: str(value) for key, value in read_answers(None, settings or []).items()}
    done = engine.add(root, config, kind, model, given)
    _declared(
        done,
        "git add -A && git commit -m 'Declare the source of a table', then gitops data ingest",
        as_json=as_json,
    )


@group.command()
def target(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="kubernetes, azureml or iotedge.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Which model. [default: the only one]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Deploy a model to another kind of place, and write the files for it: below deploy/.

    Sets the model's `deploy.target` in gitops.yaml and brings the files up to date; `local` takes
    it back to machines of yours. The files are yours: what you change in them is kept. Said again,
    it changes nothing.

    Examples:

        gitops add target kubernetes

        gitops add target kubernetes --model late

        gitops add target local --model late
    """
    from gitops.scaffold import provision

    root, config = open_repository()
    name, declared = config.model(model, "--model")
    following = "git add -A && git commit -m 'Choose where it is deployed'"
    if declared.wrap:  # its section of gitops.yaml is an input of the stage that packages it
        following = f"gitops build {name}; {following}"
    if kind != "local":
        following += "; gitops doctor names what deploying still needs"
    _declared(provision.target(root, kind, name), following, as_json=as_json)


def _declared(done: Declared, following: str, *, as_json: bool) -> None:
    """What was declared, and what to do next. Exit code 1: files conflict."""
    if as_json:
        state = "changed" if done.files else "unchanged"
        screen.document({"state": state, **asdict(done)})
    elif not done.files:
        screen.out("it is declared, just so: nothing to do")
    else:
        screen.out(f"declared in gitops.yaml; {len(done.files)} files changed")
        screen.out(f"next: {following}")
        screen.out("or take the files back: gitops sync --abort")
    for path in done.conflicts:
        screen.say(f"conflict: {path}: gitops sync says more")
    if done.conflicts:
        raise typer.Exit(1)


def _show_proposal(proposal: Proposal) -> None:
    pin, found = proposal.pin, proposal.generator
    if not proposal.plan.changes:
        screen.out(f"{found.name} is there, just so: nothing to do")
        return
    at = f" at {pin.commit[:12]}" if pin.commit else ""
    wanted = f" ({pin.wanted})" if pin.wanted else ""
    screen.out(f"{screen.style(found.name, 'bold')}: {found.description}")
    screen.out(f"from {pin.origin or 'gitops'}{at}{wanted}, {pin.digest[:19]}")
    for entry in proposal.plan.entries:
        own = entry.file.generator == found.name
        if entry.state != "unchanged" and own:
            screen.out(f"  {entry.state:<9} {entry.file.path}  ({entry.file.owner}'s) {entry.why}")
    if proposal.runs:
        screen.out(f"may run later: {', '.join(proposal.runs)}")


def _ask_for_trust(name: str, *, as_json: bool) -> None:
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{name} comes from elsewhere, and there is no terminal to ask on",
            fix="read what it would write (--dry-run), then say --trust",
        )
    answer = screen.ask(f"Trust {name}, and write this? [y/N]", "")
    if answer.lower() not in ("y", "yes"):
        raise AnswerNo(f"{name} isn't trusted: nothing was written")


def _show(added: Added) -> None:
    if not added.files:
        screen.out(f"{added.model} is there, in {added.path}, just so: nothing to do")
        if added.to_commit:
            screen.out(f"{added.note}: {', '.join(added.to_commit)}")
        return
    screen.out(f"{screen.style(added.model, 'bold')}: {len(added.files)} files for {added.path}")
    if added.commit:
        screen.out(f"committed {added.commit[:12]}")
    else:
        screen.out(f"not committed ({added.note}): {', '.join(added.to_commit)}")
    screen.out(f"next: gitops build {added.model}")
