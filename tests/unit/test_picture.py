"""The picture of the README: of a real run, small enough to look at, and asking nobody for it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from docs import picture
from docs.picture import Part
from gitops.demo_acts import ACTS, No, Travellers

SVG = Path(picture.__file__).with_name("demo.svg")
RECORDING = """\
Data\r
\r
\x1b[1m━━ 1/2 ━ Build ━━ 0:01 ━━\x1b[0m\r
\x1b[36mWhat it is\r
about.\x1b[0m\r
\x1b[1m$ git commit\x1b[0m\r
not this\r
\x1b[1m$ gitops build\x1b[0m\r
\x1b[2m· progress\x1b[0m\r
one\r
\r
\x1b[31m✘ No\x1b[0m  <&> two\r
three\r
\x1b[1m━━ 2/2 ━ Next ━━ 0:02 ━━\x1b[0m\r
\x1b[1m$ gitops gate\x1b[0m\r
last\r
"""


def test_parts_are_cut_out_without_progress() -> None:
    assert [one.command for one in picture.said(RECORDING)] == [
        "git commit", "gitops build", "gitops gate"
    ]  # fmt: skip
    first = picture.chosen(
        RECORDING, [Part("Build", "gitops build", 2), Part("Next", "gitops gate", -5)]
    )
    plain = [re.sub("\x1b\\[\\d*m", "", line) for line in first]
    assert plain == [
        "━━ 1/2 ━ Build ━━━━━━━━━━", "What it is", "about.", "$ gitops build", "one",
        "✘ No  <&> two", "…", "", "━━ 2/2 ━ Next ━━━━━━━━━━", "$ gitops gate", "last",
    ]  # fmt: skip
    going = picture.chosen(RECORDING, [Part("Build", "gitops build", 1, progress=True)])
    assert going[-2] == "\x1b[2m· progress\x1b[0m"
    last = picture.chosen(RECORDING, [Part("Build", "gitops build", -1)])
    assert last[-2:] == ["\x1b[2m…\x1b[0m", "three"]
    with pytest.raises(LookupError, match="'gitops verify' in an act 'Build'"):
        picture.chosen(RECORDING, [Part("Build", "gitops verify", 1)])


def test_a_line_keeps_its_columns_and_colours() -> None:
    drawn = picture.svg(picture.chosen(RECORDING, [Part("Build", "gitops build", 3)]))
    texts = [one for one in ElementTree.fromstring(drawn) if one.tag.endswith("text")]
    (red,) = (one for one in texts if one.get("class") == "r")
    assert red.text == "✘ No"
    (beside,) = (one for one in texts if one.text == "<&> two")
    assert float(beside.get("x", 0)) - float(red.get("x", 0)) == pytest.approx(6 * picture._CELL)
    assert float(beside.get("textLength", 0)) == pytest.approx(7 * picture._CELL)


def test_a_line_ends_at_the_edge() -> None:
    drawn = picture.svg(["x" * 99 + "\x1b[1myy\x1b[0mzz", "w" * 100])
    texts = [one.text for one in ElementTree.fromstring(drawn) if one.tag.endswith("text")]
    assert texts == ["x" * 99, "…", "w" * 100]


def test_its_parts_are_of_the_demo() -> None:
    for part in picture.PARTS:
        (act,) = (act for act in ACTS if act.title.startswith(part.title))
        steps = [one.command if isinstance(one, Travellers) else one for one in act.steps]
        words = [one.command if isinstance(one, No) else one for one in steps]
        assert any(isinstance(one, str) and one.startswith(part.start) for one in words)


def test_the_picture_is_small_and_asks_nobody_for_anything() -> None:
    text = SVG.read_text("utf-8")
    top = ElementTree.fromstring(text)
    width, height = (float(one) for one in top.get("viewBox", "").split()[2:])
    assert height < 1.7 * width
    assert {one.tag.rpartition("}")[2] for one in top.iter()} == {
        "svg", "title", "style", "rect", "circle", "text"
    }  # fmt: skip
    assert not re.search(r"@font-face|@import|url\(|href|<script|/tmp/|/home/", text)
    named = set(re.findall(r"\w+://[^\s\"<:]+", text))  # that of the server is what a line says
    assert named == {"http://www.w3.org/2000/svg", "http://127.0.0.1"}
