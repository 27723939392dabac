"""`gitops gate`: may this model go on?"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops import git
from gitops.cli import screen
from gitops.cli.common import MODELS, JsonOption, open_repository
from gitops.errors import EvidenceError, GitopsError, ToolError, UsageError

if TYPE_CHECKING:
    from gitops.validate.model import Verdict


def register(app: typer.Typer) -> None:
    app.command()(gate)


def gate(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Models; those that the commits touch if left out.",
            envvar=MODELS,
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            help="What HEAD is judged against. By default the target of the pull request, or the"
            " environment's branch.",
            show_default=False,
        ),
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option(
            "--env",
            help="By whose policy. By default the one whose branch is the target.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write all reports here.")
    ] = None,
    post: Annotated[
        Path | None,
        typer.Option(
            "--post",
            metavar="DIR",
            help="Judge nothing: tell the pull request what --report DIR has written.",
        ),
    ] = None,
    pull_request: Annotated[
        int | None,
        typer.Option(
            "--pull-request",
            metavar="NUMBER",
            help="With --post: which one. By default the one that the CI run is of.",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="CHECK", help="What a check or a metric means."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge the committed model on evidence: exit 0 it passes, 1 it doesn't, 3 evidence is missing.

    Policy, labels and settings are read from the base, never from the
    candidate. Numbers are computed from packages and tables, with intervals;
    a difference that may be noise is neither called a loss nor a gain.

    Examples:

        gitops gate                        HEAD against its target branch

        gitops gate late --env production --report build/gate

        gitops gate --post build/gate      one comment for each model, updated in place

        gitops gate --explain roc_auc-no-worse
    """
    if explain is not None:
        _explain(explain, base, environment, as_json)
        return
    if post is not None:
        _post(post, pull_request, as_json)
        return
    from gitops.reproduce import scoring
    from gitops.validate import gate as engine
    from gitops.validate import reports
    from gitops.validate.verdict import document

    root = git.root(Path.cwd())
    judged = engine.run(
        root,
        models or [],
        base=base,
        environment=environment,
        say=screen.say,
        commands=lambda commit, name: scoring.command_at(root, commit, name, screen.say),
    )
    verdicts = [one.verdict for one in judged.outcomes]
    documents = [document(one) for one in verdicts]
    reasons = {name: str(error) for name, error in judged.unusable}
    text = reports.no_verdicts(reasons) + reports.markdown(verdicts)
    if report is not None:
        cards = {one.verdict.model: one.card for one in judged.outcomes}
        texts = {f"{one['model']}/verdict.json": screen.as_text(one) + "\n" for one in documents}
        texts["report.md"] = text
        written = reports.write(verdicts, report, cards, texts)
        screen.say(f"wrote {len(written)} reports into {report}")
    _tell_ci(verdicts, reasons, report, text)
    if len(judged.unusable) == 1 and not verdicts:
        raise judged.unusable[0][1]
    if as_json:
        errors = {"errors": {name: error.as_json() for name, error in judged.unusable}}
        found = {"passed": judged.passed, "verdicts": documents}
        screen.document(found | errors if judged.unusable else found)
    else:
        columns = shutil.get_terminal_size((100, 24)).columns
        screen.out(reports.terminal(verdicts, columns=columns, style=screen.style))
    for name, error in judged.unusable:
        screen.say(f"{name}: no verdict")
        screen.error(error)
    if not judged.passed:
        raise typer.Exit(max((error.code for _, error in judged.unusable), default=1))


def _tell_ci(
    verdicts: list[Verdict], reasons: Mapping[str, str], report: Path | None, text: str
) -> None:
    """Summary and annotations where a platform shows them; on stderr, which both of them read."""
    from gitops.validate import reports

    if os.environ.get("GITHUB_ACTIONS") == "true":
        if path := os.environ.get("GITHUB_STEP_SUMMARY"):
            try:
                with Path(path).open("a", encoding="utf-8") as file:
                    file.write(text + "\n")
            except OSError as error:
                reason = error.strerror or str(error)
                raise ToolError(f"the step's summary can't be written: {reason}") from error
        _lines(reports.annotations(verdicts, "github", reasons))
    if os.environ.get("TF_BUILD"):
        _lines(reports.annotations(verdicts, "azure", reasons))
        if report is not None:
            _lines([f"##vso[task.uploadsummary]{(report / 'report.md').resolve()}"])


def _post(folder: Path, pull_request: int | None, as_json: bool) -> None:
    from gitops import forge
    from gitops.git import remote
    from gitops.validate import post

    root = git.root(Path.cwd())
    verdicts: tuple[Verdict, ...] = ()
    problem: GitopsError | None = None
    try:
        verdicts = post.read(folder, open_repository()[1])
    except GitopsError as error:  # told first: an answer about an earlier commit must not stay
        problem = error
    url = remote.url(root, remote.choose(root))
    there = forge.of(url, os.environ)
    if there is None:
        raise UsageError(f"{url} is on no forge that is known", fix="see docs/guides/forges.md")
    wanted = pull_request or post.number(there.name, os.environ)
    commit = "" if pull_request else post.head(root, os.environ)
    done = post.post(verdicts, there, wanted, commit)
    if not verdicts:
        raise problem or EvidenceError(
            f"no {post.FILE} lies below {folder}: {there.name} #{wanted} was told that there is no"
            " verdict",
            fix="gitops gate --report DIR writes them",
        )
    if as_json:
        screen.document({"pull_request": wanted, "comments": list(done)})
        return
    for key in done:
        screen.out(f"told {there.name} #{wanted}: {key}")


def _lines(lines: list[str]) -> None:
    import sys

    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()


def _explain(name: str, base: str | None, environment: str | None, as_json: bool) -> None:
    from gitops.validate import gate as engine
    from gitops.validate.evidence import target
    from gitops.validate.explain import explain

    policy = None
    # Metrics and shipped packs are explained anywhere.
    with contextlib.suppress(GitopsError):
        root = git.root(Path.cwd())
        policy = engine.policy_of(root, target(root, base=base, environment=environment))
    found = explain(name, policy)
    if as_json:
        screen.document({"name": found.name, "paragraphs": list(found.paragraphs)})
        return
    screen.out(screen.style(found.name, "bold"))
    for paragraph in found.paragraphs:
        screen.out(paragraph)
