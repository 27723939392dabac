"""Text that somebody else wrote (categories, columns, reasons), made fit to be shown.

Nothing is dropped silently: what can't be seen is shown by its number, what is too long is cut in
the middle with an ellipsis, since names that begin alike often end otherwise. Each report escapes
the result for its own format.
"""

from __future__ import annotations

import re
import unicodedata

from gitops import logtext

LONG = 120  # characters of a name
SENTENCE = 600  # characters of a reason

_SPACE = re.compile(r"\s+")


def clean(text: str, limit: int = LONG) -> str:
    """One line without control, bidirectional or invisible characters, at most `limit` long."""
    # The cut comes first: a name may have megabytes.
    line = _SPACE.sub(" ", logtext.shortened(text, limit)).strip()
    return logtext.shortened(logtext.inert(logtext.visible(line)), 2 * limit) or "(empty)"


def width(text: str) -> int:
    """Cells of a terminal or a code block that `text` takes."""
    return len(text) if text.isascii() else sum(_cells(char) for char in text)


def fit(text: str, cells: int) -> str:
    """`text` padded or, in the middle, cut to exactly `cells` (3 or more): both ends tell."""
    used = width(text)
    if used <= cells:
        return text + " " * (cells - used)
    head = _take(text, cells // 2)
    tail = _take(text[::-1], cells - width(head) - 1)[::-1]
    return fit(f"{head}…{tail}", cells)


def _take(text: str, cells: int) -> str:
    used, taken = 0, 0
    for char in text:
        used += _cells(char)
        if used > cells:
            break
        taken += 1
    return text[:taken]


def _cells(char: str) -> int:
    if unicodedata.combining(char) or char in logtext.JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
