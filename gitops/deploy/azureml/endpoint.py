"""One online endpoint: brought, step by step, to what it is to be. Each step may be the last one
that is done before a kill: the next run sees what there is, and goes on from that."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops.deploy.azureml.az import Absent, Az
from gitops.deploy.azureml.documents import TAG
from gitops.errors import EvidenceError, ToolError

Json = dict[str, Any]
_FAILED = ("Failed", "Canceled")
_SHOWN = 120.0  # seconds until Azure shows a change that it says is done


@dataclass(frozen=True)
class Split:
    """Percentages by deployment: of the traffic, and of what is mirrored."""

    traffic: Mapping[str, int]
    mirror: Mapping[str, int]


@dataclass(frozen=True)
class Endpoint:
    """An endpoint by its name; `kind` is online or batch."""

    az: Az
    name: str
    kind: str = "online"

    # ------------------------------------------------------------ what there is

    def show(self) -> Json | None:
        """The endpoint; None: there's none."""
        return self.az.show(f"{self.kind}-endpoint", "show", "--name", self.name)

    def deployments(self) -> dict[str, Json]:
        """What is deployed there, by name."""
        found = self.az.ml(f"{self.kind}-deployment", "list", "--endpoint-name", self.name)
        return {str(one["name"]): one for one in found or ()}

    def split(self, shown: Json | None) -> Split:
        """What Azure says that the traffic is; nought isn't named."""
        traffic, mirror = (
            {str(name): int(share) for name, share in (found or {}).items() if int(share)}
            for found in ((shown or {}).get("traffic"), (shown or {}).get("mirror_traffic"))
        )
        return Split(traffic, mirror)

    # ------------------------------------------------------------ steps

    def ensure(self, document: Json) -> Json:
        """The endpoint, made or changed to be as the document says; its traffic stays.

        Raises:
            ToolError: Azure can't.
        """
        shown = self._settled()
        if shown is not None and not _is(shown, document):
            self._change(document, shown)
            shown = self._settled()
        elif shown is None:
            with _file(document) as path:
                self._begin("create", "--file", path)
            shown = self._settled()
        if shown is None or shown.get("provisioning_state") in _FAILED:
            raise ToolError(
                f"the endpoint {self.name} can't be made: {_why(shown)}",
                fix="its name must be nobody else's in the region; see the group's activity log",
            )
        return shown

    def _change(self, document: Json, shown: Json) -> None:
        """What the file says, with the traffic as it is: an update without it would end it."""
        now = self.split(shown)
        kept = {"traffic": dict(now.traffic), "mirror_traffic": dict(now.mirror)}
        with _file({**document, **(kept if self.kind == "online" else {})}) as path:
            self._begin("update", "--name", self.name, "--file", path)

    def deploy(
        self, document: Json, here: Mapping[str, Json], beside: Mapping[str, Json] | None = None
    ) -> bool:
        """A deployment as the document says: made, changed, or what failed made anew; whether
        anything was to be done.

        `beside` are files that the document names, by their names.

        Raises:
            EvidenceError: it doesn't come up.
            ToolError: Azure can't.
        """
        name = str(document["name"])
        found = self._deployed(name) if name in here else None
        if found is not None and found.get("provisioning_state") in _FAILED:
            self.remove(name)
            self._deployed(name)
            found = None
        if found is not None and _is(found, document):
            return False
        verb = "create" if found is None else "update"
        with _file(document, beside) as path:
            self._begin_deployment(
                verb, "--name", name, "--endpoint-name", self.name, "--file", path
            )
        found = self._deployed(name)
        if found is None or found.get("provisioning_state") in _FAILED:
            raise EvidenceError(
                f"the deployment {name} of {self.name} doesn't come up: {self._said(name, found)}",
                fix="what ran goes on running; see az ml online-deployment get-logs"
                f" --name {name} --endpoint-name {self.name}",
            )
        return True

    def shift(self, wanted: Split, others: Mapping[str, Json], now: Split) -> None:
        """The traffic from what it is now to what is wanted, and nothing for the others; returns
        when Azure says that it is so.

        Raises:
            ToolError: Azure can't, or says something else afterwards.
        """
        traffic = {**dict.fromkeys(others, 0), **wanted.traffic}
        # What is mirrored now ends only by being named.
        mirror = dict(wanted.mirror) or dict.fromkeys(now.mirror, 0)
        words = ["--name", self.name, "--traffic", _pairs(traffic)]
        words += ["--mirror-traffic", _pairs(mirror)] if mirror else []
        self._begin("update", *words)
        deadline = time.monotonic() + _SHOWN

        def look() -> Json | None:
            found = self.show()
            if found is None or self.split(found) == wanted or time.monotonic() > deadline:
                return found
            return {**found, "provisioning_state": "Updating"}

        shown = self.az.settled(self.name, look)
        if self.split(shown) != wanted:
            raise ToolError(
                f"the traffic of {self.name} is {self.split(shown)}, not {wanted}: {_why(shown)}",
                fix="gitops deploy tries again; somebody else may be changing it",
            )

    def set_default(self, name: str) -> None:
        """Which deployment answers where none is named; of batch endpoints."""
        self._begin("update", "--name", self.name, "--set", f"defaults.deployment_name={name}")
        self._settled()

    def remove(self, name: str) -> None:
        """Begin to remove a deployment; one that isn't there is removed."""
        words = ("--name", name, "--endpoint-name", self.name, "--yes")
        try:
            self.az.begin(f"removing {name}", f"{self.kind}-deployment", "delete", *words)
        except Absent:
            return

    def delete(self) -> None:
        """Begin to remove the endpoint and all that is deployed there."""
        try:
            words = ("--name", self.name, "--yes")
            self.az.begin(f"removing {self.name}", f"{self.kind}-endpoint", "delete", *words)
        except Absent:
            return

    # ------------------------------------------------------------ edges

    def _begin(self, verb: str, *words: str) -> None:
        self.az.begin(self.name, f"{self.kind}-endpoint", verb, *words)

    def _begin_deployment(self, verb: str, *words: str) -> None:
        self.az.begin(self.name, f"{self.kind}-deployment", verb, *words)

    def _settled(self) -> Json | None:
        return self.az.settled(self.name, self.show)

    def _deployed(self, name: str) -> Json | None:
        words = (f"{self.kind}-deployment", "show", "--name", name, "--endpoint-name", self.name)
        return self.az.settled(f"{self.name}/{name}", lambda: self.az.show(*words))

    def _said(self, name: str, found: Json | None) -> str:
        """The last that the container said."""
        if self.kind != "online":
            return _why(found)
        words = ("--name", name, "--endpoint-name", self.name, "--lines", "20")
        try:
            text = self.az.ml("online-deployment", "get-logs", *words)
        except ToolError as error:
            return f"{_why(found)}; {error.message}"
        return f"{_why(found)}; it said: {str(text)[-1500:]}"


def _is(shown: Json, document: Json) -> bool:
    """Whether what there is was made of this document."""
    tags = shown.get("tags") or {}
    if shown.get("provisioning_state") in _FAILED:
        return False
    return bool(tags.get(TAG) == document["tags"][TAG])


def _why(found: Json | None) -> str:
    return f"it is {found.get('provisioning_state')}" if found else "it isn't there"


def _pairs(shares: Mapping[str, int]) -> str:
    return " ".join(f"{name}={share}" for name, share in sorted(shares.items()))


@contextmanager
def _file(document: Json, beside: Mapping[str, Json] | None = None) -> Iterator[str]:
    """A document as a file, for as long as a command reads it; JSON is YAML, too."""
    with tempfile.TemporaryDirectory(prefix="gitops-azureml-") as folder:
        for name, one in {"document.yaml": document, **(beside or {})}.items():
            (Path(folder) / name).write_text(json.dumps(one, indent=2, ensure_ascii=False), "utf-8")
        yield str(Path(folder) / "document.yaml")
