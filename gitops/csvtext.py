"""Reads a delimited text file into a frame of text, cell for cell as Python's csv module does.

polars is fast but forgiving: it fills short rows with nulls and keeps blank lines as rows. So the
layout is checked first, by numpy on the raw bytes. A file of regular layout goes to polars; any
other goes to the csv module, which reads what can be read and names the line of what cannot.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gitops.errors import EvidenceError, Where

SEPARATORS = (",", ";", "\t", "|")
_CHUNK = 1 << 24
_BATCH = 50_000
_QUOTE, _NEWLINE, _RETURN = 34, 10, 13
_FOREIGN = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "unzip it, or save the sheet as CSV"),
    b"\x1f\x8b": ("compressed with gzip", "run `gunzip` on it first"),
    b"BZh": ("compressed with bzip2", "run `bunzip2` on it first"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstandard", "run `unzstd` on it first"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save the sheet as CSV"),
}


@dataclass(frozen=True)
class Text:
    """The cells of a CSV file: every column text, nothing null yet."""

    frame: pl.DataFrame
    separator: str
    encoding: str


def read_text(path: Path, data: bytes) -> Text:
    """Find encoding and separator of `data` and read its cells.

    Raises:
        EvidenceError: not a text file, not UTF-8 (or UTF-16 with a byte order mark), no rows,
            unusable column names, rows of unequal length or an unclosed quote, with the line.
    """
    data, encoding = _decoded(path, data)
    separator = _separator(data)
    names = next(_records(path, data, separator), None)
    if names is None:
        raise EvidenceError(
            "the file is empty", fix="give a file with a header and rows", where=Where(path)
        )
    check_names(path, names[1])
    if _regular(data, ord(separator), len(names[1])):
        frame = pl.read_csv(
            data, separator=separator, infer_schema=False, new_columns=names[1]
        ).with_columns(pl.all().fill_null(""))
    else:
        frame = _read_records(path, data, separator, names[1])
    if not frame.height:
        raise EvidenceError(
            "there is a header but no row", fix="give a file with rows", where=Where(path, names[0])
        )
    return Text(frame, separator, encoding)


def line_of(path: Path, separator: str, row: int) -> int:
    """The line, from 1, on which data row `row` (from 0) of a CSV file begins."""
    data, _ = _decoded(path, path.read_bytes())
    return next(itertools.islice(_records(path, data, separator), row + 1, None))[0]


def check_names(path: Path, names: list[str]) -> None:
    """Refuse column names that cannot be told apart, printed, or that a contract keeps for itself.

    Raises:
        EvidenceError: an empty, reserved, repeated or unprintable name.
    """
    seen: dict[str, int] = {}
    where = Where(path, 1) if path.suffix.lower() != ".parquet" else Where(path)
    for position, name in enumerate(names, start=1):
        if not name.strip():
            fix = "name it in the header (pandas' row index: write with `to_csv(index=False)`)"
            raise EvidenceError(f"column {position} has no name", fix=fix, where=where)
        if any(ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029" for char in name):
            message = f"column {position} has a control character in its name {name!r}"
            raise EvidenceError(message, fix="give it a name of one line", where=where)
        if name == "__id__":
            message = f"column {position} has the name __id__, which is reserved for row identities"
            raise EvidenceError(message, fix="rename it, for example to `id`", where=where)
        if name in seen:
            message = f"columns {seen[name]} and {position} have the same name {name!r}"
            raise EvidenceError(message, fix="rename or remove one of them", where=where)
        seen[name] = position


def _decoded(path: Path, data: bytes) -> tuple[bytes, str]:
    """The text as UTF-8 without a byte order mark, and the name of the encoding it had."""
    for magic, (what, fix) in _FOREIGN.items():
        if data.startswith(magic):
            raise EvidenceError(f"this is {what}, not CSV or Parquet", fix=fix, where=Where(path))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16").encode(), "utf-16"
        except UnicodeError as error:
            message = f"the file begins like UTF-16 but is not: {error}"
            raise EvidenceError(message, fix="save it as UTF-8", where=Where(path)) from error
    encoding = "utf-8"
    if data.startswith(b"\xef\xbb\xbf"):
        data, encoding = data[3:], "utf-8-sig"
    if (offset := data.find(b"\0")) >= 0:
        message = f"this is not a text file: byte {offset} is zero"
        raise EvidenceError(message, fix="give a CSV (as UTF-8) or Parquet file", where=Where(path))
    if not data.isascii():
        _check_utf8(path, data)
    return data, encoding


def _check_utf8(path: Path, data: bytes) -> None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte {error.start} (0x{data[error.start]:02x}) is not UTF-8 text"
        fix = f"save it as UTF-8: `iconv -f WINDOWS-1252 -t UTF-8 {path.name} > new-{path.name}`"
        raise EvidenceError(message, fix=fix, where=Where(path, line)) from error


def _separator(data: bytes) -> str:
    """The separator that splits the header into most fields, and the first records into as many."""
    head = data[: 1 << 18]
    text = head[: head.rfind(b"\n") + 1 or None].decode("utf-8", "replace")

    def score(separator: str) -> float:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            rows = [row for row in itertools.islice(reader, 200) if row]
        except csv.Error:
            return 0
        if not rows or len(rows[0]) < 2:
            return 0
        agreeing = sum(len(row) == len(rows[0]) for row in rows) - 0.5
        return agreeing / len(rows) * len(rows[0])

    return max(SEPARATORS, key=score)


def _records(path: Path, data: bytes, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not a blank line, with the line on which it begins."""
    stream = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
    reader = csv.reader(stream, delimiter=separator, strict=True)
    line = 1
    try:
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        message = f"the record that begins here cannot be read: {error}"
        fix = 'close every quote, and write a quote inside a quoted cell twice: "say ""yes"""'
        raise EvidenceError(message, fix=fix, where=Where(path, line)) from error


