"""The project's own code around a model, started: a scoring script, a declared command, or both."""

from __future__ import annotations

from gitops.serve import command, script
from gitops.serve.model import Model, Runner
from gitops.serve.plan import Serve


async def start(model: Model, serve: Serve) -> Runner | None:
    """Who answers in another process, started and ready; None: the model itself answers.

    A script goes around whatever answers: the model, or its declared command.

    Raises:
        GitopsError: it can't be started.
    """
    runner = None if model.package.session is not None else await command.start(model, serve)
    if serve.script is None:
        return runner
    try:
        return await script.start(model, serve, runner)
    except BaseException:
        if runner is not None:
            await runner.close()
        raise
