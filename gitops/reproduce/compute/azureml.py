"""A command job on a cluster of Azure Machine Learning, by `az ml job`.

Format: https://learn.microsoft.com/azure/machine-learning/reference-yaml-job-command; states:
https://learn.microsoft.com/rest/api/azureml/jobs/get (JobStatus).
"""

from __future__ import annotations

from pathlib import Path

from gitops import cloudnames, jsontext, proc
from gitops.errors import ConfigError, ToolError
from gitops.reproduce.compute.platform import Handle, Order, Seen, bootstrap, yaml_text

_RUNNING = ("Running", "Finalizing", "CancelRequested", "NotResponding")
_ENDED = ("Completed", "Failed", "Canceled")
_SECONDS = 300.0


class AzureML:
    """The job's name is the mailbox's, and unique in a workspace: a second submission finds it."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def documents(self) -> dict[str, bytes]:
        order = self._order
        settings = order.compute.azureml
        cluster = settings.cluster if settings else ""
        document = {
            "$schema": "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json",
            "type": "command",
            "name": order.job_name,
            "display_name": f"{', '.join(order.job.models)} {order.job.commit[:12]}",
            "experiment_name": order.config.project,
            "description": f"gitops build --on {order.name}",
            "tags": {"commit": order.job.commit, "by": "gitops"},
            "code": "code",
            "command": order.command(),
            "environment": {"image": order.image},
            "environment_variables": order.env,
            "compute": f"azureml:{cluster}",
            # The cluster's own identity, which may read and write the storage.
            "identity": {"type": "managed"},
            "resources": {"instance_count": 1},
            "limits": {"timeout": order.job.timeout * 60},
        }
        return {
            "job.yml": yaml_text(document),
            "code/bootstrap.py": bootstrap(),
            "code/requirements.txt": order.requirements,
        }

    def submit(self, folder: Path) -> Handle:
        done = self._az("create", "--file", str(folder / "job.yml"))
        if done.code and self.look({}).state == "absent":
            raise proc.failed(["az", "ml", "job", "create"], done)
        return {"name": self._order.job_name}

    def look(self, handle: Handle) -> Seen:
        done = self._az("show", "--name", self._order.job_name)
        if done.code:
            if "not found" in done.err.lower() or "notfound" in done.err.lower():
                return Seen("absent", "there's no such job")
            raise proc.failed(["az", "ml", "job", "show"], done)
        status = _status(done.out)
        state = "ended" if status in _ENDED else "running" if status in _RUNNING else "waiting"
        return Seen(state, status)  # type: ignore[arg-type]

    def cancel(self, handle: Handle) -> None:
        done = self._az("cancel", "--name", self._order.job_name)
        if done.code and self.look({}).state not in ("ended", "absent"):
            raise proc.failed(["az", "ml", "job", "cancel"], done)

    def tidy(self, handle: Handle) -> None:
        """An ended job costs nothing, and its log is worth keeping."""

    def logs(self, handle: Handle) -> str:
        group, workspace = self._place()
        return (
            f"az ml job stream --name {self._order.job_name} --resource-group {group}"
            f" --workspace-name {workspace}"
        )

    def _az(self, verb: str, *options: str) -> proc.Done:
        group, workspace = self._place()
        place = ["--resource-group", group, "--workspace-name", workspace]
        command = ["az", "ml", "job", verb, *options, *place, "--output", "json"]
        return proc.run(command, timeout=_SECONDS, check=False)

    def _place(self) -> tuple[str, str]:
        """Resource group and workspace: as declared, or as the infrastructure names them."""
        config, settings = self._order.config, self._order.compute.azureml
        if settings and settings.workspace and settings.group:
            return settings.group, settings.workspace
        declared = config.infrastructure
        if declared is None or declared.provider != "azure":
            raise ConfigError(
                f"compute.{self._order.name}.azureml doesn't say which workspace",
                fix="write workspace and group there, or declare infrastructure with azureml",
            )
        name = settings.environment if settings else None
        environment = config.environment(name) if name else config.environments[0]
        names = cloudnames.of(config, environment.name)
        return names["resource_group"], names["machine_learning"]


def _status(text: str) -> str:
    try:
        return str(jsontext.loads(text)["status"])
    except (ValueError, KeyError, TypeError) as error:
        raise ToolError("az ml job show gave no status", fix="az upgrade") from error
