"""What a job finds where it runs: an environment that holds only what it may see."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gitops import dvcremote, uv
from gitops.errors import ConfigError
from gitops.git import program, scratch
from gitops.pipelines.local.event import Event
from gitops.pipelines.model import Job, Step

_KEPT = re.compile(
    r"(?:PATH|USER|LOGNAME|SHELL|TZ|LANG|LC_\w+|LD_LIBRARY_PATH|JAVA_HOME|CUDA_\w+|NVIDIA_\w+"
    r"|(?:HTTPS?|NO|ALL)_PROXY|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|UV_\w+|PIP_INDEX_URL)",
    re.IGNORECASE,
)
_SECRET = re.compile("TOKEN|PASSWORD|SECRET|CREDENTIAL|PUBLISH", re.IGNORECASE)
_CLOUDS = {"aws": ("AWS_",), "azure": ("AZURE_", "ARM_")}
_FORGE = ("GITHUB_TOKEN", "GH_TOKEN", "GH_HOST", "SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT")
_NOT_YET = "echo 'error: this job has no gitops: add the step `use: tool`' >&2; exit 127"
_LOGIN = (
    "HOME",
    "SSH_AUTH_SOCK",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "GITOPS_STATE",
)


@dataclass(frozen=True)
class Run:
    """One run: the user's repository, the run's own folder, and where its logs are kept.

    `store` is the scratch remote, `word` opens it for pushes; `remote` is the true one's address
    ("": there's none), which is used only if the run is `real`. `storage` stands for the true
    folder remote. `lock` is a descriptor that steps inherit.
    """

    root: Path
    work: Path
    logs: Path
    store: Path
    word: str
    remote: str
    real: bool
    storage: Path | None
    event: Event
    lock: int
    say: Callable[[str], None]

    @property
    def artifacts(self) -> Path:
        return self.logs / "artifacts"


def may(job: Job, scope: str) -> bool:
    """Whether the job may write there."""
    return any(one.scope == scope and one.level == "write" for one in job.permissions)


def checkout(run: Run, job: Job, target: Path) -> None:
    """A clean clone at the event's commit, with the storage that the run may use."""
    event = run.event
    real = run.real and may(job, "contents")
    branch = None if event.kind == "pull_request" else event.branch
    origin = run.remote if real else str(run.store)
    scratch.clone(run.store, target, event.commit, branch, origin)
    if run.storage is not None:
        place = dvcremote.remote(target)
        dvcremote.set_local(target, place, {"url": str(run.storage)}, target / ".dvc" / "cache")


def stand_in(root: Path, target: Path) -> Path | None:
    """A folder that stands for the storage folder: links to its objects, and room for new ones.

    None where the storage is no folder of this machine.
    """
    try:
        place = dvcremote.remote(root)
    except ConfigError:
        return None
    if not place.is_folder or not Path(place.url).is_dir():
        return None
    top = Path(place.url)
    for folder, _, files in os.walk(top):
        here = target / Path(folder).relative_to(top)
        here.mkdir(parents=True, exist_ok=True)
        for name in files:
            (here / name).symlink_to(Path(folder, name))
    return target


# ---------------------------------------------------------------- the environment


def environment(run: Run, home: Path) -> dict[str, str]:
    """What every step of a job sees: no credential, no setting of the user's but for uv's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if _KEPT.fullmatch(name) and not _SECRET.search(name)
    }
    for folder in ("tmp", "bin", "dvc"):
        (home / folder).mkdir(parents=True)
    _script(home / "bin" / "gitops", _NOT_YET)  # before any that the machine has
    _settings(run, home)
    event = run.event
    own = {
        "PATH": os.pathsep.join([str(home / "bin"), *_path()]),
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "RUNNER_TEMP": str(home / "tmp"),
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "UV_CACHE_DIR": uv.cache_folder(),
        "UV_PYTHON_INSTALL_DIR": uv.python_folder(),
        "CI": "true",
        "GITOPS_CI": "real" if run.real else "rehearsal",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": event.kind,
        "GITHUB_EVENT_PATH": str(run.work / "event.json"),
        "GITHUB_REF": event.ref,
        "GITHUB_SHA": event.commit,
    }
    if event.kind == "pull_request":
        own["GITHUB_BASE_REF"] = event.branch
    return {**kept, **own}


def _path() -> list[str]:
    """The user's PATH without the environment that we run in."""
    ours = {str(Path(sys.executable).parent)} if sys.prefix != sys.base_prefix else set()
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return [one for one in folders if one not in ours]


def _settings(run: Run, home: Path) -> None:
    """Whose commits these are, and how uv reaches its index."""
    name, _, mail = program.identity(run.root).partition(" <")
    if mail:
        text = f'[user]\n\tname = "{name}"\n\temail = "{mail.removesuffix(">")}"\n'
        (home / ".gitconfig").write_text(text)
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "uv", "uv.toml")
    if config.is_file():
        (home / ".config" / "uv").mkdir(parents=True)
        shutil.copy(config, home / ".config" / "uv" / "uv.toml")


def of_step(run: Run, job: Job, step: Step, row: Mapping[str, str]) -> dict[str, str]:
    """What one step sees besides: its own variables, and the credentials that it declares."""
    found = {}
    for name, value in step.env.items():
        if value.kind == "text":
            found[name] = value.name
        elif value.kind == "input":
            found[name] = run.event.inputs.get(value.name, "")
        elif value.kind == "matrix":
            found[name] = row.get(value.name, "")
        elif value.kind == "before":
            found[name] = run.event.before
        else:  # a secret or a variable of the repository's: here of the user's environment
            found[name] = os.environ.get(value.name, "")
    for cloud in (*step.logins, *step.own):
        found |= {n: v for n, v in os.environ.items() if n.startswith(_CLOUDS[cloud])}
        if cloud == "aws":
            found.setdefault("AWS_CONFIG_FILE", str(Path.home() / ".aws" / "config"))
            found.setdefault(
                "AWS_SHARED_CREDENTIALS_FILE", str(Path.home() / ".aws" / "credentials")
            )
        else:
            found.setdefault("AZURE_CONFIG_DIR", str(Path.home() / ".azure"))
    if step.token and may(job, "contents") and not run.real:
        found["GITOPS_CI_PUSH"] = run.word
    if step.token and run.real:
        found |= {name: os.environ[name] for name in (*_FORGE, *_LOGIN) if name in os.environ}
    return found


# ---------------------------------------------------------------- what platforms install


def give_uv(home: Path) -> None:
    """uv on the job's PATH: the one that came with us."""
    (home / "bin" / "uv").symlink_to(uv.binary())


def give_tool(home: Path) -> None:
    """gitops on the job's PATH: this very one, which no setting of the job's can bend."""
    _script(home / "bin" / "gitops", f'exec "{sys.executable}" -I -m gitops "$@"')


def _script(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)
