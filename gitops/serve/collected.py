"""Answers of a managed endpoint, as Azure ML's data collector has them, as lines of our log.

https://learn.microsoft.com/azure/machine-learning/how-to-collect-production-data (payload logging):
one CloudEvent for each request and one for each response, told to belong together by
`correlationid`. Neither has a status or how long it took, so the server writes both into its
answers' bodies there (`gitops serve --in-body`); an answer without them is no evidence, and a
request that was never answered is a failure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from gitops import signature
from gitops.errors import EvidenceError
from gitops.serve import label_file, log, segments
from gitops.serve.decode import Decoder
from gitops.serve.refusal import Refusal
from gitops.serve.segments import Position

NEAR = 60.0  # seconds around a change of the traffic in which nobody knows the split
LATE = 900.0  # seconds after which a request without an answer has none
Kind = Literal["request", "response"]
Json = Mapping[str, Any]


_NOTHING = msgspec.Raw(b"")


class _Event(msgspec.Struct):
    time: str
    correlationid: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    xrequestid: str = ""


class _Error(msgspec.Struct):
    message: str = "refused"
    status: int = 0
    ms: float | None = None
    column: str | None = None


class _Answer(msgspec.Struct):
    id: str = ""
    predictions: list[str | float] | None = None
    scores: list[float | list[float]] | None = None
    ms: float | None = None
    error: _Error | None = None


class _Asked(msgspec.Struct):
    row: msgspec.Raw = _NOTHING
    rows: msgspec.Raw = _NOTHING
    columns: msgspec.Raw = _NOTHING
    id: str = ""


_EVENT = msgspec.json.Decoder(_Event)
_ANSWER = msgspec.json.Decoder(_Answer)
_ASKED = msgspec.json.Decoder(_Asked)


@dataclass
class Collected:
    """What was collected of a model, below `folder`/collected/<model>/<deployment>/<kind>/.

    Lines go to `folder`/log/<model>, each once. `unusable` counts answers that are no evidence.
    """

    folder: Path
    model: str
    unusable: int = 0
    _offsets: dict[Path, int] = field(default_factory=dict)
    _waiting: dict[tuple[str, str], dict[Kind, _Event]] = field(default_factory=dict)
    _written: set[bytes] | None = None
    _decoders: dict[str, Decoder] = field(default_factory=dict)

    def take(self, shifts: Sequence[Json], now: float) -> int:
        """Write what has become sure up to `now` (seconds since 1970); how many lines.

        `shifts` are the changes of the traffic, in their order: begun, settled, champion,
        challenger (deployment, release, package), share, shadow, salt.

        Raises:
            OSError: the log can't be written.
            EvidenceError, UsageError, ToolError: as `label_file.add`.
        """
        self._labels()
        self._read()
        made = [line for line in self._lines(shifts, now) if self._is_new(line)]
        if made:
            segments.write(self._log, made)
        return len(made)

    def _labels(self) -> None:
        """What came true, from the tables that were brought; what is there already counts once."""
        for path in sorted((self.folder / "brought").glob("[!.]*")):
            size = path.stat().st_size
            if self._offsets.get(path) != size:
                label_file.add(path, self.folder, None)
                self._offsets[path] = size

    @property
    def _log(self) -> Path:
        return self.folder / "log" / self.model

    def _read(self) -> None:
        """Whole lines that have come since the last time."""
        top = self.folder / "collected" / self.model
        for path in sorted(top.glob("*/re*/**/*.jsonl")):
            deployment, kind = path.relative_to(top).parts[:2]
            if kind not in ("request", "response"):
                continue
            start = self._offsets.get(path, 0)
            with path.open("rb") as file:
                file.seek(start)
                whole = file.read()
            whole = whole[: whole.rfind(b"\n") + 1]
            self._offsets[path] = start + len(whole)
            for raw in whole.splitlines():
                try:
                    event = _EVENT.decode(raw)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    self.unusable += 1
                    continue
                pair = self._waiting.setdefault((deployment, event.correlationid), {})
                pair.setdefault("request" if kind == "request" else "response", event)

    def _lines(self, shifts: Sequence[Json], now: float) -> Iterator[bytes]:
        for at, pair in list(self._waiting.items()):
            first = pair.get("request") or pair["response"]
            try:
                when = datetime.fromisoformat(first.time).timestamp()
            except ValueError:
                self.unusable += 1
                del self._waiting[at]
                continue
            if when > now - NEAR or ("response" not in pair and when > now - LATE):
                continue  # a change may be near yet, or the answer on its way
            shift = _at(shifts, when)
            if shift is None and shifts and shifts[-1]["settled"] is None:
                continue  # a change is under way
            del self._waiting[at]
            line = self._line(at[0], pair, when, shift or _named(shifts, at[0], when), bool(shift))
            if line is not None:
                yield line

    def _line(
        self, deployment: str, pair: Mapping[Kind, _Event], when: float, shift: Json | None,
        sure: bool,
    ) -> bytes | None:  # fmt: skip
        arm = _arm(shift, deployment)
        if shift is None or arm is None:
            return None
        variant, release = arm
        split = sure and (shift["shadow"] or bool(shift["share"]))
        share = shift["share"] if split and not shift["shadow"] else None
        salt = shift["salt"] if split else None
        body = _body(pair["request"].data) if "request" in pair else b""
        asked = _decoded(_ASKED, body) or _Asked()
        common: dict[str, Any] = {"model": self.model, "release": release, "variant": variant}
        common |= {"share": share, "salt": salt, "at": when}
        if "response" not in pair:
            if not self._takes(shift["champion"]["package"], body):
                return None  # refused, as it seems, and rightly
            request = pair["request"]
            id = asked.id or request.xrequestid or request.correlationid
            return _failed(id, 0.0, 504, "no answer was collected", common)
        response = pair["response"]
        answer = _decoded(_ANSWER, _body(response.data))
        id = (answer.id if answer else "") or asked.id or response.xrequestid
        if answer is not None and answer.error is not None:
            failed = self._failure(answer.error, body, variant, shift)
            if failed is None:
                return None
            return _failed(id or response.correlationid, answer.error.ms or 0.0, *failed, common)
        if answer is None or answer.predictions is None or answer.ms is None or not id:
            self.unusable += 1
            return None
        return log.line(
            id=id,
            rows=len(answer.predictions),
            features=_features(asked),
            predictions=answer.predictions,
            scores=answer.scores,
            ms=answer.ms,
            **common,
        )

    def _failure(
        self, error: _Error, body: bytes, variant: str, shift: Json
    ) -> tuple[int, str] | None:
        """Status and text of a failure; None: the caller's fault, or no evidence.

        Rows that the champion takes, and only the challenger refuses, are the challenger's failure.
        """
        text = (
            error.message if error.column is None else f"{error.message} (column {error.column!r})"
        )
        if not error.status:
            self.unusable += 1
            return None
        if error.status >= 500:
            return error.status, text
        if variant != "champion" and self._takes(shift["champion"]["package"], body):
            return 500, f"rows refused: {text}"
        return None

    def _takes(self, package: str, body: bytes) -> bool:
        """Whether a package's signature takes a request; one that can't be read is nobody's."""
        if package not in self._decoders:
            path = self.folder / "packages" / package / "signature.json"
            try:
                self._decoders[package] = Decoder(signature.read(path))
            except EvidenceError:
                return True  # who can't tell blames the challenger
        try:
            self._decoders[package](body)
        except Refusal:
            return False
        return True

    def _is_new(self, line: bytes) -> bool:
        """Whether a line isn't in the log: another machine, or we before a kill, wrote the same."""
        if self._written is None:
            self._written, position = set(), Position()
            while True:
                raw, position = segments.read(self._log, position, 16_000_000)
                if not raw:
                    break
                self._written |= {_digest(one + b"\n") for one in raw}
        digest = _digest(line)
        new = digest not in self._written
        self._written.add(digest)
        return new


