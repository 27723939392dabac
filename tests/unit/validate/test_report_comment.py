"""The Markdown of the pull request, read back by a GFM renderer."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gitops.validate import reports
from gitops.validate.model import Interval, Verdict
from gitops.validate.reports import comment
from gitops.validate.reports.text import clean
from tests.unit.validate import verdicts

OURS = {
    *("h1", "h2", "p", "strong", "em", "ul", "li", "blockquote", "pre", "code", "br", "hr"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary", "b", "sub"),
}
VOID = {"br", "hr"}


class Read(HTMLParser):
    """Elements, balance and text of a rendered comment."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.texts: list[str] = []
        self.codes: list[str] = []
        self.cells: dict[int, set[int]] = {}
        self._row: list[int] = []
        html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
        self.feed(html.render(markdown))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        assert all(name in ("class", "style", "open") for name, _ in attrs), (tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("code", "pre"):
            self.codes.append("")
        if tag == "tr":
            self._row = [0]
        if tag in ("td", "th"):
            self._row[0] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "tr":
            self.cells.setdefault(self.names.count("table"), set()).add(self._row[0])

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.open and self.open[-1] == "code":
            self.codes[-1] += data


def read(*shown: Verdict) -> Read:
    return Read(comment.render(shown))


def test_the_verdict_comes_first_then_what_changes_the_judgement() -> None:
    lines = comment.render([verdicts.failing()]).splitlines()
    assert lines[0] == "<!-- gitops gate: late production -->"
    assert lines[1] == "## ❌ No go: `late` for `production`"
    text = "\n".join(lines)
    assert text.index("the whole interval lies below the margin") < text.index(
        "About this judgement"
    )
    assert text.index("About this judgement") < text.index("| Check |")
    assert "this changes .gitops/policies/project.yaml" in text


def test_every_check_has_state_numbers_bound_and_rows() -> None:
    text = comment.render([verdicts.failing()])
    (row,) = [line for line in text.splitlines() if line.startswith("| ❌") and "brier" in line]
    row = row.replace("\u00a0", " ")
    assert "(`no-worse-brier`)</sub> | 0.1498 → 0.1798 |" in row
    assert "−0.0300 [−0.0312, −0.0288] | ≥ −0.01 | 66,000 |" in row
    meaning = "mean squared error of the probabilities (several classes: summed)"
    shown = f"| brier ↓<br><sub>{meaning}</sub> | 0.1798 [0.1763, 0.1833] |"
    assert shown in text.replace("\u00a0", " ")


def test_intervals_are_drawn_around_one_bound_in_a_code_block() -> None:
    text = comment.render([verdicts.rich()])
    block = re.findall(r"```text\n(.*?)\n```", text, re.DOTALL)[0].splitlines()
    columns = {line.index("┃") for line in block if "┃" in line}
    assert len(columns) == 1 and len(block) == 11
    assert all(line.index("●") > columns.copy().pop() for line in block[1:])


def test_what_passes_without_an_interval_is_listed_not_tabled() -> None:
    some = verdicts.failing()
    counted = replace(some.checks[0], id="leak", kind="leakage", title="no leak", state="PASS")
    counted = replace(counted, value=Interval(None), bound=None, stops=False)
    text = comment.render([replace(some, checks=(*some.checks, counted))])
    assert "✅ Passing without an interval (1): no leak." in text
    assert not [line for line in text.splitlines() if line.startswith("|") and "no leak" in line]
    only = comment.render([replace(some, checks=(counted,), passed=True, state="PASS")])
    assert "✅ Passing without an interval (1): no leak." in only and "| Check |" not in only


def test_an_alarm_that_a_check_tells_is_told_once() -> None:
    some = verdicts.failing()
    (alarm,) = [one for one in some.findings if one.level == "alarm"]
    assert "<b>Alarms</b>" in comment.render([some])
    told = replace(some.checks[0], why=f"{alarm.text} (and 1 more)")
    text = comment.render([replace(some, checks=(told,))])
    assert "<b>Alarms</b>" not in text and alarm.text in text


def test_waivers_are_always_shown_and_mention_nobody() -> None:
    for name in ("rich", "failing"):
        text = comment.render([getattr(verdicts, name)()])
        assert "`recall-carrier` by @\u2060org/ml-leads, until 2026-03-31" in text


def test_a_first_model_says_so() -> None:
    text = comment.render([verdicts.first_model()])
    assert "without a champion" in text and "there is no champion at the base" in text


@pytest.mark.parametrize(
    "name",
    "rich failing undecided first_model regression many_slices hostile broken_numbers".split(),  # noqa: SIM905
)
def test_the_markup_is_ours_and_whole(name: str) -> None:
    found = read(getattr(verdicts, name)())
    assert found.open == []
    assert set(found.names) <= OURS
    assert all(len(widths) == 1 for widths in found.cells.values()), found.cells
    assert "nan" not in "".join(found.texts).lower().replace("tailnan", "")


def test_hostile_names_are_shown_as_they_are() -> None:
    found = read(verdicts.hostile())
    text = "".join(found.texts).replace("\u2060", "")
    for name in verdicts.HOSTILE:
        assert clean(name) in text
    codes = "\n".join(found.codes).replace("\u2060", "")
    assert "<img src=x onerror=alert(1)>" in codes and r"a|b`c``d\|e\ = " in codes


@given(st.text(max_size=80) | st.text("|`\\<>&*_[]()!@#:~$^-+=.1 \n", max_size=40))
def test_any_text_survives_prose_and_code(text: str) -> None:
    shown = f"| a | b |\n| - | - |\n| {comment.prose(text)} | {comment.code(text)} |\n"
    found = Read(shown)
    assert set(found.names) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert found.cells == {1: {2}}
    # A code span shows runs of spaces as they are; there are none left.
    assert found.codes == [clean(text)]
    cells = "".join(found.texts).replace("\u2060", "")
    assert clean(text, 600).replace("\u2060", "") in cells
    for line in (f"- {comment.prose(text)}", f"> - {comment.prose(text)}"):
        assert set(Read(line).names) <= {"ul", "li", "blockquote"}


def test_nothing_is_linked_or_mentioned() -> None:
    for text in ("@org/team", "#12", "GH-1", "https://a.example", "www.a.example", "a@b.example"):
        shown = comment.prose(f"see {text} now")
        assert shown.replace("\u2060", "") == f"see {text} now" != shown
        assert not re.search(r"@\w|#\d|GH-\d|://|www\.", shown)


@pytest.mark.parametrize("limit", [65_536, 20_000, 9_000])
def test_it_fits_and_says_what_is_left_out(limit: int) -> None:
    text = comment.render([verdicts.many_slices()], limit)
    assert len(text.encode()) <= limit
    assert "more checks in the HTML report" in text
    assert "more rows in the HTML report" in text
    assert text.count("```") == 2 and text.count("<details") == text.count("</details>")
    Read(text)


def test_wide_characters_and_long_names_fit_too() -> None:
    some = verdicts.many_slices(300)
    long = tuple(
        replace(one, slice=replace(one.slice, cut=(("列" * 300, f"🙂|`{i}" * 50),)))
        for i, one in enumerate(some.slices)
    )
    checks = tuple(replace(one, measure=long[i]) for i, one in enumerate(some.checks))
    text = comment.render([replace(some, slices=long, worst=long, checks=checks)])
    assert 50_000 < len(text.encode()) <= 65_536
    Read(text)


def test_many_models_share_a_comment_the_failing_ones_first() -> None:
    passing = [replace(verdicts.better(), model=f"m{i}") for i in range(60)]
    text = comment.render([*passing, verdicts.failing()])
    assert text.startswith("# 60 of 61 models may go on")
    assert len(text.encode()) <= 65_536
    assert text.index("## ❌ No go: `late`") < text.index("## ✅ Go")
    assert "more models in the HTML report" in text
    # What is shown of a model says something.
    assert "❌\u00a0fails" in text and "more checks in the HTML report" not in text
    Read(text)


def test_models_with_open_questions_come_before_those_without() -> None:
    some = [replace(verdicts.better(), model="good"), replace(verdicts.rich(), model="odd")]
    text = comment.render([*some, verdicts.undecided(), replace(verdicts.failing(), model="bad")])
    heads = [line.split(":")[0] for line in text.splitlines() if line.startswith("## ")]
    assert heads == [
        "## ❌ No go",
        "## ❓ Undecided, so no go",
        "## ⚠️ Go, with open questions",
        "## ✅ Go",
    ]


def test_a_thousand_models_are_counted_with_those_that_may_not_go_on() -> None:
    failing = [replace(verdicts.failing(), model=f"f{i}") for i in range(143)]
    passing = [replace(verdicts.rich(), model=f"m{i}") for i in range(857)]
    text = comment.render([*passing, *failing])
    assert text.startswith("# 857 of 1,000 models may go on")
    assert "*900 more models in the HTML report, 43 of them may not go on.*" in text
    assert len(text.encode()) <= 65_536


def test_a_marker_cannot_be_closed_by_a_name() -> None:
    odd = replace(verdicts.rich(), model="a --> <b>", environment="x--y")
    assert comment.marker(odd).count("-->") == 1 and "<b>" not in comment.marker(odd)


def test_the_same_verdict_gives_the_same_bytes() -> None:
    one, two = (reports.files([verdicts.hostile(), verdicts.rich()]) for _ in range(2))
    assert one == two
