"""What is wanted over what is there: ours is made so, and nobody else's is touched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.setup.model import AtLeast, Change, Initially, Items, Setting, shown, step


def of(want: dict[str, Any]) -> Setting:
    return Setting("kind", "name", want, "because")


@pytest.mark.parametrize(
    ("have", "want", "value"),
    [
        ({"a": 1, "theirs": 2}, {"a": 3}, {"a": 3, "theirs": 2}),
        ({"a": {"b": 1, "theirs": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "theirs": 2}}),
        ({"n": 1}, {"n": AtLeast(2)}, {"n": 2}),
        ({"n": None}, {"n": AtLeast(2)}, {"n": 2}),
        ({"on": False}, {"on": AtLeast(True)}, {"on": True}),
        ({"list": ["a", "theirs"]}, {"list": ("a",)}, {"list": ["a"]}),
        (
            {"rules": [{"type": "mine", "p": 1, "q": 2}, {"type": "theirs"}]},
            {"rules": Items(("type",), ({"type": "mine", "p": 3}, {"type": "new"}))},
            {"rules": [{"type": "mine", "p": 3, "q": 2}, {"type": "theirs"}, {"type": "new"}]},
        ),
    ],
)
def test_what_differs_is_ours_alone(
    have: dict[str, Any], want: dict[str, Any], value: dict[str, Any]
) -> None:
    found = step(of(want), have)
    assert (found.action, found.value) == ("update", value)
    assert step(of(want), found.value).action == "keep"


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ({"n": 5}, {"n": AtLeast(2)}),
        ({"on": True}, {"on": AtLeast(False)}),
        ({"text": "theirs"}, {"text": Initially("ours")}),
        ({"n": 0}, {"n": Initially(1)}),
        ({"list": ["b", "a"]}, {"list": ("a", "b")}),
        (
            {"rules": [{"type": "a"}, {"type": "theirs"}]},
            {"rules": Items(("type",), ({"type": "a"},))},
        ),
        ({"anything": 1}, {}),
        (
            {"who": [{"kind": "team", "id": 3}, {"kind": "app", "id": 3}]},
            {"who": Items(("kind", "id"), ({"kind": "app", "id": 3},))},
        ),
    ],
)
def test_what_is_as_wanted_or_stricter_is_kept(have: dict[str, Any], want: dict[str, Any]) -> None:
    found = step(of(want), have)
    assert (found.action, found.value, found.changes) == ("keep", have, ())


def test_items_are_told_apart_by_all_their_keys() -> None:
    have = {"who": [{"kind": "team", "id": 3}]}
    want = {"who": Items(("kind", "id"), ({"kind": "app", "id": 3},))}
    value = step(of(want), have).value
    assert value == {"who": [{"kind": "team", "id": 3}, {"kind": "app", "id": 3}]}


def test_what_is_not_there_is_created() -> None:
    want = {"n": AtLeast(1), "text": Initially("x"), "rules": Items(("type",), ({"type": "a"},))}
    found = step(of(want), None)
    assert found.action == "create"
    assert found.value == {"n": 1, "text": "x", "rules": [{"type": "a"}]}
    assert step(of({}), None).action == "create"


def test_changes_are_told_by_name_whatever_their_order() -> None:
    have = {"rules": [{"type": "b", "n": 1}, {"type": "a", "n": 1}], "on": True, "gone": 0}
    want = {"rules": Items(("type",), ({"type": "a", "n": 2},)), "on": False, "new": ("x", "y")}
    found = step(of(want), have)
    assert found.changes == (
        Change("rules.a.n", 1, 2),
        Change("on", True, False),
        Change("new", None, ["x", "y"]),
    )
    assert shown(found.changes) == ["a.n: 1 -> 2", "on: yes -> no", "new: x, y"]


plain = st.one_of(st.booleans(), st.integers(0, 3), st.sampled_from(["a", "b"]))
names = st.sampled_from(["p", "q", "r"])
asked = st.recursive(
    st.one_of(
        plain,
        plain.map(Initially),
        st.integers(0, 3).map(AtLeast),
        st.lists(plain, max_size=3).map(tuple),
        st.lists(names, max_size=3, unique=True).map(
            lambda found: Items(("type",), tuple({"type": name} for name in found))
        ),
    ),
    lambda inner: st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
there = st.recursive(
    st.one_of(
        plain,
        st.lists(plain, max_size=3),
        st.lists(st.builds(lambda name, n: {"type": name, "n": n}, names, plain), max_size=2),
    ),
    lambda inner: st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(names, there), st.dictionaries(names, asked))
def test_once_made_it_is_kept(have: dict[str, Any], want: dict[str, Any]) -> None:
    made = step(of(want), have).value
    assert step(of(want), made).action == "keep"
    assert have.keys() <= made.keys()