def _at(shifts: Iterable[Json], when: float) -> Json | None:
    """The traffic at a moment; None where it isn't sure what it was."""
    known = list(shifts)
    for one, following in zip(known, [*known[1:], None], strict=True):
        if one["settled"] is None or when < one["settled"] + NEAR:
            continue
        if following is None or when < following["begun"] - NEAR:
            return one
    return None


def _named(shifts: Iterable[Json], deployment: str, when: float) -> Json | None:
    """What the traffic was meant to be: enough to say who answered."""
    known = [one for one in shifts if _arm(one, deployment)]
    before = [one for one in known if one["begun"] <= when]
    if before:
        return before[-1]
    return known[0] if known else None


def _arm(shift: Json | None, deployment: str) -> tuple[log.Variant, str] | None:
    """Who a deployment is in the traffic, and its release."""
    if shift is None:
        return None
    if shift["champion"]["deployment"] == deployment:
        return "champion", str(shift["champion"]["release"])
    other = shift["challenger"]
    if other is None or other["deployment"] != deployment:
        return None
    return ("shadow" if shift["shadow"] else "challenger"), str(other["release"])


def _failed(id: str, ms: float, status: int, error: str, common: dict[str, Any]) -> bytes:
    return log.line(
        id=id, rows=0, features=None, predictions=None, scores=None, ms=ms, status=status,
        error=error, **common,
    )  # fmt: skip


def _body(data: msgspec.Raw) -> bytes:
    """A payload: JSON, or a text that has it."""
    raw = bytes(data)
    if raw[:1] == b'"':
        return str(msgspec.json.decode(raw)).encode()
    return raw


def _decoded(decoder: msgspec.json.Decoder[Any], raw: bytes) -> Any:  # noqa: ANN401
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _features(asked: _Asked) -> msgspec.Raw | None:
    try:
        if bytes(asked.columns):
            return log.features("columns", asked.columns)
        rows = bytes(asked.rows) or (b"[" + bytes(asked.row) + b"]" if bytes(asked.row) else b"")
        return log.features("rows", rows) if rows else None
    except msgspec.MsgspecError:
        return None


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()
