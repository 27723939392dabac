"""One job: its conditions, a clean clone in a folder of its own, one step after the other."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gitops import forge, proc
from gitops.errors import GitopsError
from gitops.pipelines.local import machine
from gitops.pipelines.local.machine import Run
from gitops.pipelines.local.result import JobResult, State, StepResult, state_of, why_failed
from gitops.pipelines.model import Condition, Job, Step

Results = Mapping[str, Sequence[JobResult]]  # by the job's id; of a matrix one for each row
_FOREIGN = "needs the forge"
_DISPATCH = " --dispatch"  # starts a workflow there, when all else is done
NO_MODEL = "no model is touched"


# ---------------------------------------------------------------- conditions


def skipped(run: Run, job: Job, results: Results) -> str:
    """Why the job doesn't run; "" if it does."""
    needs = {name: state_of(results.get(name, ())) for name in job.needs}
    kinds = {one.kind for one in job.when}
    if not kinds & {"always", "failed", "finished"}:
        for name, state in needs.items():
            if state != "passed":
                return f"{name} {'failed' if state == 'failed' else 'was skipped'}"
    for one in job.when:
        if why := _unmet(run, one, needs, results):
            return why
    return ""


def _unmet(run: Run, one: Condition, needs: Mapping[str, State], results: Results) -> str:
    event, value = run.event, one.value
    flag = event.inputs.get(value) == "true"
    unmet = {
        "always": ("", False),
        "failed": ("nothing has failed", "failed" not in needs.values()),
        "same-repository": ("the change comes from a fork", event.fork),
        "pull-request": ("this is no pull request", event.kind != "pull_request"),
        "branch": (f"it is for {value}", event.ref != f"refs/heads/{value}"),
        "finished": (f"{value} was skipped", needs.get(value) == "skipped"),
        "found": (NO_MODEL, one.kind == "found" and not _groups(value, results)),
        "input": (f"{value} is false", not flag),
        "no-input": (f"{value} is true", flag),
    }
    why, isnt = unmet[one.kind]
    return why if isnt else ""


def _groups(place: str, results: Results) -> list[dict[str, str]]:
    """The groups of models that a job put out, as rows of a matrix."""
    job, _, output = place.partition(".")
    texts = [one.outputs.get(output, "") for one in results.get(job, ())]
    found = json.loads(texts[0]) if texts and texts[0] else []
    return [{"name": one["name"], "models": " ".join(one["models"])} for one in found]


def rows(job: Job, results: Results) -> list[Mapping[str, str]]:
    """What the job is run for: one row, or those of its matrix."""
    if job.matrix is None:
        return [{}]
    if job.matrix.source is not None:
        return list(_groups(".".join(job.matrix.source), results))
    return list(job.matrix.rows)


# ---------------------------------------------------------------- a job


