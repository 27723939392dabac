"""Whether jobs can be put into an order."""

from __future__ import annotations

import pytest

from gitops.pipelines.order import circle


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ({}, []),
        ({"a": [], "b": ["a"], "c": ["a", "b"]}, []),
        ({"a": ["elsewhere"]}, []),
        ({"a": ["a"]}, ["a", "a"]),
        ({"x": [], "a": ["x", "b"], "b": ["c"], "c": ["a"]}, ["a", "b", "c", "a"]),
    ],
)
def test_who_waits_for_itself(after: dict[str, list[str]], found: list[str]) -> None:
    assert circle(after) in [
        found,
        *([*found[at:-1], *found[: at + 1]] for at in range(len(found))),
    ]


def test_a_chain_longer_than_a_stack() -> None:
    chain = {str(at): [str(at + 1)] for at in range(5000)}
    assert circle(chain | {"5000": []}) == []
    assert len(circle(chain | {"5000": ["0"]})) == 5002
