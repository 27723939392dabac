"""Text on its way into a log, which CI systems read for commands, and terminals for escapes.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions,
https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Literal

Platform = Literal["github", "azure"]
Level = Literal["error", "warning", "notice"]

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


def shortened(text: str, longest: int) -> str:
    """`text`, or as much of both its ends: of many long names each ends otherwise."""
    if len(text) <= longest:
        return text
    head = longest // 2
    return f"{text[:head]}…{text[head + 1 - longest :]}"


def lines(text: str) -> str:
    """`text` of several lines, visible and inert."""
    return "\n".join(inert(visible(line)) for line in text.split("\n"))


def document(value: object) -> str:
    """Readable JSON of the same value, in which no CI system finds a command."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    text = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return re.sub(r"##(?=(vso)?\[)", r"\\u0023#", text, flags=re.IGNORECASE)


def annotation(
    platform: Platform,
    level: Level,
    title: str,
    text: str,
    *,
    file: str,
    line: int | None = None,
    column: int | None = None,
) -> str:
    """A line of the log that is shown beside a line of a file.

    Azure has errors and warnings only: a notice is a plain line there.
    """
    if platform == "github":
        place = "".join(f",{key}={at}" for key, at in (("line", line), ("col", column)) if at)
        head = f"{level} file={_escaped(file, ':,')}{place},title={_escaped(title, ':,')}"
        return f"::{head}::{_escaped(text)}"
    if level == "notice":
        return f"{title}: {text}"
    place = f"linenumber={line or 1}" + (f";columnnumber={column}" if column else "")
    path = _escaped(file, ";]", percent="%AZP25")
    text = _escaped(f"{title}: {text}", percent="%AZP25")
    return f"##vso[task.logissue type={level};sourcepath={path};{place}]{text}"


def _escaped(text: str, more: str = "", percent: str = "%25") -> str:
    """`%`, CR and LF, and what ends a property, by their numbers."""
    text = text.replace("%", percent)
    for char in "\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def _visible(char: str) -> str:
    if char in JOINERS or unicodedata.category(char)[0] != "C":
        return char
    return _number(char)


def _number(char: str) -> str:
    return f"\\u{{{ord(char):04x}}}"
