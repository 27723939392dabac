"""`gitops build --on NAME`: the same stages on other machines, and the job's own side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitops.cli import screen
from gitops.cli.common import open_repository
from gitops.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from gitops.reproduce.compute.submit import Request
    from gitops.reproduce.model import Outcome


def run_job(ticket: str) -> None:
    """What runs on the other machine."""
    from gitops import mailbox
    from gitops.reproduce.compute import job

    job.run(mailbox.ticket(ticket), screen.say)


def build_on(name: str, models: Sequence[str], *, commit: bool) -> Outcome:
    """Submit, wait, prove, take over."""
    from gitops.reproduce.compute import submit

    return submit.build_on(_request(name, models), commit=commit, say=screen.say)


def detach(name: str, models: Sequence[str], *, as_json: bool) -> None:
    """Submit, and leave it alone."""
    from gitops import mailbox
    from gitops.reproduce.compute import submit

    request = _request(name, models)
    submit.refuse_changes(request.root)
    with mailbox.opened(request.root) as files:
        job = submit.submit(request, files, screen.say).job
    if as_json:
        screen.document({"job": job.id, "commit": job.commit, "models": list(job.models)})
        return
    screen.out(f"job {job.id}: gitops build --on {name} waits for it, --cancel ends it")


def cancel(name: str, models: Sequence[str], *, as_json: bool) -> None:
    """End the job of what HEAD has."""
    from gitops.reproduce.compute import submit

    found = submit.cancel(_request(name, models))
    if as_json:
        screen.document({"cancelled": found})
        return
    screen.out(f"job {found} is ended" if found else f"no job of this commit runs on {name}")


def show(name: str, models: Sequence[str], *, as_json: bool) -> None:
    """What would be handed to the platform."""
    from gitops.reproduce.compute import submit

    found = {path: raw.decode() for path, raw in submit.documents(_request(name, models)).items()}
    if as_json:
        screen.document({"documents": found})
        return
    for path, text in found.items():
        screen.out(screen.style(f"--- {path}", "bold"))
        screen.out(text.rstrip("\n"))


def _request(name: str, names: Sequence[str]) -> Request:
    from gitops.reproduce.compute.submit import Request
    from gitops.reproduce.model import places

    root, config = open_repository()
    if name not in config.compute:
        known = ", ".join(config.compute)
        if known:
            raise UsageError(f"there's no compute {name!r}", fix=f"there are {known}")
        raise ConfigError(
            "gitops.yaml declares no compute",
            fix=f"write compute: {{{name}: {{azureml: {{cluster: cpu}}}}}}; or databricks,"
            " kubernetes, process",
        )
    return Request(root, config, places(root, config, names), name)
