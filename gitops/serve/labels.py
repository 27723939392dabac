"""Labels: what came true, `<state>/labels/<segment>.jsonl`, one line for each row of a request.

They come by `POST /labels` (`take`) or from a file (`label_file.py`), at any time, also before the
predictions; `join.py` brings both together. A label may come twice: it counts once.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gitops.serve import log
from gitops.serve.refusal import Refusal
from gitops.serve.segments import Position
from gitops.serve.writer import Writer

MOST = 100_000  # labels of one request
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Row = Annotated[int, msgspec.Meta(ge=0)]
Value = str | int | float | bool | None


class Label(msgspec.Struct, frozen=True, gc=False):
    """A line (contract `label`). `model` None: of each model that answered the request."""

    v: Literal[1]
    id: Annotated[str, msgspec.Meta(min_length=1)]
    row: _Row
    label: Value
    value: float | None
    at: float
    model: str | None = None


class _Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: _Id
    row: _Row = 0
    label: Value = None
    value: float | None = None
    model: Annotated[str, msgspec.Meta(min_length=1)] | None = None


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    labels: Annotated[list[_Given], msgspec.Meta(min_length=1, max_length=MOST)]


_ENCODER = msgspec.json.Encoder()
_LINE = msgspec.json.Decoder(Label)
_BODY = msgspec.json.Decoder(_Body)


def open(state: Path) -> Writer:
    """The writer of a state folder's labels; each is on the disk before it is acknowledged."""
    return Writer(
        state / "labels", sync_seconds=0, segment_bytes=64_000_000, keep_bytes=1_024_000_000
    )


def lines(body: bytes) -> list[bytes]:
    """The lines for `{"labels": [{"id", "row", "label", "value", "model"}, ...]}`.

    `row` is 0 if left out; `label`, `value` or both are there.

    Raises:
        Refusal: 400 no JSON; 422 something else, with its place.
    """
    try:
        given = _BODY.decode(body).labels
    except msgspec.ValidationError as error:
        raise Refusal(
            422, str(error), fix='send {"labels": [{"id": "...", "row": 0, "label": ...}]}'
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}", fix="send JSON in UTF-8") from error
    for at, one in enumerate(given):
        if one.label in (None, "") and one.value is None:
            raise Refusal(422, f"label {at} has no label", fix="give label, value or both")
    now = round(time.time(), 6)
    return [encoded(one.id, one.row, one.label, one.value, one.model, now) for one in given]


async def take(writer: Writer, body: bytes) -> int:
    """Keep the labels of a request: their number, once they are on the disk.

    Raises:
        Refusal: as `lines`; 503 they can't be kept now (sent again, none counts twice).
    """
    made = lines(body)
    kept = all(writer.add(line) for line in made)
    if not (await writer.durable() and kept):
        raise Refusal(503, "the labels can't be kept now", fix="send all of them again later")
    return len(made)


def read(
    folder: Path, since: Position | None = None, most: int = 16_000_000
) -> tuple[list[Label], Position]:
    """The labels of a folder (`<state>/labels`) behind a position; as `log.read`."""
    return log.decoded(_LINE, folder, since, most)


def encoded(
    id: str, row: int, label: Value, value: float | None, model: str | None, at: float
) -> bytes:
    """A line with its end."""
    return _ENCODER.encode(Label(1, id, row, label, value, at, model)) + b"\n"
