"""The workspace's own blob storage: what was collected there, and what we keep there.

    modelDataCollector/<endpoint>/<deployment>/<request|response>/yyyy/MM/dd/HH/<id>.jsonl
    gitops/<environment>/state.json, gitops/<environment>/labels/<any name>.csv, .parquet or .jsonl

The documents of the state folder are kept there, so that the next job, on an empty machine, goes on
from them. They are written only over what was read: a second reconciler is found out, not followed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitops import whole
from gitops.deploy.azureml.az import Absent, Az, Lost
from gitops.errors import AnswerNo, ToolError

COLLECTED = "modelDataCollector"
_DATASTORE = "workspaceblobstore"


@dataclass
class Store:
    """The storage of a workspace; `environment` names our part of it.

    All documents are one blob, so that whoever reads them has those of one moment.
    """

    az: Az
    environment: str
    lost: bool = False  # somebody else has written: what is here is old
    _kept: dict[str, str] = field(default_factory=dict)
    _etag: str = ""
    _at: tuple[str, ...] = ()

    def documents(self) -> dict[str, str]:
        """The documents as they are kept, by name. Raises ToolError as `Az.run`."""
        with _file("{}") as path:
            try:
                found = self._blob("download", "--name", self._name(), "--file", str(path))
            except Absent:
                self._kept, self._etag = {}, ""
            else:
                self._kept, self._etag = dict(json.loads(path.read_text("utf-8"))), _etag(found)
        self.lost = False
        return dict(self._kept)

    def put(self, name: str, text: str) -> None:
        """Keep a document beside the others, if they are still what was read.

        Raises:
            AnswerNo: somebody else has written since.
            ToolError: as `Az.run`.
        """
        kept = {**self._kept, name: text}
        match = (
            ("--if-match", self._etag, "--overwrite") if self._etag else ("--if-none-match", "*")
        )
        with _file(json.dumps(kept, indent=1, sort_keys=True)) as path:
            words = ("--name", self._name(), "--file", str(path), *match)
            try:
                found = self._blob("upload", *words)
            except Lost as error:
                self.lost = True
                raise AnswerNo(
                    f"another machine deploys to {self.environment}: it wrote {name} meanwhile",
                    fix="let it work, and run gitops deploy again",
                ) from error
        self._kept, self._etag = kept, _etag(found)

    def bring(self, prefix: str, folder: Path, since: datetime | None = None) -> None:
        """Bring what there is below a prefix, and isn't here as it is there, into a folder.

        Files only grow there, so a file that is as long is the same; `since` leaves out the hours
        before.

        Raises:
            ToolError: as `Az.run`.
        """
        for name, size in self._listed(prefix):
            inside = name.removeprefix(prefix).lstrip("/")
            if since is not None and _hour(inside) < _hour_of(since):
                continue
            path = folder / inside
            if path.exists() and path.stat().st_size == size:
                continue
            with suppress(Absent), whole.replacing(path) as half:
                self._blob("download", "--name", name, "--file", str(half))

    def labels(self) -> str:
        """Where labels are put."""
        return f"gitops/{self.environment}/labels"

    def _listed(self, prefix: str) -> Iterator[tuple[str, int]]:
        found = self._blob("list", "--prefix", f"{prefix}/", "--num-results", "*")
        for one in found or ():
            name = str(one["name"])
            if ".." not in name.split("/"):
                yield name, int(one["properties"]["contentLength"])

    def _blob(self, verb: str, *words: str) -> Any:  # noqa: ANN401
        more = () if verb == "list" else ("--no-progress",)
        return self.az.run("storage", "blob", verb, *words, *self._account(), *more)

    def _account(self) -> tuple[str, ...]:
        if not self._at:
            found = self.az.show("datastore", "show", "--name", _DATASTORE)
            if found is None:
                name, group = self.az.place
                raise ToolError(
                    f"there's no workspace {name} in the resource group {group}",
                    fix="gitops infra apply makes it; or correct targets.azureml in gitops.yaml",
                )
            account, container = str(found["account_name"]), str(found["container_name"])
            self._at = ("--account-name", account, "--container-name", container)
            self._at += ("--auth-mode", "login")
        return self._at

    def _name(self) -> str:
        return f"gitops/{self.environment}/state.json"


@contextmanager
def _file(text: str) -> Iterator[Path]:
    """A file for as long as a command reads or writes it."""
    with tempfile.TemporaryDirectory(prefix="gitops-azureml-") as folder:
        path = Path(folder) / "state.json"
        path.write_text(text, "utf-8")
        yield path


def _etag(found: Any) -> str:  # noqa: ANN401
    """Of what upload and download answer: at the top, or among the properties."""
    if not isinstance(found, dict):
        return ""
    return str(found.get("etag") or (found.get("properties") or {}).get("etag") or "")


def _hour(path: str) -> str:
    """yyyy/MM/dd/HH of a path of the collector's, which sorts by time."""
    return "/".join([part for part in path.split("/") if part.isdigit()][:4])


def _hour_of(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y/%m/%d/%H")
