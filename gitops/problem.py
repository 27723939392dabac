"""What is wrong in a file that a person wrote, and one error that says all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

from gitops.errors import ConfigError, Where
from gitops.yamlfile import Place


@dataclass(frozen=True)
class Problem:
    """What is wrong at a place of a file (with `key`: with the key there), and what to write."""

    place: Place
    text: str
    fix: str
    key: bool = False


class Written(Protocol):
    """What knows where its parts were written."""

    def where(self, place: Place = (), *, key: bool = False) -> Where: ...


def error(written: Written, problems: Iterable[Problem]) -> ConfigError:
    """All problems in one error, in the order of the file; the first is its `where`."""
    placed = [(written.where(each.place, key=each.key), each) for each in problems]
    placed.sort(key=lambda pair: (str(pair[0].file), pair[0].line or 0, pair[0].column or 0))
    (where, first), *more = placed
    if not more:
        return ConfigError(first.text, fix=first.fix, where=where)
    lines = [f"{first.text}; {first.fix}", *(f"{at}: {each.text}; {each.fix}" for at, each in more)]
    return ConfigError("\n".join(lines), fix=f"correct these {len(lines)} places", where=where)


def meant(name: str, known: Iterable[str], otherwise: str) -> str:
    """The fix for a name that there is none of: the nearest one, or what to do `otherwise`."""
    near = get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}?" if near else otherwise