def _regular(data: bytes, separator: int, fields: int) -> bool:
    """Whether every record has `fields` cells and quotes stand only around whole cells.

    Works on pieces that end at a record's end; a byte is inside quotes when an odd number of
    quotes came before it in its piece (RFC 4180: a doubled quote leaves that parity as it is).
    """
    if fields == 1 or data.count(b"\r") != data.count(b"\r\n"):
        return False
    whole = np.frombuffer(data, dtype=np.uint8)
    quoted = b'"' in data
    start, size = 0, _CHUNK
    while start < len(whole):
        piece = whole[start : start + size]
        last = start + size >= len(whole)
        ends, cuts = piece == _NEWLINE, piece == separator
        if quoted:
            quotes = piece == _QUOTE
            inside = (np.cumsum(quotes, dtype=np.uint8) & 1).astype(bool)
            ends &= ~inside
            cuts &= ~inside
        stops = np.flatnonzero(ends)
        if last and (not len(stops) or stops[-1] != len(piece) - 1):
            stops = np.append(stops, len(piece))
        if not len(stops):
            size *= 2
            continue
        used = int(stops[-1]) + 1
        if quoted and _stray_quote(piece[:used], quotes[:used], inside[:used], separator):
            return False
        counts = np.diff(np.searchsorted(np.flatnonzero(cuts), stops), prepend=0)
        if (counts != fields - 1).any():
            return False
        start, size = start + used, _CHUNK
    return True


def _stray_quote(piece: np.ndarray, quotes: np.ndarray, inside: np.ndarray, separator: int) -> bool:
    """Whether a quote opens or closes anywhere but at the edge of a cell."""
    edges = [separator, _NEWLINE, _RETURN, _QUOTE]
    at = np.flatnonzero(quotes)
    if not len(at):
        return False
    opening, closing = at[inside[at]], at[~inside[at]]
    before = piece[opening[opening > 0] - 1]
    after = piece[closing[closing < len(piece) - 1] + 1]
    unclosed = bool(inside[-1])
    return unclosed or not (np.isin(before, edges).all() and np.isin(after, edges).all())


def _read_records(path: Path, data: bytes, separator: str, names: list[str]) -> pl.DataFrame:
    """The slow way, in batches."""
    records = itertools.islice(_records(path, data, separator), 1, None)
    schema = dict.fromkeys(names, pl.String)
    frames = [pl.DataFrame(schema=schema)]
    while batch := list(itertools.islice(records, _BATCH)):
        for line, record in batch:
            if len(record) != len(names):
                message = f"this row has {len(record)} cells, the header has {len(names)}"
                fix = "give every row one cell per column; put a cell with a separator in quotes"
                raise EvidenceError(message, fix=fix, where=Where(path, line))
        frames.append(pl.DataFrame([row for _, row in batch], schema=schema, orient="row"))
    return pl.concat(frames)
