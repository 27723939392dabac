from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from gitops.cli import screen
from gitops.errors import ConfigError, Where


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert screen.style("x", "red", Terminal()) == "\x1b[31mx\x1b[0m"
    assert screen.style("x", "red", io.StringIO()) == "x"
    monkeypatch.setenv("NO_COLOR", "")
    assert screen.style("x", "red", Terminal()) == "x"


def test_a_dumb_terminal_gets_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert screen.style("x", "red", Terminal()) == "x"


def test_an_error_says_where_what_and_the_fix(capsys: pytest.CaptureFixture[str]) -> None:
    screen.error(ConfigError("bad", fix="mend", where=Where(Path("a.yaml"), 3, 5)))
    assert capsys.readouterr().err == "error: a.yaml:3:5: bad\n  fix: mend\n"


def test_no_error_starts_a_command_or_paints(capsys: pytest.CaptureFixture[str]) -> None:
    """Names in errors come from pull requests; GitHub and Azure read logs for commands."""
    screen.error(
        ConfigError(
            "bad:\n  x\n::error::no\n  ::stop-commands::y\x1b[31m", fix="##vso[task.a]b\u202e"
        )
    )
    screen.say("stage\r::warning::z")
    assert capsys.readouterr().err.splitlines() == [
        "error: bad:",
        "  x",
        "\\u{003a}:error::no",
        "  \\u{003a}:stop-commands::y\\u{001b}[31m",
        "  fix: \\u{0023}#vso[task.a]b\\u{202e}",
        "· stage\\u{000d}::warning::z",
    ]


def test_no_result_starts_a_command_or_paints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tags, authors and file names are what anybody wrote."""
    monkeypatch.setenv("SOME_TOKEN", "hunter2hunter2")
    screen.out("\x1b[1mlate\x1b[0m\t\x1b]0;title\x07 by ##vso[task.x]\x9b31m\u202e hunter2hunter2")
    screen.out("::add-mask::x \ud800")
    screen.table(["A"], [["\x1b[2J"]])
    screen.aside("::error::hunter2hunter2")
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "\x1b[1mlate\x1b[0m\t\\u{001b}]0;title\\u{0007} by \\u{0023}#vso[task.x]\\u{009b}31m"
        "\\u{202e} ***",
        "\\u{003a}:add-mask::x \\u{d800}",
        "A",
        "\\u{001b}[2J",
    ]
    assert told.err == "\\u{003a}:error::***\n"


def test_a_document_hides_nothing_from_the_eye(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a\u202e": "\x9b31m \ufeff é 💥 \ud800"}
    screen.document(value)
    text = capsys.readouterr().out
    assert json.loads(text) == value
    assert not {"\x9b", "\u202e", "\ufeff", "\ud800"} & set(text)
    assert "é 💥" in text


def test_a_traceback_has_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2hunter2")
    try:
        raise ValueError("hunter2hunter2 at https://a:b@host/x")
    except ValueError as error:
        screen.trace(error)
    told = capsys.readouterr().err
    assert told.startswith("Traceback")
    assert told.endswith("ValueError: *** at https://host/x\n")


def test_a_document_is_the_same_value_and_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a": "##vso[task.setvariable variable=b]c", "##[error]": "# ##"}
    screen.document(value)
    text = capsys.readouterr().out
    assert json.loads(text) == value
    assert "##vso[" not in text
    assert "##[" not in text


def test_columns_are_aligned_with_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    screen.table(["A", "B"], [["日本", "x"], ["é", "y"]])
    assert capsys.readouterr().out.splitlines() == ["A     B", "日本  x", "é     y"]


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        screen.document({"x": float("nan")})
