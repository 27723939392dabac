"""The JSON Schemas that the stages meet at, and the strict reading of JSON.

A document passes between stages as a file; its schema is `<name>.schema.json` beside this module
(JSON Schema, draft 2020-12). Examples that must pass and must fail: `tests/contracts/<name>/`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import date, datetime
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops.errors import EvidenceError, Where

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

_FOLDER = Path(__file__).resolve().parent
_SUFFIX = ".schema.json"
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[{}\[\],:]')
_SHOWN = 40  # digits
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "number": "a finite number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}
_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} keys",
    "uniqueItems": "no item twice",
    "contains": "an item like {}",
}


def names() -> tuple[str, ...]:
    """The names of all contracts, sorted."""
    return tuple(sorted(path.name.removesuffix(_SUFFIX) for path in _FOLDER.glob(f"*{_SUFFIX}")))


@cache
def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of contract `name` (shared between callers: don't change it)."""
    loaded: dict[str, Any] = json.loads((_FOLDER / f"{name}{_SUFFIX}").read_text("utf-8"))
    return loaded


def validate(name: str, document: object, where: Where) -> None:
    """Hold `document` against contract `name`.

    NaN and infinities are no numbers here, and a boolean is no number. `format` is enforced for
    `date` and `date-time` (RFC 3339).

    Raises:
        EvidenceError: with the JSON path, the bad value and what is expected; `where` is its place.
    """
    from jsonschema.exceptions import best_match

    plain: Any = document
    try:
        json.dumps(plain, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as cause:  # JSON can write half of a character; nothing else can
        message = f"{cause.object[cause.start]!a} is half of a character"
        raise EvidenceError(message, fix="write the text anew", where=where) from cause
    error = best_match(_validator(name).iter_errors(plain))
    if error is not None:
        message, fix = _explained(error)
        raise EvidenceError(
            f"{error.json_path}: {message}",
            fix=f"{fix} (contract `{name}`; `gitops schema {name}` shows it)",
            where=where,
        )


def read_json(path: Path) -> object:
    """Read one JSON document, more strictly than Python does.

    Raises:
        EvidenceError: the file is missing, not UTF-8 or not JSON; has NaN, an infinity or a number
            too large for a double; a key twice in one object; or more text behind the document.
            With line and column.
    """
    return parse_json(_text(path), path)


def parse_json(text: str, path: Path) -> object:
    """`read_json` of a text, which errors call `path`."""
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_whole,
        )
    except json.JSONDecodeError as error:
        raise EvidenceError(
            f"not JSON: {error.msg}",
            fix="write one JSON document and nothing else",
            where=Where(path, error.lineno, error.colno),
        ) from error
    except RecursionError as error:
        message = "nested too deeply to be one of our documents"
        raise EvidenceError(message, fix="write the file anew", where=Where(path)) from error
    except _Refused as refused:
        message, offset = next(_faults(text), (str(refused), 0))
        line = text.count("\n", 0, offset) + 1
        column = offset - (text.rfind("\n", 0, offset) + 1) + 1
        raise EvidenceError(
            message,
            fix="write the key once" if "twice" in message else "write a finite number, or null",
            where=Where(path, line, column),
        ) from refused


class _Refused(Exception):
    """JSON that Python accepts and we don't; `_faults` finds its place."""


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        message = "there is no such file"
        raise EvidenceError(message, fix="build or fetch it", where=Where(path)) from error
    except OSError as error:
        message = f"can't be read: {error.strerror}"
        raise EvidenceError(
            message, fix="give a file that you may read", where=Where(path)
        ) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        raise EvidenceError(
            f"not UTF-8: byte 0x{data[error.start]:02x}",
            fix="save the file as UTF-8",
            where=Where(path, data.count(b"\n", 0, error.start) + 1, error.start - start + 1),
        ) from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("a key twice in one object")
    return found


def _refuse(text: str) -> object:
    raise _Refused(f"{text} is not a number that JSON knows")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(f"{text[:_SHOWN]} is too large for a double")
    return value


def _whole(text: str) -> int:
    _finite(text)  # Python refuses thousands of digits, and what calculates takes doubles
    return int(text)


