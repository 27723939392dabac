"""What people and programs see: results on stdout, progress and errors on stderr.

Colour only on a terminal, and never with NO_COLOR (https://no-color.org).
"""

from __future__ import annotations

import os
import re
import sys
import traceback
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from gitops import __version__, hidden, logtext
from gitops.errors import GitopsError

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
_STYLED = re.compile(rf"(\x1b\[(?:0|{'|'.join(map(str, _CODES.values()))})m)")


def style(text: str, kind: str, stream: TextIO | None = None) -> str:
    """`text` in a colour or weight, where `stream` (default stdout) shows it."""
    target = stream or sys.stdout
    if "NO_COLOR" in os.environ or not target.isatty() or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_CODES[kind]}m{text}\x1b[0m"


def out(text: str = "") -> None:
    """A line of the result, in which nothing is obeyed but what `style` has put there."""
    raw(_shown(text))


def raw(text: str) -> None:
    """What programs read, as it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A line of progress."""
    text = logtext.lines(hidden.masked(text))
    sys.stderr.write(style(f"· {text}", "dim", sys.stderr) + "\n")
    sys.stderr.flush()


def aside(text: str) -> None:
    """What explains a refusal: it is no result, so it goes where errors go."""
    sys.stderr.write(_shown(text) + "\n")
    sys.stderr.flush()


def _shown(text: str) -> str:
    parts = _STYLED.split(hidden.masked(text))
    parts[::2] = ["\t".join(map(logtext.lines, one.split("\t"))) for one in parts[::2]]
    return "".join(parts)


def ask(question: str, default: str) -> str:
    """What a person answers on the terminal; Enter takes the default.

    Raises:
        KeyboardInterrupt: Ctrl-C or Ctrl-D.
    """
    import select
    import signal

    sys.stderr.write(f"{question} [{default}]: " if default else f"{question}: ")
    sys.stderr.flush()
    # A Ctrl-C just before the read begins would wait for the next Enter, and under Polars'
    # handler any would. So what waits is woken by either: see `signal.set_wakeup_fd`.
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    try:
        select.select([sys.stdin, told], [], [])
        answer = sys.stdin.readline()
    finally:
        signal.set_wakeup_fd(before)
        os.close(told)
        os.close(tell)
    if not answer:
        raise KeyboardInterrupt
    return answer.strip() or default


def document(value: object) -> None:
    """The one JSON document of `--json`."""
    raw(hidden.masked(as_text(value)))


def as_text(value: object) -> str:
    """A document as readable JSON."""
    return logtext.document(value)


def error(problem: GitopsError) -> None:
    """An error that we expect: what, where, and the fix."""
    place = f"{problem.where}: " if problem.where else ""
    text = logtext.lines(hidden.masked(f"{place}{problem.message}"))
    sys.stderr.write(f"{style('error:', 'red', sys.stderr)} {text}\n")
    if problem.fix:
        fix = logtext.lines(hidden.masked(problem.fix))
        sys.stderr.write(f"  {style('fix:', 'green', sys.stderr)} {fix}\n")


def bug(problem: BaseException) -> None:
    """An error that we didn't expect."""
    text = logtext.lines(hidden.masked(f"{type(problem).__name__}: {problem}"))
    sys.stderr.write(
        f"{style('bug:', 'red', sys.stderr)} {text}\n"
        f"  This is a fault of gitops {__version__}, not of yours."
        " Run the command again with --debug for the traceback, and report it.\n"
    )


def trace(problem: BaseException) -> None:
    """The traceback of an error, for --debug."""
    lines = traceback.format_exception(problem)
    sys.stderr.write(hidden.masked("".join(lines)))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns; wide characters count as two cells."""
    widths = [max(map(_width, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in [head, *rows]:
        cells = [
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    lines[0] = style(lines[0], "bold")
    out("\n".join(lines))


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
