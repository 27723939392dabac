"""Plain data (text, number, boolean, None, list, mapping) as one line of YAML, JSON or Python."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

# Text that YAML 1.1 and 1.2 both read back as the same text without quotes.
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NOT_TEXT = frozenset(["true", "false", "yes", "no", "on", "off", "y", "n", "null"])


def as_yaml(value: object) -> str:
    """Flow YAML; every parser of YAML 1.1 or 1.2 reads the same data back.

    Raises:
        TypeError, ValueError: not plain data, or a number that isn't finite (as the others here).
    """
    if isinstance(value, str):
        return _yaml_text(value)
    if isinstance(value, Mapping):
        pairs = [f"{_yaml_text(_key(key))}: {as_yaml(item)}" for key, item in value.items()]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_yaml(item) for item in value) + "]"
    text = as_json(value)
    # YAML 1.1 takes `1e-05` for text: its floats need a point.
    return re.sub(r"^(-?\d+)e", r"\1.0e", text)


def as_json(value: object) -> str:
    """JSON with the text as it is (no escapes beyond those that JSON needs)."""
    check(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def as_python(value: object) -> str:
    """Python source in double quotes where possible, as formatters write it."""
    if isinstance(value, str):
        text = repr(value)
        return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in text else text
    if isinstance(value, Mapping):
        pairs = [f"{as_python(_key(key))}: {as_python(item)}" for key, item in value.items()]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_python(item) for item in value) + "]"
    check(value)
    return repr(value)


def check(value: object) -> None:
    """Raise TypeError or ValueError if `value` isn't plain data with finite numbers."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _key(key)
            check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            check(item)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no spelling in every language")
    elif not (value is None or isinstance(value, str | int)):
        # Str of an undefined variable raises the error that names it.
        raise TypeError(f"{value!s} ({type(value).__name__}) is not plain data")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{key!r} is not text, so it cannot be a key")
    return key


def _yaml_text(text: str) -> str:
    if _BARE.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return '"' + "".join(_yaml_sign(sign) for sign in text) + '"'


def _yaml_sign(sign: str) -> str:
    if sign in '"\\':
        return "\\" + sign
    if sign.isprintable():
        return sign
    number = ord(sign)
    if 0xD800 <= number <= 0xDFFF:
        raise ValueError(f"U+{number:04X} is half of a character")
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(sign)
    return named or (f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}")