@dataclass(frozen=True)
class _Work:
    """A job under way."""

    run: Run
    job: Job
    row: Mapping[str, str]
    home: Path
    log: Path
    until: float
    env: dict[str, str]

    @property
    def tree(self) -> Path:
        return self.home / "repository"

    @property
    def group(self) -> str:
        return "-".join(_label(self.job, self.row))

    def note(self, text: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def _label(job: Job, row: Mapping[str, str]) -> list[str]:
    """What tells the jobs of a matrix apart."""
    dynamic = job.matrix is not None and job.matrix.source is not None
    return [row["name"]] if dynamic else list(row.values())


def perform(run: Run, job: Job, row: Mapping[str, str]) -> JobResult:
    """Run the job in a folder of its own, which is gone afterwards; its log stays."""
    name = " ".join([job.id, *_label(job, row)])
    file = "-".join([job.id, *_label(job, row)])
    why = [elsewhere(run, job, step) for step in job.steps if step.run]
    if why and all(why):
        run.say(f"{name}: skipped: {why[0]}")
        steps = tuple(StepResult(one.name, "skipped", why[0] or "", 0.0) for one in job.steps)
        return JobResult(job.id, name, "skipped", why[0] or "", 0.0, steps)
    began = time.monotonic()
    home, log = run.work / file, run.logs / f"{file}.log"
    try:
        env = machine.environment(run, home)
        work = _Work(run, job, row, home, log, began + 60 * job.timeout, env)
        done, outputs, summary = _steps(work, name)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    failed = next((one for one in done if one.state == "failed"), None)
    ran = [one for one in done if one.state != "skipped"]
    state: State = "failed" if failed else "passed"
    reason = failed.why if failed else ""
    if not failed and not _did(job, ran):
        skips = [one.why for one in done if one.why]
        state, reason = "skipped", skips[0] if skips else "none of its steps is for this event"
    seconds = time.monotonic() - began
    return JobResult(job.id, name, state, reason, seconds, done, outputs, summary, log.name)


def _did(job: Job, ran: Sequence[StepResult]) -> bool:
    """Whether any command of the job's own ran, not only what prepares it."""
    own = {step.name for step in job.steps if step.run} or {step.name for step in job.steps}
    return any(one.name in own for one in ran)


def _steps(work: _Work, name: str) -> tuple[tuple[StepResult, ...], dict[str, str], str]:
    done: list[StepResult] = []
    outputs: dict[str, str] = {}
    summary = ""
    for step in work.job.steps:
        failed = any(one.state == "failed" for one in done)
        why = _step_skipped(work.run, step, failed=failed)
        if why is None:
            why = elsewhere(work.run, work.job, step)
        if why is not None:
            done.append(StepResult(step.name, "skipped", why, 0.0))
            work.note(f"\n### {step.name}: skipped{f': {why}' * bool(why)}")
            continue
        work.note(f"\n### {step.name}")
        if step.use is None:
            work.run.say(f"{name}: {step.name} ...")
        began = time.monotonic()
        left = _DISPATCH in step.run and not _has_forge(work.run)
        error = _one(work, replace(step, run=step.run.replace(_DISPATCH, "")) if left else step)
        seconds = time.monotonic() - began
        state: State = "failed" if error else "passed"
        if error or step.use is None:
            told = f": {error}" if error else ""
            work.run.say(f"{name}: {step.name}: {state} in {seconds:.1f} s{told}")
        told = error or (f"without{_DISPATCH}, which {_FOREIGN}" if left else "")
        done.append(StepResult(step.name, state, told, seconds))
        outputs |= _outputs(work.home / "output", step)
        summary += _taken(work.home / "summary")
    if work.job.saves and not any(one.state == "failed" for one in done):
        _save_cache(work)
    return tuple(done), outputs, summary


def _step_skipped(run: Run, step: Step, *, failed: bool) -> str | None:
    """Why a step doesn't run ("": nothing to tell); None if it does."""
    kinds = {one.kind for one in step.when}
    if failed and not kinds & {"always", "failed"}:
        return ""
    for one in step.when:
        if one.kind == "failed":
            if not failed:
                return ""
        elif _unmet(run, one, {}, {}):
            return ""
    return None


def elsewhere(run: Run, job: Job, step: Step) -> str | None:
    """Why a step can only be run on a forge, or isn't in a rehearsal; None if it can."""
    if step.use == "test-results":
        return ""  # a page of a platform's
    if step.use in ("terraform", "az-ml"):
        return ""  # this machine's own
    if step.use == "attest":
        return f"{_FOREIGN}: it signs"
    alone = step.token and not machine.may(job, "contents")
    if alone and not _has_forge(run):
        return _FOREIGN
    deploys = step.logins or re.search(r"\bgitops deploy\b", step.run)
    if job.environment and deploys and not run.real and not step.oidc:
        return "a rehearsal deploys nothing"
    if step.oidc and not run.real:
        return "a rehearsal asks no cloud"
    return None


def _has_forge(run: Run) -> bool:
    """Whether there is one that the run may speak to, and a token for it."""
    found = forge.of(run.remote, os.environ) if run.real and run.remote else None
    tokens = ("GITHUB_TOKEN", "GH_TOKEN", "SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT")
    return found is not None and any(os.environ.get(name) for name in tokens)


# ---------------------------------------------------------------- a step


def _one(work: _Work, step: Step) -> str:
    """Run a step; why it failed, or ""."""
    ways: Mapping[str | None, Callable[[_Work, Step], str]] = {
        "checkout": _checkout,
        "uv": _uv,
        "tool": _tool,
        "cache": _restore_cache,
        "upload": _upload,
        "download": _download,
        "refuse": lambda _, step: step.run,
        None: _command,
    }
    try:
        found = ways[step.use](work, step)
    except (GitopsError, OSError) as error:
        found = error.message if isinstance(error, GitopsError) else str(error)
    if found and step.use:
        work.note(f"error: {found}")
    return found


def _checkout(work: _Work, step: Step) -> str:
    machine.checkout(work.run, work.job, work.tree)
    return ""


def _uv(work: _Work, step: Step) -> str:
    machine.give_uv(work.home)
    return ""


def _tool(work: _Work, step: Step) -> str:
    machine.give_tool(work.home)
    return ""


def _command(work: _Work, step: Step) -> str:
    env = {
        **work.env,
        **machine.of_step(work.run, work.job, step, work.row),
        "GITHUB_OUTPUT": str(work.home / "output"),
        "GITHUB_STEP_SUMMARY": str(work.home / "summary"),
    }
    for name in ("output", "summary"):
        (work.home / name).write_bytes(b"")
    # As GitHub runs a step that names no shell.
    command = [shutil.which("bash") or "sh", "-e", "-c", step.run]
    start = work.log.stat().st_size
    cwd = work.tree if work.tree.is_dir() else work.home
    code = proc.logged(
        command,
        work.log,
        cwd=cwd,
        env=env,
        timeout=work.until - time.monotonic(),
        pass_fds=[work.run.lock],
    )
    if code is None:
        return f"it took longer than the job's {work.job.timeout} minutes"
    if not code:
        return ""
    with work.log.open("rb") as file:
        file.seek(start)
        said = why_failed(file.read())
    return said if code == 1 else f"{said} (exit code {code})"


def _outputs(file: Path, step: Step) -> dict[str, str]:
    """What a step put out: `NAME=value`, or `NAME<<END`, lines and END."""
    text = _taken(file)
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, equals, value = line.partition("=")
        if "<<" in name or not equals:
            name, _, end = line.partition("<<")
            several = []
            for one in lines:
                if one == end:
                    break
                several.append(one)
            value = "\n".join(several)
        found[name] = value
    return {name: value for name, value in found.items() if name == step.output}


def _taken(file: Path) -> str:
    """The text of a file, which is gone then."""
    if not file.is_file():
        return ""
    text = file.read_text("utf-8", "replace")
    file.unlink()
    return text


# ---------------------------------------------------------------- artifacts, caches


def _upload(work: _Work, step: Step) -> str:
    source = work.tree / step.path
    if not source.exists():
        return f"{step.path} isn't there"
    target = work.run.artifacts / step.artifact
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    return ""


def _download(work: _Work, step: Step) -> str:
    source = work.run.artifacts / step.artifact
    if not source.is_dir():
        return f"there is no artifact {step.artifact}"
    shutil.copytree(source, work.tree / step.path, dirs_exist_ok=True)
    return ""


def _restore_cache(work: _Work, step: Step) -> str:
    kept = _cache(work)
    if kept.is_dir():
        shutil.copytree(kept, work.tree / ".dvc" / "cache", dirs_exist_ok=True)
    return ""


def _save_cache(work: _Work) -> None:
    """What the job's cache has becomes the kept one, in one step."""
    made, kept = work.tree / ".dvc" / "cache", _cache(work)
    if not made.is_dir():
        return
    new, old = kept.with_name(f"{kept.name}.new"), kept.with_name(f"{kept.name}.old")
    for one in (new, old):
        shutil.rmtree(one, ignore_errors=True)
    shutil.copytree(made, new)
    if kept.is_dir():
        kept.rename(old)
    new.rename(kept)
    shutil.rmtree(old, ignore_errors=True)


def _cache(work: _Work) -> Path:
    """Where the runs of a repository keep DVC's cache, for each group of a matrix one."""
    return work.run.logs.parents[1] / "caches" / (work.group or "all")
