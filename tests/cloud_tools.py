"""Stand-ins for `az`, `databricks` and `kubectl`: what their descriptions say of the few commands
that submit, look at and end a job. What they start is the real program, as a process.

https://learn.microsoft.com/cli/azure/ml/job, https://docs.databricks.com/aws/en/dev-tools/cli/reference/
and https://kubernetes.io/docs/reference/kubectl/generated/. Whatever they don't know they refuse.

CLOUD is the folder of their state. A file `full` in it: no machine is free, and nothing starts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

NAMES = ("az", "databricks", "kubectl")
# What a machine of the cloud has, beside what its job is given: a network, an identity, tools.
_MACHINE = ("PATH", "UV_CACHE_DIR", "NO_PROXY", "AWS_", "SSL_", "HTTP", "PIP_", "UV_")


def install(folder: Path) -> None:
    """Put all of them into a folder for PATH."""
    folder.mkdir()
    for name in NAMES:
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        path.chmod(0o755)


class Refused(Exception):
    """What the tool says on stderr, with exit code 1."""


class Machine:
    """A job's process, and what is known of it, in a folder of the state."""

    def __init__(self, name: str) -> None:
        self.folder = Path(os.environ["CLOUD"]) / name

    @property
    def exists(self) -> bool:
        return self.folder.is_dir()

    def start(
        self, command: Sequence[str], cwd: Path, env: Mapping[str, str], machine: Sequence[str] = ()
    ) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if (Path(os.environ["CLOUD"]) / "full").exists():
            return
        home = self.folder / "home"
        home.mkdir()
        shell = '"$@"; echo $? > "$EXIT.half"; mv "$EXIT.half" "$EXIT"'
        own = {name: value for name, value in os.environ.items() if name.startswith(_MACHINE)}
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["sh", "-c", shell, "sh", *command],
                cwd=cwd,
                env={**own, "HOME": str(home), "EXIT": str(self.folder / "exit"), **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.folder / "pid").write_text(str(process.pid))

    @property
    def state(self) -> str:
        """waiting, running, cancelled, or the exit code."""
        for name in ("cancelled", "exit"):
            if (self.folder / name).exists():
                return (self.folder / name).read_text().strip() or name
        return "running" if (self.folder / "pid").exists() else "waiting"

    def end(self) -> None:
        (self.folder / "cancelled").write_text("cancelled")
        if (self.folder / "pid").exists():
            with suppress(ProcessLookupError):
                os.killpg(int((self.folder / "pid").read_text()), signal.SIGKILL)


# ---------------------------------------------------------------- az ml job


def az(words: list[str]) -> None:
    parser = _parser("az")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in ("create", "show", "cancel"):
        verb = verbs.add_parser(name, exit_on_error=False)
        verb.add_argument("--resource-group", "-g", required=True)
        verb.add_argument("--workspace-name", "-w", required=True)
        verb.add_argument("--output", "-o", choices=["json"])
        verb.add_argument("--file" if name == "create" else "--name", required=True)
    if words[:2] != ["ml", "job"]:
        raise Refused(f"'{' '.join(words[:2])}' is misspelled or not recognized by the system.")
    told = parser.parse_args(words[2:])
    if told.verb == "create":
        file = Path(told.file)
        job = yaml.safe_load(file.read_text())
        machine = Machine(job["name"])
        if machine.exists:
            raise Refused(f"(UserError) A job with the name {job['name']} already exists.")
        code = machine.folder / "code"
        shutil.copytree(file.parent / job["code"], code)
        machine.start(["sh", "-c", job["command"]], code, job["environment_variables"])
        _say({"name": job["name"], "status": "Starting"})
        return
    machine = Machine(told.name)
    if not machine.exists:
        raise Refused(f"(UserError) Not found: job {told.name}")
    if told.verb == "cancel":
        machine.end()
        return
    words_of = {
        "waiting": "Queued",
        "running": "Running",
        "cancelled": "Canceled",
        "0": "Completed",
    }
    _say({"name": told.name, "status": words_of.get(machine.state, "Failed")})


# ---------------------------------------------------------------- databricks


def databricks(words: list[str]) -> None:
    parser = _parser("databricks")
    groups = parser.add_subparsers(dest="group", required=True)
    bundle = groups.add_parser("bundle", exit_on_error=False)
    bundle.add_argument("verb", choices=["deploy", "summary", "destroy"])
    bundle.add_argument("--auto-approve", action="store_true")
    jobs = groups.add_parser("jobs", exit_on_error=False)
    jobs.add_argument("verb", choices=["run-now", "get-run", "cancel-run"])
    jobs.add_argument("run", nargs="?")
    jobs.add_argument("--no-wait", action="store_true")
    jobs.add_argument("--json")
    for one in (bundle, jobs):
        one.add_argument("--output", "-o", choices=["json", "text"])
        one.add_argument("--profile", "-p")
    told = parser.parse_args(words)
    top = Path(os.environ["CLOUD"])
    if told.group == "bundle":
        _bundle(told.verb, top)
        return
    if told.verb == "run-now":
        request = json.loads(told.json)
        deployed = top / "bundles" / str(request["job_id"])
        machine = Machine(str(request["job_id"]) + "0")
        if not machine.exists:  # else this token has a run
            assert len(request["idempotency_token"]) <= 64
            (task,) = _job_of(deployed)["tasks"]
            spark = task["spark_python_task"]
            program = ["python3", str(deployed / spark["python_file"]), *spark["parameters"]]
            machine.start(program, deployed, task["new_cluster"]["spark_env_vars"])
        _say({"run_id": int(machine.folder.name), "number_in_job": 1})
        return
    machine = Machine(told.run)
    if not machine.exists:
        raise Refused(f"Error: Run {told.run} does not exist.")
    if told.verb == "cancel-run":
        machine.end()
        return
    state = machine.state
    cycle = {"waiting": "PENDING", "running": "RUNNING"}.get(state, "TERMINATED")
    found: dict[str, Any] = {"life_cycle_state": cycle, "state_message": ""}
    if state == "waiting":
        found["state_message"] = "Waiting for cluster"
    if cycle == "TERMINATED":
        found["result_state"] = {"0": "SUCCESS", "cancelled": "CANCELED"}.get(state, "FAILED")
    _say({"run_id": int(told.run), "state": found})


