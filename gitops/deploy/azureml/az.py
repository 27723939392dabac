"""The edge to Azure: its command line, and what its errors mean.

What changes something only begins it (`--no-wait`), and is then looked at until it is over: so a
kill loses nothing, and another's operation under way is waited for.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gitops import jsontext, proc
from gitops.errors import ToolError

Json = dict[str, Any]
SECONDS = 300.0  # of one call: those that change something only begin it
PATIENCE = 2400.0  # seconds until an operation of Azure's is over; machines take minutes to come
LONGEST = 15.0  # seconds between two looks
_SAID = 60.0  # seconds between two words on an operation
_ABSENT = 3  # the exit code of az: there's no such resource
_SIGNS: tuple[tuple[str, str, str], ...] = (
    (
        r"requires the extension|extension install|is misspelled or not recognized"
        r"|is not in the 'az' command group",
        "the Azure CLI has no extension `ml`",
        "az extension add --name ml",
    ),
    (
        r"az login|az account set|AADSTS\d+|InvalidAuthenticationToken",
        "the Azure CLI isn't logged in",
        "az login, or let the job log in with the environment's identity",
    ),
    (
        r"AuthorizationFailed|AuthorizationPermissionMismatch|does not have authorization"
        r"|required permissions",
        "Azure refuses it",
        "give the identity that deploys the role Contributor on the environment's resource group,"
        " and Storage Blob Data Contributor (gitops infra apply shared)",
    ),
    (
        r"OutOfQuota|OutOfCapacity|exceeds? (the )?quota|quota limit",
        "there are not enough machines",
        "ask for more quota, or take another instance_type in deployment.yaml",
    ),
)
_MISSING = re.compile(r"ResourceNotFound|\bNotFound\b|BlobNotFound|was not found", re.I)
_BUSY = re.compile(
    r"\bConflict\b|\b409\b|\bin progress\b|currently being|already in \w+ state|OperationCanceled",
    re.I,
)
_LOST = re.compile(r"ConditionNotMet|\b412\b|BlobAlreadyExists", re.I)


class Absent(ToolError):
    """There is no such thing."""


class Busy(ToolError):
    """Another operation is under way."""


class Lost(ToolError):
    """Somebody else has written it meanwhile."""


@dataclass
class Az:
    """The command line for one workspace; `place` are its name and resource group."""

    place: tuple[str, str]
    say: Callable[[str], None]
    said: dict[str, float] = field(default_factory=dict)

    def run(self, *words: str) -> Any:  # noqa: ANN401
        """What a command answers, read as JSON; None if it says nothing.

        Raises:
            Absent, Busy, Lost: what their names say.
            ToolError: anything else; the message says what to do.
        """
        command = ["az", *words, "--output", "json", "--only-show-errors"]
        try:
            done = proc.run(command, timeout=SECONDS, check=False)
        except ToolError as error:
            if "was not found" in error.message:
                error.fix = "install the Azure CLI: https://aka.ms/azure-cli"
            raise
        if done.code:
            raise _error(words, done)
        if not done.out.strip():
            return None
        try:
            return jsontext.loads(done.out)
        except ValueError as error:
            raise ToolError(
                f"az {' '.join(words[:3])} answers what is no JSON: {done.out[:200]}",
                fix="upgrade the Azure CLI and its extension: az extension update --name ml",
            ) from error

    def ml(self, *words: str) -> Any:  # noqa: ANN401
        """A command of the extension `ml`, in the workspace. Raises as `run`."""
        name, group = self.place
        return self.run("ml", *words, "--resource-group", group, "--workspace-name", name)

    def show(self, *words: str) -> Json | None:
        """What there is; None if there's no such thing. Raises as `run`."""
        try:
            found = self.ml(*words)
        except Absent:
            return None
        return found if isinstance(found, dict) else None

    def begin(self, what: str, *words: str) -> None:
        """Begin an operation; where another is under way, after that.

        Raises:
            ToolError: as `run`, or the other one doesn't end.
        """
        started, pause = time.monotonic(), 0.5
        while True:
            try:
                self.ml(*words, "--no-wait")
                return
            except Busy as error:
                if time.monotonic() - started > PATIENCE:
                    raise
                self._progress(what, f"waits for another operation ({error.message[-120:]})")
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST)

    def settled(self, what: str, look: Callable[[], Json | None]) -> Json | None:
        """What `look` shows when no operation is under way there any more.

        Raises:
            ToolError: it goes on for too long.
        """
        started, pause = time.monotonic(), 0.5
        while True:
            found = look()
            state = str(found.get("provisioning_state", "")) if found else ""
            if state in ("", "Succeeded", "Failed", "Canceled"):
                return found  # "": it is gone, or of a kind that has no state
            took = time.monotonic() - started
            if took > PATIENCE:
                raise ToolError(
                    f"{what} is still {state or 'under way'} after {took / 60:.0f} minutes",
                    fix="Azure goes on with it: gitops deploy waits for it again",
                )
            self._progress(what, f"{state or 'under way'} for {took:.0f} s")
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST)

    def _progress(self, what: str, text: str) -> None:
        now = time.monotonic()
        if now - self.said.get(what, -math.inf) >= _SAID:
            self.said[what] = now
            self.say(f"{what}: {text}")


def _error(words: tuple[str, ...], done: proc.Done) -> ToolError:
    """An error of az as one of ours."""
    text = " ".join((done.err or done.out).split())
    shown = f"az {' '.join(words[:3])} failed: {text[:600] or f'exit code {done.code}'}"
    for sign, what, fix in _SIGNS:
        if re.search(sign, text, re.I):
            return ToolError(f"{what}: {shown}", fix=fix)
    if _LOST.search(text):
        return Lost(shown)
    if done.code == _ABSENT or _MISSING.search(text):
        return Absent(shown, fix="check the workspace and its resource group in gitops.yaml")
    if _BUSY.search(text):
        return Busy(shown, fix="wait until it is over")
    return ToolError(shown, fix="the message is Azure's; gitops deploy tries again")
