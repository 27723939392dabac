"""Every loader takes its seeds, and answers or refuses whatever has been made of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.loaders import LOADERS, accepts
from tests.fuzz.shapes import shaken

CRASHES = Path(__file__).parent / "crashes"
TRIES = 50
_PIECES = [b"", b"\0", b"\xff", b"null", b"-1", b"1e999", b"[]", b"{}", b'"', b"&a [*a]", b"!!x "]


def altered(seed: bytes, drawn: random.Random) -> bytes:
    """A few cuts, swaps, repetitions and pieces that mean something."""
    data = bytearray(seed)
    for _ in range(drawn.randint(1, 4)):
        at = drawn.randint(0, len(data))
        end = min(len(data), at + drawn.choice([0, 1, 3, 20]))
        what = drawn.choice(["piece", "byte", "cut", "again"])
        if what == "byte" and at < len(data):
            data[at] = drawn.randrange(256)
        else:
            made = {"piece": drawn.choice(_PIECES), "again": bytes(data[at:end]) * 2}
            data[at:end] = made.get(what, b"")
    return bytes(data)


@pytest.mark.parametrize("name", LOADERS)
def test_real_documents_are_taken(name: str, tmp_path: Path) -> None:
    load = LOADERS[name].make(tmp_path)
    assert all(accepts(load, seed) for seed in LOADERS[name].seeds())


@pytest.mark.parametrize("name", LOADERS)
def test_whatever_comes_is_taken_or_refused(name: str, tmp_path: Path) -> None:
    load, drawn = LOADERS[name].make(tmp_path), random.Random(name)
    seeds = list(LOADERS[name].seeds())
    for _ in range(TRIES):
        seed = drawn.choice(seeds)
        accepts(load, altered(seed, drawn))
        if (document := shaken(seed, drawn)) is not None:
            accepts(load, document)


@pytest.mark.parametrize("name", sorted(LOADERS.keys() - {"tag", "workflow", "labels", "forge"}))
def test_what_is_nothing_is_refused(name: str, tmp_path: Path) -> None:
    load = LOADERS[name].make(tmp_path)
    assert not accepts(load, b"\xff\xfe\x00{")


def test_what_was_a_fault_once_is_none(tmp_path: Path) -> None:
    for path in sorted(CRASHES.glob("*/*")):
        folder = tmp_path / path.parent.name / path.name
        folder.mkdir(parents=True)
        accepts(LOADERS[path.parent.name].make(folder), path.read_bytes())
