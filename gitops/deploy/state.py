"""The folder in which this machine keeps what it runs: the plan, packages, logs, what is under way.

Whatever is written is written beside and renamed, so that a kill leaves the old or the new.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitops import jsontext, whole
from gitops.deploy.model import Plan, Under, plan_of, under_of
from gitops.errors import AnswerNo, EvidenceError, ToolError, Where

Json = dict[str, Any]
DOCUMENTS = ("serving.json", "rollout.json", "deployed.json", "place.json")
_RESERVE, _ROOM = ".reserve", 1 << 16  # bytes that are given up when the disk is full


def home() -> Path:
    """Where all environments have their folders: $GITOPS_STATE, else below $XDG_STATE_HOME."""
    if own := os.environ.get("GITOPS_STATE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state").absolute() / "gitops"


@dataclass(frozen=True)
class State:
    """The state folder of an environment.

    `keep` takes the text of a document (its name in DOCUMENTS) to where it outlives this machine.
    """

    folder: Path
    keep: Callable[[str, str], None] | None = field(default=None, compare=False)

    @property
    def plan_file(self) -> Path:
        return self.folder / "serving.json"

    @property
    def server_log(self) -> Path:
        return self.folder / "server.log"

    def package(self, digest: str) -> Path:
        """Where a package is kept, by its digest."""
        return self.folder / "packages" / digest

    def checkout(self, commit: str) -> Path:
        """Where the files of a commit are kept."""
        return self.folder / "checkouts" / commit

    # ------------------------------------------------------------ what is served, and under way

    def plan(self) -> Plan | None:
        """The plan that the server follows; None if nothing was ever deployed."""
        found = self.read("serving.json")
        return plan_of(found) if found else None

    def put_plan(self, plan: Plan) -> None:
        self.write("serving.json", plan.as_json())

    def under_way(self) -> dict[str, Under]:
        """The challengers on their way, by model."""
        found = self.read("rollout.json") or {"models": {}}
        return {model: under_of(one) for model, one in found["models"].items()}

    def put_under_way(self, model: str, under: Under | None) -> None:
        """Remember (None: forget) the challenger of a model."""
        known = self.under_way()
        if under is None and model not in known:
            return
        known |= {model: under} if under else {}
        models = {name: one.as_json() for name, one in known.items() if under or name != model}
        self.write("rollout.json", {"version": 1, "models": models})

    # ------------------------------------------------------------ files

    def read(self, name: str) -> Json | None:
        """A JSON file of ours; None if it isn't there.

        Raises:
            EvidenceError: it is there, and isn't what we wrote.
        """
        path = self.folder / name
        try:
            found = jsontext.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise EvidenceError(
                f"the state can't be read: {error}",
                fix="remove this file: what it said is deployed again",
                where=Where(path),
            ) from error
        return found if isinstance(found, dict) else None

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        """Put a JSON file in place of what was there, on the disk when this returns.

        Raises:
            ToolError: the disk is full, or the folder can't be written; or as `keep`.
        """
        text = json.dumps(document, indent=1, allow_nan=False)
        if self.keep is not None and name in DOCUMENTS:
            self.keep(name, text)  # first: a place that refuses it leaves all as it was
        self.recalled(name, text)

    def recalled(self, name: str, text: str) -> None:
        """Put a document here as the place keeps it. Raises as `write`."""
        path = self.folder / name
        try:
            whole.write(path, text, durable=True)
        except OSError as error:
            reserve = self.folder / _RESERVE
            if reserve.exists():  # the way back to the champion must not need room that isn't there
                reserve.unlink()
                self.recalled(name, text)
                return
            raise unwritable(error, path) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the environment: only one reconciler is at work on it. The kernel lets go of it
        when we end, however that happens.

        Raises:
            AnswerNo: another one is at work.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                by = re.sub(r"\D", "", file.read()) or "?"
                raise AnswerNo(
                    f"another reconciler (process {by}) is at work on this environment",
                    fix="let it work: --watch shows what it does; or end it first",
                ) from error
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            with suppress(OSError):
                if not (reserve := self.folder / _RESERVE).exists():
                    reserve.write_bytes(bytes(_ROOM))
            yield

    def taken(self) -> bool:
        """Whether a reconciler is at work: it keeps this folder as the place has it."""
        try:
            with (self.folder / "lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def tidy(self, packages: set[str], commits: set[str]) -> None:
        """Remove packages and checkouts that nothing needs any more, and what a kill left."""
        for kind, kept in (("packages", packages), ("checkouts", commits)):
            folder = self.folder / kind
            for one in folder.iterdir() if folder.is_dir() else ():
                if one.name not in kept:
                    shutil.rmtree(one, ignore_errors=True)
        for one in self.folder.glob(".*.json.*"):
            one.unlink(missing_ok=True)


def of(project: str, url: str, environment: str, kind: str = "local") -> State:
    """The state of an environment's place of one kind, of the repository that is at `url`."""
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    name = environment if kind == "local" else f"{environment}.{kind}"
    return State(home() / f"{project}-{digest}" / name)


def unwritable(error: OSError, what: Path | str) -> ToolError:
    """The error for a state folder, or `what` of it, that can't be written."""
    return ToolError(
        f"can't write {what}: {error.strerror or error}",
        fix="make room, or let GITOPS_STATE name another folder",
    )
