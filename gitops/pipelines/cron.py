"""Cron lines as both platforms read them: five fields in UTC.

https://docs.github.com/actions/reference/events-that-trigger-workflows#schedule (POSIX cron, at
most every five minutes); https://learn.microsoft.com/azure/devops/pipelines/process/scheduled-triggers
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import pairwise

_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    (
        "month",
        1,
        12,
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
    ),
    ("weekday", 0, 6, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")),
)
_PART = re.compile(r"(?:(?P<all>\*)|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?")
FIX = 'write minute, hour, day, month and weekday, as "17 3 * * MON"'
_LEAP = 8 * 366  # days within which every date of the calendar comes once
_CLOSEST = 5  # minutes


def problem(line: str) -> str:
    """What is wrong with a cron line, in words; empty if nothing is."""
    try:
        fields = _parse(line)
    except ValueError as error:
        return str(error)
    if not _fires(line, fields):
        return "never fires: no month has such a day"
    minutes = sorted(fields[0])
    wrapped = [*minutes, minutes[0] + 60] if len(fields[1]) == 24 else minutes
    if any(b - a < _CLOSEST for a, b in pairwise(wrapped)):
        return f"fires more often than every {_CLOSEST} minutes, which GitHub doesn't do"
    return ""


def _parse(line: str) -> list[set[int]]:
    parts = line.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"has {len(parts)} fields, not minute, hour, day, month and weekday")
    return [_field(text, *rule) for text, rule in zip(parts, _FIELDS, strict=True)]


def _field(text: str, name: str, low: int, high: int, words: tuple[str, ...]) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"has {part!r} as {name}")
        first, last = low, high
        if not match["all"]:
            first = _number(match["low"], name, low, high, words)
            last = first
            if match["high"]:
                last = _number(match["high"], name, low, high, words)
            elif match["step"]:
                last = high
        step = int(match["step"] or 1)
        if step == 0 or first > last:
            raise ValueError(f"has {part!r} as {name}")
        found |= set(range(first, last + 1, step))
    return found


def _number(text: str, name: str, low: int, high: int, words: tuple[str, ...]) -> int:
    if text.upper() in words:
        return words.index(text.upper()) + low
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(f"has {text!r} as {name}, not {low} to {high}")
    return int(text)


def _fires(line: str, fields: list[set[int]]) -> bool:
    """Whether it does on any day. Where day and weekday are both given, either is enough."""
    _, _, given_day, _, given_weekday = line.split()
    either = not given_day.startswith("*") and not given_weekday.startswith("*")
    days = (date(2024, 1, 1) + timedelta(offset) for offset in range(_LEAP))
    return any(
        (any if either else all)((day.day in fields[2], day.isoweekday() % 7 in fields[4]))
        for day in days
        if day.month in fields[3]
    )
