"""The emitted GitHub workflow, run by act (https://nektosact.com) in containers."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from gitops import git, proc
from gitops.errors import ConfigError, ToolError
from gitops.pipelines import github
from gitops.pipelines.local import event as events
from gitops.pipelines.local.event import Asked
from gitops.pipelines.model import Pipeline


def run(
    root: Path, pipeline: Pipeline, asked: Asked, job: str | None, say: Callable[[str], None]
) -> int:
    """Hand the workflow to act, with our terminal; its exit code.

    Raises:
        ToolError: act isn't installed.
        ConfigError: the repository has no emitted workflow.
        UsageError: the event or an input doesn't fit.
    """
    file = root / github.path(pipeline)
    if not file.is_file():
        raise ConfigError(
            f"there is no {github.path(pipeline)}",
            fix="name github under `ci` in gitops.yaml, then gitops sync",
        )
    if shutil.which("act") is None:
        raise ToolError(
            "act was not found",
            fix="install it (https://nektosact.com), or leave out --engine act",
        )
    kind, payload, inputs = events.named(pipeline, asked)
    if kind == "pull_request" and not payload:  # act asks for both (nektosact.com, "Usage guide")
        base, head = asked.branch or pipeline.triggers.pull_request[0], git.branch(root) or "HEAD"
        payload = {"pull_request": {"base": {"ref": base}, "head": {"ref": head}}}
    command = ["act", kind, "--directory", str(root), "--workflows", github.path(pipeline)]
    command += ["--job", job] if job else []
    command += [word for name, value in inputs.items() for word in ("--input", f"{name}={value}")]
    with tempfile.TemporaryDirectory(prefix="gitops-act-") as folder:
        if payload:
            sent = Path(folder) / "event.json"
            sent.write_text(json.dumps(payload))
            command += ["--eventpath", str(sent)]
        say(" ".join(command))
        return proc.attached(command, cwd=root)
