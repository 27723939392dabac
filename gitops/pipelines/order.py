"""What comes before what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter


def circle(after: Mapping[str, Iterable[str]]) -> list[str]:
    """Names of which each needs the next, and the last is the first; [] if there is an order.

    `after` says what each name needs; what it doesn't have as a key is left out.
    """
    graph = {name: [one for one in needs if one in after] for name, needs in after.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]  # each is needed by the next
        return found[::-1]
    return []
