"""Documents altered as documents: they stay JSON (and so YAML), and so get past the parser.

Bytes that are altered blindly are mostly refused as no YAML at all, and what is behind the parser
isn't reached. What isn't a document is left to whoever alters bytes.
"""

from __future__ import annotations

import json
import random
from typing import Any

import yaml

Path = tuple[Any, ...]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, 5e-324),
    *("", " ", "a", "true", "0", "null", "\0", "\n", "\x1b[31m", "\u202e", "\ud800", "é", "💥"),
    *(
        "..",
        "../..",
        "/",
        "/etc/passwd",
        "a/../b",
        "~",
        "C:\\x",
        "a\nb: c",
        "${{ x }}",
        "${x}",
        "%s",
    ),
    *("x" * 5000, "2020-01-01", "2020-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0" * 40, "v1.2.3"),
    *([], {}, [None], [[]], {"": None}, {"a": {}}, [1, "1", 1.0]),
]


def shaken(data: bytes, drawn: random.Random) -> bytes | None:
    """The document with up to three of its values or keys altered; None if `data` is none.

    What stands before the first brace (a name, a length) and isn't part of a document stays.
    """
    head, document = _split(data)
    if document is None:
        return None
    for _ in range(drawn.randint(1, 3)):
        document = _once(document, drawn)
    text = json.dumps(document, ensure_ascii=drawn.random() < 0.5)
    if drawn.random() < 0.02:  # what json.dumps can't say
        text = text.replace("1", drawn.choice(["1" * 5000, "1e999", "NaN", "[" * 3000]), 1)
    return head + text.encode("utf-8", "surrogatepass")


def _split(data: bytes) -> tuple[bytes, Any]:
    brace = data.find(b"{")
    for start in (0, brace) if brace > 0 else (0,):
        try:
            found = yaml.load(data[start:].decode(), _LOADER)  # a safe one
            found = json.loads(json.dumps(found, default=str))
        except Exception:  # whatever it is, no document
            continue
        if isinstance(found, dict | list) and found:
            return data[:start], found
    return b"", None


def _once(document: Any, drawn: random.Random) -> Any:
    places = list(_places(document, ()))
    at = drawn.choice(places)
    what = drawn.choice(["value", "value", "other", "drop", "key", "again", "wrap", "near"])
    parent, last = _parent(document, at)
    if parent is None:
        return document
    old = parent[last]
    if what == "drop":
        del parent[last]
    elif what == "key" and isinstance(parent, dict):
        parent[str(drawn.choice([*VALUES, *(one[-1] for one in places if one)]))] = old
    elif what == "again" and isinstance(parent, list):
        parent.extend([_copy(old)] * drawn.choice([1, 1, 30]))
    elif what == "wrap":
        parent[last] = drawn.choice([[old], {"a": old}, str(old)])
    elif what == "near" and isinstance(old, str | int | float):
        parent[last] = _near(old, drawn)
    elif what == "other":
        parent[last] = _copy(_value(document, drawn.choice(places)))
    else:
        parent[last] = _copy(drawn.choice(VALUES))
    return document


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _near(old: Any, drawn: random.Random) -> Any:
    if not isinstance(old, str):
        return drawn.choice([-old, old + 1, old * 10**6, old // 7])
    at = drawn.randint(0, len(old))
    piece = drawn.choice(["", "\n", "/", "..", "@", "#", ":", "\0", " ", "-", "0", "A", "é", "$"])
    return old[:at] + piece + old[at + drawn.randint(0, 2) :]


def _places(value: Any, at: Path) -> Any:
    yield at
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(below, (*at, key))


def _value(document: Any, at: Path) -> Any:
    for step in at:
        document = document[step]
    return document


def _parent(document: Any, at: Path) -> tuple[Any, Any]:
    return (_value(document, at[:-1]), at[-1]) if at else (None, None)
