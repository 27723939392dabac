"""Models packed into the jobs of a dynamic matrix, which platforms allow only so many of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

MOST = 20


@dataclass(frozen=True)
class Group:
    """The models of one job."""

    name: str
    models: tuple[str, ...]


def pack(models: Sequence[str], most: int = MOST) -> tuple[Group, ...]:
    """At most `most` groups in the order of the models; their sizes differ by one at most.

    Up to `most` models each have a group of their own, by their name; else `group-1` and so on.
    """
    if len(models) <= most:
        return tuple(Group(name, (name,)) for name in models)
    ends = [len(models) * number // most for number in range(most + 1)]
    return tuple(
        Group(f"group-{number + 1}", tuple(models[ends[number] : ends[number + 1]]))
        for number in range(most)
    )


def for_github(groups: Sequence[Group]) -> str:
    """A JSON list: with `matrix: {group: ${{ fromJSON(...) }}}` a job has `matrix.group.name` and
    `matrix.group.models`, which `join(matrix.group.models, ' ')` makes words of.

    GitHub fails a matrix without values: such a job needs a condition, `... != '[]'`.
    """
    return json.dumps([asdict(one) for one in groups])


def for_azure(groups: Sequence[Group]) -> str:
    """A JSON object: with `matrix: $[ ... ]` each job has the variables `group` and `models`.

    A key is letters, digits and underscores and begins with a letter; values are texts
    (learn.microsoft.com, "jobs.job.strategy"). Without groups it is `{}`.
    """
    found = {
        one.name.replace("-", "_"): {"group": one.name, "models": " ".join(one.models)}
        for one in groups
    }
    return json.dumps(found)