def _bundle(verb: str, top: Path) -> None:
    name = yaml.safe_load(Path("databricks.yml").read_text())["bundle"]["name"]
    number = str(int(name.split("-")[1][:8], 16) + int(name.split("-")[2]))
    deployed = top / "bundles" / number
    if verb == "deploy":
        shutil.copytree(Path.cwd(), deployed, dirs_exist_ok=True)
    elif verb == "summary":
        _say({"resources": {"jobs": {"build": {**_job_of(deployed), "id": number}}}})
    else:
        shutil.rmtree(deployed)


def _job_of(deployed: Path) -> dict[str, Any]:
    document = yaml.safe_load((deployed / "databricks.yml").read_text())
    found: dict[str, Any] = document["resources"]["jobs"]["build"]
    return found


# ---------------------------------------------------------------- kubectl


def kubectl(words: list[str]) -> None:
    parser = _parser("kubectl")
    parser.add_argument("--context")
    parser.add_argument("--namespace", required=True)
    verbs = parser.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser("create", exit_on_error=False)
    create.add_argument("--filename", "-f", required=True)
    for verb in ("get", "delete"):
        one = verbs.add_parser(verb, exit_on_error=False)
        one.add_argument("kind", choices=["job", "pods", "configmap"])
        one.add_argument("name", nargs="?")
        one.add_argument("--ignore-not-found", action="store_true")
        one.add_argument("--selector")
        one.add_argument("--output", choices=["json"])
        one.add_argument("--wait", choices=["true", "false"])
    told = parser.parse_args(words)
    top = Path(os.environ["CLOUD"])
    if told.verb == "create":
        document = yaml.safe_load(Path(told.filename).read_text())
        _created(document, top)
        return
    name = told.name or told.selector.partition("=")[2]
    machine, config = Machine(name), top / f"configmap-{name}"
    if told.verb == "delete":
        shutil.rmtree(config, ignore_errors=True) if told.kind == "configmap" else machine.end()
        return
    if not machine.exists or (told.kind == "job" and machine.state == "cancelled"):
        return
    _say(_pods(machine) if told.kind == "pods" else _job(machine))


def _created(document: dict[str, Any], top: Path) -> None:
    name = document["metadata"]["name"]
    if document["kind"] == "ConfigMap":
        config = top / f"configmap-{name}"
        if config.exists():
            raise Refused(f'Error from server (AlreadyExists): configmaps "{name}" already exists')
        config.mkdir(parents=True)
        for file, text in document["data"].items():
            (config / file).write_text(text)
        return
    machine = Machine(name)
    if machine.exists:
        raise Refused(f'Error from server (AlreadyExists): jobs.batch "{name}" already exists')
    pod = document["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    sources = {one["name"]: one for one in pod["volumes"]}
    folders = {}
    for mount in container["volumeMounts"]:
        source = sources[mount["name"]]
        folder = machine.folder / mount["name"]
        if "configMap" in source:
            folder = top / f"configmap-{source['configMap']['name']}"
        else:
            folder.mkdir(parents=True)
        folders[mount["mountPath"]] = str(folder)

    def inside(text: str) -> str:
        for path, folder in folders.items():
            if text == path or text.startswith(f"{path}/"):
                return folder + text.removeprefix(path)
        return text

    env = {one["name"]: inside(one["value"]) for one in container["env"]}
    command = [inside(word) for word in container["command"]]
    machine.start(command, Path(inside(container["workingDir"])), env)


def _job(machine: Machine) -> dict[str, Any]:
    state = machine.state
    if state in ("waiting", "running"):
        return {"status": {"active": 1}}
    kind = "Complete" if state == "0" else "Failed"
    return {"status": {"conditions": [{"type": kind, "status": "True"}]}}


def _pods(machine: Machine) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": "Running"}
    if machine.state == "waiting":
        why = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        status = {"phase": "Pending", "conditions": [{**condition, "message": why}]}
    metadata = {"creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"items": [{"metadata": metadata, "status": status}]}


def _parser(name: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(name, allow_abbrev=False, exit_on_error=False)


def _say(document: object) -> None:
    print(json.dumps(document))


if __name__ == "__main__":
    try:
        {"az": az, "databricks": databricks, "kubectl": kubectl}[sys.argv[1]](sys.argv[2:])
    except (Refused, argparse.ArgumentError) as error:
        sys.exit(str(error))