def _faults(text: str) -> Iterator[tuple[str, int]]:
    """What `_Refused` meant, with offsets in the text (of JSON that is otherwise well formed)."""
    open_objects: list[set[str]] = []
    tokens = list(_TOKEN.finditer(text))
    for position, token in enumerate(tokens):
        word = token.group()
        if word in "{[":
            open_objects.append(set())
        elif word in "}]":
            open_objects.pop()
        elif word.startswith('"'):
            if position + 1 < len(tokens) and tokens[position + 1].group() == ":":
                key = json.loads(word)
                if key in open_objects[-1]:
                    yield f"key {word} twice in one object", token.start()
                open_objects[-1].add(key)
        elif word in {"NaN", "Infinity", "-Infinity"}:
            yield f"{word} is not a number that JSON knows", token.start()
        elif word not in ",:" and not math.isfinite(float(word)):
            yield f"{word[:_SHOWN]} is too large for a double", token.start()


@cache
def _validator(name: str) -> Validator:
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.validators import extend

    def number(_: object, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        try:
            return math.isfinite(value)
        except OverflowError:  # an integer that is too large for a double
            return False

    def integer(checker: object, value: object) -> bool:
        return number(checker, value) and not isinstance(value, float)

    formats = FormatChecker(formats=())
    formats.checks("date-time", raises=ValueError)(_is_date_time)
    formats.checks("date", raises=ValueError)(_is_date)
    types = Draft202012Validator.TYPE_CHECKER.redefine_many({"number": number, "integer": integer})
    strict: Any = extend(Draft202012Validator, {"pattern": _pattern}, type_checker=types)  # type: ignore[no-untyped-call]
    made: Validator = strict(schema(name), format_checker=formats)
    return made


def _pattern(
    _validator: Validator, pattern: str, value: object, _schema: object
) -> Iterator[ValidationError]:
    """`$` is the end of the text, as in ECMA 262; Python's would let a line break through."""
    from jsonschema.exceptions import ValidationError

    if isinstance(value, str) and not re.search(re.sub(r"(?<!\\)\$", r"\\Z", pattern), value):
        yield ValidationError(f"doesn't match {pattern}")


def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    return bool(_DATE_TIME.fullmatch(value)) and bool(datetime.fromisoformat(value.upper()))


def _is_date(value: object) -> bool:
    return not isinstance(value, str) or (len(value) == 10 and bool(date.fromisoformat(value)))


def _explained(error: ValidationError) -> tuple[str, str]:
    """Message and fix for one violation."""
    instance: Any = error.instance
    wanted: Any = error.validator_value
    value, rule = _shown(instance), str(error.validator)
    if rule == "additionalProperties" and isinstance(error.schema, dict):
        return _unknown_key(instance, error.schema)
    if rule == "required":
        missing = next(key for key in wanted if key not in instance)
        return f"{missing!r} is missing", f"add {missing!r}"
    if rule == "not":
        return f"{value} must not be here", "remove it"
    if rule == "oneOf" and all(set(one) == {"required"} for one in wanted):
        keys = ", ".join(repr(key) for one in wanted for key in one["required"])
        return f"exactly one of {keys} must be here", "write one, and remove the others"
    if rule == "dependentRequired":
        beside, missing = next(
            (key, other)
            for key, others in wanted.items()
            for other in others
            if key in instance and other not in instance
        )
        return f"{missing!r} is missing beside {beside!r}", f"add {missing!r}"
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        expected = " or ".join(_TYPES[kind] for kind in kinds)
        return f"{value} is not {expected}", f"write {expected}"
    if rule in {"enum", "const"}:
        allowed = [wanted] if rule == "const" else wanted
        near = get_close_matches(str(instance), [str(one) for one in allowed], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        expected = "one of " * (len(allowed) > 1) + ", ".join(_shown(one) for one in allowed)
        return f"{value} is not {expected}{hint}", f"write {expected}"
    if rule in {"pattern", "format"}:
        what = error.schema.get("description", wanted) if isinstance(error.schema, dict) else wanted
        return f"{value} doesn't match {wanted}", f"write: {what}"
    if rule in _LIMITS:
        limit = _LIMITS[rule].format(_shown(wanted))
        return f"{value} breaks the rule: {limit}", f"write {limit}"
    return f"{value}: {error.message[:200]}", "correct it"


def _unknown_key(instance: dict[str, Any], rules: dict[str, Any]) -> tuple[str, str]:
    known, patterns = list(rules.get("properties", {})), list(rules.get("patternProperties", {}))
    extra = next(
        key
        for key in instance
        if key not in known and not any(re.search(pattern, key) for pattern in patterns)
    )
    near = get_close_matches(extra, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown key {extra!r}{hint}", f"use only: {', '.join(known + patterns)}"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}..."
