"""JSON bodies to rows: at C speed where they are right, with the exact place where they aren't.

A request is decoded by msgspec into structs made of the signature. Only a body that this refuses is
looked at a second time, value by value, to say what is wrong where.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from gitops.serve.refusal import Refusal
from gitops.serve.rows import TIME, Policy, Rows, Tensors, instant, missing, speaks_text
from gitops.signature import Input, Signature

ID = msgspec.Meta(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")
_FORMS = ("row", "rows", "columns")
_EMPTY = msgspec.UNSET


class Decoder:
    """Decodes the bodies of one model's requests.

    `extras`: columns that a request may have although this model doesn't take them (another
    variant's, the row's id); `key`: the column that names the unit of a rollout.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        policy: Policy = Policy(),  # noqa: B008
        extras: frozenset[str] = frozenset(),
        key: str | None = None,
        most_rows: int = 10_000,
    ) -> None:
        self.signature = signature
        self.most_rows = most_rows
        self.key = key
        self.tensors = Tensors(signature, policy)
        self.names = [item.name for item in signature.inputs]
        known = extras | ({key} if key else frozenset()) | ({signature.id} - {None})
        self.extras = sorted(name for name in known if name and name not in self.names)
        self.key_at = self._position(key)
        self._decode = self._decoder()

    def __call__(self, body: bytes) -> Rows:
        """The rows of a request's body.

        Raises:
            Refusal: 400 no JSON; 413 too many rows; 422 not what the signature says.
        """
        try:
            parsed = self._decode(body)
            columns, height = self._columns(parsed)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self.fault(body, error) from error
        key = None
        if self.key_at is not None:
            value = columns[self.key_at][0]
            key = None if value is None or value is _EMPTY else str(value)[:256]
        request_id = None if parsed.id is _EMPTY else parsed.id
        return self.tensors.rows(columns[: len(self.names)], height, key, request_id)

    def _columns(self, parsed: Any) -> tuple[tuple[Sequence[Any], ...], int]:  # noqa: ANN401
        as_tuple = msgspec.structs.astuple
        if (
            parsed.row is not _EMPTY and parsed.rows is parsed.columns is _EMPTY
        ):  # the most frequent
            return tuple([(value,) for value in as_tuple(parsed.row)]), 1
        given = [form for form in _FORMS if getattr(parsed, form) is not _EMPTY]
        if len(given) != 1:
            raise msgspec.ValidationError("one of row, rows and columns")
        if given[0] == "rows":
            self.count(len(parsed.rows))
            return tuple(zip(*map(as_tuple, parsed.rows), strict=True)), len(parsed.rows)
        columns = as_tuple(parsed.columns)
        heights = {len(values) for values in columns if values is not _EMPTY}
        if len(heights) != 1:
            raise msgspec.ValidationError("columns of one length")
        self.count(height := heights.pop())
        return tuple([None] * height if v is _EMPTY else v for v in columns), height

    def count(self, height: int) -> None:
        """Raises Refusal: 422 for no rows, 413 for too many."""
        if not height:
            raise Refusal(422, "there are no rows", fix="give at least one row")
        if height > self.most_rows:
            raise Refusal(
                413,
                f"{height:,} rows in one request",
                fix=f"send at most {self.most_rows:,} rows at a time",
            )

    def _position(self, key: str | None) -> int | None:
        names = [*self.names, *self.extras]
        return names.index(key) if key in names else None

    def _decoder(self) -> Callable[[bytes], Any]:
        names = [*self.names, *self.extras]
        rename = {f"f{at}": name for at, name in enumerate(names)}
        types = [_type(item) for item in self.signature.inputs]

        def struct(title: str, wrap: Callable[[Any], Any]) -> type[msgspec.Struct]:
            fields: list[Any] = [(f"f{at}", wrap(kind)) for at, kind in enumerate(types)]
            scalar = wrap(str | int | float | bool | None) | msgspec.UnsetType
            fields += [(f"f{at}", scalar, _EMPTY) for at in range(len(types), len(names))]
            return msgspec.defstruct(
                title, fields, rename=rename, forbid_unknown_fields=True, gc=False
            )

        row = struct("Row", lambda kind: kind)
        columns = struct("Columns", lambda kind: list[kind])  # type: ignore[valid-type]
        body = msgspec.defstruct(
            "Body",
            [
                ("id", _annotated_id() | msgspec.UnsetType, _EMPTY),
                ("row", row | msgspec.UnsetType, _EMPTY),
                ("rows", list[row] | msgspec.UnsetType, _EMPTY),  # type: ignore[valid-type]
                ("columns", columns | msgspec.UnsetType, _EMPTY),
            ],
            forbid_unknown_fields=True,
        )
        return msgspec.json.Decoder(body).decode

    # ------------------------------------------------------------ what is wrong, and where

    def fault(self, body: bytes, error: Exception) -> Refusal:
        """What is wrong with a body that can't be decoded."""
        document = _document(body)
        if isinstance(document, Refusal):
            return document
        if not isinstance(document, dict):
            return Refusal(
                422, "the body is not an object", fix='send {"rows": [{...}]}', value=document
            )
        if extra := [name for name in document if name not in ("id", *_FORMS)]:
            return Refusal(
                422, "unknown key", fix="the body has id, and row, rows or columns", value=extra[0]
            )
        forms = [form for form in _FORMS if form in document]
        if len(forms) != 1:
            return Refusal(
                422,
                f"the body has {' and '.join(forms) or 'no rows'}",
                fix='send one of {"row": {...}}, {"rows": [{...}]}, {"columns": {...}}',
            )
        found = self._fault_in(forms[0], document[forms[0]])
        if found is None and not isinstance(error, msgspec.ValidationError):
            # Python takes more than JSON is, such as half of a surrogate pair.
            return Refusal(400, f"the body is not JSON: {str(error)[:100]}", fix="send UTF-8")
        return found or Refusal(
            422,
            "the id is not one" if "id" in document else str(error)[:200],
            fix="an id is text of 1 to 128 printable ASCII characters without spaces",
            value=document.get("id"),
        )

    def _fault_in(self, form: str, given: object) -> Refusal | None:
        if form == "columns":
            return self._fault_of_columns(given)
        rows = [given] if form == "row" else given
        if not isinstance(rows, list):
            return Refusal(422, "rows is not a list", fix="send a list of objects", value=given)
        for at, row in enumerate(rows):
            if not isinstance(row, dict):
                return Refusal(422, "not an object", fix="a row is an object", row=at, value=row)
            if found := self._fault_of_names(row, at):
                return found
            for item in self.signature.inputs:
                if what := wrong(item, row[item.name]):
                    return Refusal(
                        422, what[0], fix=what[1], row=at, column=item.name, value=row[item.name]
                    )
            for name in self.extras:
                if isinstance(row.get(name), dict | list):
                    return Refusal(
                        422, "not a plain value", fix="give text, a number, true, false or null",
                        row=at, column=name, value=row[name],
                    )  # fmt: skip
        return None

    def _fault_of_columns(self, given: object) -> Refusal | None:
        if not isinstance(given, dict):
            return Refusal(
                422, "columns is not an object", fix="send lists by column name", value=given
            )
        if found := self._fault_of_names(given, None):
            return found
        for name, values in given.items():
            if not isinstance(values, list):
                return Refusal(
                    422, "not a list", fix="a column is a list", column=name, value=values
                )
        for item in self.signature.inputs:
            for at, value in enumerate(given[item.name]):
                if what := wrong(item, value):
                    return Refusal(422, what[0], fix=what[1], row=at, column=item.name, value=value)
        heights = {name: len(values) for name, values in given.items()}
        if len(set(heights.values())) > 1:
            short = min(heights, key=heights.__getitem__)
            message = f"{heights[short]} values where another column has {max(heights.values())}"
            return Refusal(422, message, fix="give every column as many", column=short)
        return None

    def _fault_of_names(self, given: dict[str, Any], row: int | None) -> Refusal | None:
        known = [*self.names, *self.extras]
        absent = [name for name in self.names if name not in given]
        unknown = [name for name in given if name not in known]
        if unknown:
            near = get_close_matches(unknown[0][:100], known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            fix = f"{hint}the columns are {_listed(known)}"
            return Refusal(422, "unknown column", fix=fix, row=row, value=unknown[0])
        if absent:
            return Refusal(
                422,
                "the column is missing",
                fix="give every column; a missing value is null",
                row=row,
                column=absent[0],
            )
        return None


def wrong(item: Input, value: object) -> tuple[str, str] | None:
    """What is wrong with a JSON value of an input, and what would be right; None if it is right."""
    if missing(item, value):
        if item.nullable:
            return None
        return "a missing value, and the model takes none", "give a value"
    if item.type == "number":
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "not a number", "give a number"
        finite = abs(value) <= 1.7976931348623157e308  # an int may be beyond what math takes
        return None if finite else ("not a finite number", "give a finite number, or null")
    if item.type == "boolean":
        return None if isinstance(value, bool) else ("not a boolean", "give true or false")
    if item.type == "datetime":
        is_time = isinstance(value, str) and instant(value) is not None
        return None if is_time else ("no time", f"give {TIME}")
    if isinstance(value, str):
        return None
    if speaks_text(item) or not isinstance(value, int | float) or not math.isfinite(value):
        return "not text", "give text"
    return None


def _type(item: Input) -> Any:  # noqa: ANN401
    """What msgspec takes for a value of an input."""
    kinds: dict[str, Any] = {"number": float, "boolean": bool, "datetime": str, "categorical": str}
    kind = kinds[item.type]
    if item.type == "categorical":
        if not item.nullable:
            kind = _text()
        if not speaks_text(item):
            kind = kind | int | float | bool
    return kind | None if item.nullable else kind


def _text() -> Any:  # noqa: ANN401
    from typing import Annotated

    return Annotated[str, msgspec.Meta(min_length=1)]


def _annotated_id() -> Any:  # noqa: ANN401
    from typing import Annotated

    return Annotated[str, ID]


def _document(body: bytes) -> object:
    """The body as plain JSON, NaN and infinities taken too so that their place can be told."""
    try:
        return json.loads(body.decode())
    except RecursionError:
        return Refusal(400, "nested too deeply", fix='send {"rows": [{...}]}')
    except UnicodeDecodeError:
        return Refusal(400, "the body is not UTF-8", fix="send JSON in UTF-8")
    except ValueError as error:
        return Refusal(
            400, f"the body is not JSON: {str(error)[:100]}", fix="send one JSON document"
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
