"""Text that somebody else wrote, on its way into a log: logs are read for commands and escapes."""

from __future__ import annotations

import json
import re
import unicodedata

# Azure finds `##vso[` anywhere in a line, GitHub `::` at its start.
_COMMAND = re.compile(r"##(?=(vso)?\[)|(?<!\S)::(?=\w)", re.IGNORECASE)
# What JSON may hold as it is, and a terminal obeys: controls, and what turns text around.
_UNSEEN = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
# Joiners that emoji and scripts are spelt with; they turn nothing around.
JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")


def inert(text: str) -> str:
    """`text` in which no CI system finds a command: the first character by its number."""
    return _COMMAND.sub(lambda found: _number(found[0][0]) + found[0][1:], text)


def visible(text: str) -> str:
    """Control, bidirectional and invisible characters by their number, as `\\u{202e}`."""
    return text if text.isprintable() else "".join(_visible(char) for char in text)


def lines(text: str) -> str:
    """`text` of several lines, visible and inert."""
    return "\n".join(inert(visible(line)) for line in text.split("\n"))


def document(value: object) -> str:
    """Readable JSON of the same value, in which no CI system finds a command."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    text = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return re.sub(r"##(?=(vso)?\[)", r"\\u0023#", text, flags=re.IGNORECASE)


def _visible(char: str) -> str:
    if char in JOINERS or unicodedata.category(char)[0] != "C":
        return char
    return _number(char)


def _number(char: str) -> str:
    return f"\\u{{{ord(char):04x}}}"
