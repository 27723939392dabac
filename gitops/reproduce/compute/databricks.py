"""A job in a Databricks workspace, by `databricks bundle` and `databricks jobs`.

A bundle of its own for each job, so that none runs another's files; it goes when the job is done.
Formats: https://docs.databricks.com/aws/en/dev-tools/bundles/reference and
https://docs.databricks.com/api/workspace/jobs/getrun.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from gitops import jsontext, proc
from gitops.config.compute import DatabricksCompute
from gitops.errors import ToolError
from gitops.reproduce.compute.platform import Handle, Order, Seen, bootstrap, lay, yaml_text

_KEY = "build"
_SECONDS = 600.0
_ENDED = ("TERMINATED", "SKIPPED", "INTERNAL_ERROR")
_RUNNING = ("RUNNING", "TERMINATING")


class Databricks:
    """The run has an idempotency token, the mailbox's name: a second submission gives that run."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._settings = order.compute.databricks or DatabricksCompute()

    def documents(self) -> dict[str, bytes]:
        order, one = self._order, self._settings
        seconds = order.job.timeout * 60
        cluster = {
            "spark_version": one.runtime,
            "node_type_id": one.node,
            "num_workers": 0,
            "data_security_mode": "SINGLE_USER",
            "spark_conf": {
                "spark.databricks.cluster.profile": "singleNode",
                "spark.master": "local[*]",
            },
            "spark_env_vars": order.env,
            "custom_tags": {"ResourceClass": "SingleNode"},
        }
        task = {
            "task_key": _KEY,
            "max_retries": 0,
            "timeout_seconds": seconds,
            "new_cluster": cluster,
            "spark_python_task": {
                "python_file": "./bootstrap.py",
                "parameters": [order.ticket.text()],
            },
        }
        job = {
            "name": order.job_name,
            "description": f"gitops build --on {order.name}, {order.job.commit}",
            "max_concurrent_runs": 1,
            "timeout_seconds": seconds,
            "tasks": [task],
        }
        bundle: dict[str, Any] = {
            "bundle": {"name": order.job_name},
            "resources": {"jobs": {_KEY: job}},
        }
        if one.host:
            bundle["workspace"] = {"host": one.host}
        return {
            "databricks.yml": yaml_text(bundle),
            "bootstrap.py": bootstrap(),
            "requirements.txt": order.requirements,
        }

    def submit(self, folder: Path) -> Handle:
        self._cli(folder, "bundle", "deploy", "--auto-approve")
        summary = self._json(folder, "bundle", "summary")
        try:
            job = int(summary["resources"]["jobs"][_KEY]["id"])
        except (KeyError, TypeError, ValueError) as error:
            raise ToolError(
                "databricks bundle summary names no job", fix="upgrade the databricks CLI"
            ) from error
        request = {"job_id": job, "idempotency_token": self._order.job_name}
        run = self._json(folder, "jobs", "run-now", "--no-wait", "--json", json.dumps(request))
        return {"run": str(run.get("run_id", ""))}

    def look(self, handle: Handle) -> Seen:
        if not handle.get("run", "").isdecimal():
            return Seen("absent", "nobody knows its run")
        run = self._json(None, "jobs", "get-run", handle["run"])
        state = run.get("state") or {}
        cycle = str(state.get("life_cycle_state", "UNKNOWN"))
        words = [cycle, state.get("result_state"), state.get("state_message")]
        says = ": ".join(str(one) for one in words if one)
        if cycle in _ENDED:
            return Seen("ended", says)
        return Seen("running" if cycle in _RUNNING else "waiting", says)

    def cancel(self, handle: Handle) -> None:
        if handle.get("run", "").isdecimal():
            self._cli(None, "jobs", "cancel-run", handle["run"], "--no-wait")

    def tidy(self, handle: Handle) -> None:
        """The bundle goes: the job's definition and its files. The run's page stays."""
        with tempfile.TemporaryDirectory(prefix="gitops-bundle-") as temporary:
            lay(Path(temporary), self.documents())
            self._cli(Path(temporary), "bundle", "destroy", "--auto-approve")

    def logs(self, handle: Handle) -> str:
        return " ".join(self._command("jobs", "get-run", handle.get("run", "RUN")))

    def _command(self, *words: str) -> list[str]:
        profile = ["--profile", self._settings.profile] if self._settings.profile else []
        return ["databricks", *words, *profile]

    def _cli(self, folder: Path | None, *words: str) -> proc.Done:
        env = {"DATABRICKS_HOST": self._settings.host} if self._settings.host else {}
        command = self._command(*words)
        return proc.run(command, cwd=folder, env=env, timeout=_SECONDS)

    def _json(self, folder: Path | None, *words: str) -> dict[str, Any]:
        text = self._cli(folder, *words, "--output", "json").out
        try:
            found = jsontext.loads(text)
        except ValueError as error:
            raise ToolError(
                f"databricks {words[1]} gave no JSON", fix="upgrade the databricks CLI"
            ) from error
        return found if isinstance(found, dict) else {}
