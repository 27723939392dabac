"""The prediction log: one line for each request, `<state>/log/<model>/<segment>.jsonl`.

    {"v":1,"id":"...","at":1764100000.123456,"model":"late","release":"late@v1.3.0",
     "variant":"champion","key":null,"share":5,"salt":"late#production#8","rows":1,
     "features":{"rows":[{...}]},"predictions":["true"],"scores":[0.7],"ms":0.41,"status":200,
     "error":null}

`writer.py` says what a crash may lose, `segments.py` how segments are named and ordered.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeVar

import msgspec

from gitops.serve import segments
from gitops.serve.segments import Position
from gitops.serve.writer import Writer

T = TypeVar("T")
Variant = Literal["champion", "challenger", "shadow"]
LONGEST_FEATURES = 1_000_000  # bytes; longer ones are left out of the line
_MB = 1_000_000
_NULL = msgspec.Raw(b"null")


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """A line: one request, as one release answered it.

    `at` is seconds since 1970, `share` the challenger's share in percent at that moment, `ms`
    milliseconds. A failed request has `status` >= 500, `error`, and no predictions. `scores`:
    for each row the probability of the positive class (binary), or those of all classes.
    """

    v: Literal[1]
    id: str
    at: float
    model: str
    release: str
    variant: Variant
    key: str | None
    share: Annotated[float, msgspec.Meta(ge=0, le=100)] | None
    salt: str | None
    rows: Annotated[int, msgspec.Meta(ge=0)]
    features: msgspec.Raw
    predictions: list[str | float] | None
    scores: list[float | list[float]] | None
    ms: Annotated[float, msgspec.Meta(ge=0)]
    status: int
    error: str | None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Prediction)
_ROWS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_COLUMNS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Settings(Protocol):
    """What `serve.log` of gitops.yaml says."""

    @property
    def sync_seconds(self) -> float: ...
    @property
    def segment_mb(self) -> int: ...
    @property
    def keep_mb(self) -> int: ...


def open(state: Path, model: str, settings: Settings) -> Writer:
    """The writer of a model's log in a state folder; touches the disk at the first line."""
    return Writer(
        state / "log" / model,
        sync_seconds=settings.sync_seconds,
        segment_bytes=settings.segment_mb * _MB,
        keep_bytes=settings.keep_mb * _MB,
    )


def line(
    *,
    id: str,
    model: str,
    release: str,
    variant: Variant,
    rows: int,
    features: msgspec.Raw | None,
    predictions: Sequence[str | float] | None,
    scores: Sequence[float | Sequence[float]] | None,
    ms: float,
    key: str | None = None,
    share: float | None = None,
    salt: str | None = None,
    status: int = 200,
    error: str | None = None,
    at: float | None = None,
) -> bytes:
    """One line with its end; `features` are what `features` gives, `at` is now by default.

    `key` is the request's own, or its `pseudonym` where the key's column is redacted. `error` must
    hold no value of an input: a kind and a place, not an exception's text.
    """
    made = Prediction(
        1,
        id,
        round(time.time(), 6) if at is None else at,
        model,
        release,
        variant,
        key,
        share,
        salt,
        rows,
        features or _NULL,
        predictions,  # type: ignore[arg-type]  # any sequence is encoded as a list
        scores,  # type: ignore[arg-type]
        round(ms, 3),
        status,
        error,
    )
    return _ENCODER.encode(made) + b"\n"


def features(
    kind: Literal["rows", "columns"], raw: bytes | msgspec.Raw, redact: Collection[str] = ()
) -> msgspec.Raw | None:
    """A request's `rows` or `columns`, as JSON that was read without an error, for a line.

    They are embedded as they came, save for the columns `redact`. None, so that a line has none:
    longer than `LONGEST_FEATURES`, or something to redact and no such table.
    """
    text = bytes(raw)
    if redact:
        try:
            text = _redacted(kind, text, redact)
        except msgspec.MsgspecError:
            return None
    elif b"\n" in text or b"\r" in text:  # between values: within a text JSON has them escaped
        text = text.replace(b"\n", b" ").replace(b"\r", b" ")
    if len(text) > LONGEST_FEATURES:
        return None
    return msgspec.Raw(b'{"%b":%b}' % (kind.encode(), text))


def _redacted(kind: str, text: bytes, redact: Collection[str]) -> bytes:
    if kind == "rows":
        found: object = [
            {name: value for name, value in row.items() if name not in redact}
            for row in _ROWS.decode(text)
        ]
    else:
        table = _COLUMNS.decode(text)
        found = {name: value for name, value in table.items() if name not in redact}
    return _ENCODER.encode(found).replace(b"\n", b" ").replace(b"\r", b" ")


def sampled(id: str, share: float) -> bool:
    """Whether the request is among the `share` that is logged: the same for each release's line.

    By the first 8 bytes of BLAKE2b of the id's UTF-8, big-endian, over 2^64.
    """
    if share >= 1:
        return True
    if share <= 0:
        return False
    digest = hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def pseudonym(secret: bytes, key: str) -> str:
    """What stands for a key whose column is redacted: equal keys stay equal."""
    return hashlib.blake2b(
        key.encode("utf-8", "surrogatepass"), key=secret, digest_size=8
    ).hexdigest()


def secret(state: Path) -> bytes:
    """The 32 bytes that pseudonyms of a state folder are made with; made at the first call."""
    path = state / "log-secret"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".log-secret.{os.getpid()}")
        temporary.touch(0o600)
        temporary.write_bytes(os.urandom(32))
        try:
            os.link(temporary, path)  # the first process's, whoever else makes one
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_bytes()


def read(
    folder: Path, since: Position | None = None, most: int = 16_000_000
) -> tuple[list[Prediction], Position]:
    """The lines of a model's log (`<state>/log/<model>`) behind a position, and the one behind.

    At most about `most` bytes of lines at once: go on until there are none. In the order of the
    segments, so lines of several processes aren't sorted by time. What is no line of ours is
    skipped and counted in `Position.bad`; a line without its end isn't read yet. After a disk that
    failed a line may come twice; `join` takes it once.
    """
    return decoded(_DECODER, folder, since, most)


def everything(folder: Path) -> Iterator[Prediction]:
    """All lines of a model's log, one after the other."""
    position = Position()
    while True:
        found, position = read(folder, position)
        if not found:
            return
        yield from found


def decoded(
    decoder: msgspec.json.Decoder[T], folder: Path, since: Position | None, most: int
) -> tuple[list[T], Position]:
    """What `read` says, for lines of any kind."""
    start = since or Position()
    while True:
        raw, position = segments.read(folder, start, most)
        found, bad = [], position.bad
        for text in raw:
            try:
                found.append(decoder.decode(text))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                bad += 1
        position = Position(position.offsets, bad)
        if found or not raw:
            return found, position
        start = position
