"""What this machine has done about each model: last recorded, failed, kept; records yet to push."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gitops.deploy import record
from gitops.deploy.model import Release, Source, Variant, variant_of
from gitops.deploy.record import Happened
from gitops.deploy.state import State
from gitops.errors import AnswerNo, ToolError

Json = dict[str, Any]
_FILE = "deployed.json"
_NOTHING: Json = {"recorded": None, "previous": None}


@dataclass(frozen=True)
class Book:
    """`deployed.json` in the state folder. It is read each time: nothing is only in memory."""

    state: State
    environment: str

    def models(self) -> tuple[str, ...]:
        """The models that something was ever done about."""
        return tuple(self._models())

    def previous(self, model: str) -> Variant | None:
        """What a model ran before: kept on this disk, so that a rollback is quick."""
        known = self._models().get(model, _NOTHING)
        return variant_of(known["previous"])

    def keep(self, model: str, running: Variant) -> None:
        """Remember what a model runs, before it runs something else."""
        document = self._read()
        one = document["models"].setdefault(model, dict(_NOTHING))
        if one["previous"] != asdict(running):
            one["previous"] = asdict(running)
            self.state.write(_FILE, document)

    def says_running(self, release: Release) -> bool:
        """Whether the last that is on record of the model is that this assignment runs."""
        known = self._models().get(release.model)
        return known is not None and known["recorded"] == [release.assignment, "running"]

    def note(
        self,
        happened: Happened,
        release: Release,
        *,
        target: tuple[str, str],
        by: str,
        started: str,
        replaces: str = "",
        why: str = "",
    ) -> None:
        """Remember what became of an assignment; its record, once, waits to be pushed."""
        document = self._read()
        one = document["models"].setdefault(release.model, dict(_NOTHING))
        if one["recorded"] != [release.assignment, happened]:
            one["recorded"] = [release.assignment, happened]
            document["outbox"].append(
                record.document(
                    happened,
                    release,
                    environment=self.environment,
                    target=target,
                    by=by,
                    started=started,
                    replaces=replaces,
                    why=why,
                )
            )
        self.state.write(_FILE, document)

    def send(self, source: Source, say: Callable[[str], None]) -> bool:
        """Push what waits; False if it has to wait on, and that was said."""
        document = self._read()
        if not document["outbox"]:
            return True
        try:
            source.record(document["outbox"])
        except (AnswerNo, ToolError) as error:
            say(f"{len(document['outbox'])} records are not pushed yet: {error.message}")
            return False
        document["outbox"] = []
        self.state.write(_FILE, document)
        return True

    def _models(self) -> dict[str, Json]:
        return dict(self._read()["models"])

    def _read(self) -> Json:
        return self.state.read(_FILE) or {"version": 1, "models": {}, "outbox": []}
