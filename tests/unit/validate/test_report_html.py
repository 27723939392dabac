"""The HTML report as text: whole, escaped, self-contained, bounded, with enough contrast."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops.validate.model import Curve, Verdict
from gitops.validate.reports import drawing, html, svg
from gitops.validate.reports.text import clean
from tests.unit.validate import verdicts

VOID = {"meta", "link", "input", "br"}
NAMES = "rich failing undecided first_model regression many_slices hostile broken_numbers".split()  # noqa: SIM905


class Page(HTMLParser):
    """Elements, attributes and text; fails where an element isn't closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        last = self.open[-1] if self.open else ""
        self.raw.get(last, self.text).append(data)

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(verdict: Verdict) -> Page:
    return Page(html.page(verdict))


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_whole_and_asks_nobody(name: str) -> None:
    text = html.page(getattr(verdicts, name)())
    found = Page(text)
    assert text.startswith("<!doctype html>")
    assert found.named("html") == [{"lang": "en"}]
    names = {tag for tag, _ in found.elements}
    assert not names & {"img", "iframe", "object", "base", "audio", "video", "b-x"}
    for _, attributes in found.elements:
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "style")]
        assert attributes.get("href", "#").startswith("#") or attributes["href"] == "data:,"
    assert "url(" not in text and "@import" not in text and "//" not in found.raw["style"][0]


def test_only_our_own_style_and_script_may_run() -> None:
    found = page(verdicts.rich())
    (policy,) = [m["content"] for m in found.named("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'")
    for kind, texts in found.raw.items():
        digest = base64.b64encode(hashlib.sha256(texts[-1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_hostile_names_are_shown_as_they_are() -> None:
    found = page(verdicts.hostile())
    text = "".join(found.text)
    for name in verdicts.HOSTILE:
        assert clean(name) in text
    assert len(found.named("script")) == 2


@settings(max_examples=40)
@given(st.text(max_size=60))
def test_no_text_becomes_markup(text: str) -> None:
    plain = page(verdicts.first_model())
    some = verdicts.first_model()
    odd = replace(some, changes=(text, text), policy=text, notes=())
    found = page(odd)
    assert "<" not in text or clean(text) in "".join(found.text)
    assert len(found.named("li")) == len(plain.named("li")) - len(some.notes)


def test_the_data_of_the_plots_is_inert_and_complete() -> None:
    hostile = replace(
        verdicts.rich(), curves=(Curve("roc", "candidate", "</script><b>", (0.0, 1.0), (0.0, 1.0)),)
    )
    found = page(hostile)
    data = json.loads(found.raw["script"][0])["plots"]
    assert data[0]["lines"][0]["points"] == [[0, 0], [1, 1]]
    everything = json.loads(page(verdicts.rich()).raw["script"][0])["plots"]
    assert len(everything) == 4 and all(len(plot["lines"]) == 2 for plot in everything)


@pytest.mark.parametrize("count", [1000, 10_000])
def test_thousands_of_slices_stay_below_a_megabyte(count: int) -> None:
    text = html.page(verdicts.many_slices(count))
    assert len(text.encode()) < 1_000_000
    assert f"the worst 333 of {count:,}" in text
    assert f"{count - 300:,} more of {count:,} are in the JSON verdict" in text


def test_a_thousand_classes_draw_a_bounded_number_of_plots() -> None:
    curves = tuple(
        Curve("roc", "candidate", f"class {i}", (0.0, 1.0), (0.0, 1.0)) for i in range(1000)
    )
    text = html.page(replace(verdicts.rich(), curves=curves))
    assert text.count('class="plot"') == html.PLOTS
    assert "976 more of 1,000" in text


def test_every_table_has_heads_and_every_section_a_name() -> None:
    found = page(verdicts.rich())
    assert all("scope" in attributes for attributes in found.named("th"))
    assert all("aria-labelledby" in attributes for attributes in found.named("section"))
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"][1:] for attributes in found.named("a")]
    assert set(targets) <= set(ids)
    for picture in found.named("svg"):
        assert picture.get("aria-hidden") == "true" or picture["aria-label"]


def test_what_is_empty_is_left_out() -> None:
    bare = replace(
        verdicts.first_model(),
        notes=(), waivers=(), measures=(), slices=(), worst=(), fairness=(), importance=(),
        findings=(), costs=(), curves=(), changes=(),
    )  # fmt: skip
    found = page(bare)
    labels = [attributes["aria-labelledby"] for attributes in found.named("section")]
    assert labels == ["checks", "proof"]


def test_an_index_links_to_the_pages() -> None:
    text = html.index(
        [("late/report.html", verdicts.rich()), ("b/report.html", verdicts.hostile())]
    )
    found = Page(text)
    assert [one["href"] for one in found.named("a")] == ["b/report.html", "late/report.html"]
    assert "1 of 2 models may go on" in "".join(found.text)


@given(
    st.lists(st.tuples(st.floats(), st.floats()), max_size=8),
    st.sampled_from(["roc", "residuals", "scores"]),
)
def test_any_curve_is_drawn_inside_its_axes(points: list[tuple[float, float]], kind: str) -> None:
    curve = Curve(kind, "candidate", "", tuple(x for x, _ in points), tuple(y for _, y in points))  # type: ignore[arg-type]
    region = svg.frame([curve])
    if region is None:
        return
    drawn = svg.plot("a", [curve], region, 0)
    assert "nan" not in drawn and "inf" not in drawn
    for x, y in re.findall(r"([\d.-]+),([\d.-]+)[ \"]", drawn):
        assert 0 <= float(x) <= svg.WIDTH and 0 <= float(y) <= svg.HEIGHT


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_round_and_inside(low: float, span: float) -> None:
    span = max(span, 1.01 * svg.NARROW * (abs(low) + span))  # what is narrower is drawn wider
    high = low + span
    found = svg.ticks(low, high)
    assert len(found) <= 7
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in found)
    steps = {round((b - a) / span, 6) for a, b in pairwise(found)}
    assert len(steps) <= 2


def colours(style: str) -> list[dict[str, str]]:
    """The tokens of the light and of the dark page."""
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in (light, dark)]


def contrast(one: str, two: str) -> float:
    """WCAG 2.2, "contrast ratio"."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_has_the_contrast_of_wcag_aa() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    for tokens in colours(page(verdicts.rich()).raw["style"][0]):
        for text in ("text", "muted", "mine", "theirs"):
            assert contrast(tokens[text], tokens["ground"]) >= 4.5, text
        for tone in ("pass", "fail", "warn"):
            assert contrast(tokens[tone], tokens[f"{tone}-soft"]) >= 4.5, tone
            assert contrast(tokens["text"], tokens[f"{tone}-soft"]) >= 4.5, tone
            assert contrast(tokens["muted"], tokens[f"{tone}-soft"]) >= 4.5, tone


def test_a_line_that_goes_on_outside_ends_in_an_arrow() -> None:
    scale = drawing.Scale(-1, 1)
    assert not {"◂", "▸"} & set(svg.strip((-0.5, 0, 0.5), scale, {}))
    far = svg.strip((-9, -8, -7), scale, {})
    assert "◂" in far and "▸" not in far and "circle" not in far
    assert "▸" in svg.strip((0.5, 0.9, 2), scale, {})
