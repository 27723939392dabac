"""The command line: all commands, or only that which was asked for."""

from __future__ import annotations

from typing import Any

from typer.main import get_command

from gitops.cli.app import make


def commands(*words: str) -> dict[str, Any]:
    top: Any = get_command(make(words))
    return dict(top.commands)


def test_each_command_is_found_by_its_name_without_most_others() -> None:
    everything = commands()
    assert len(everything) > 25
    for name in everything:
        asked = commands(name, "--help")
        assert name in asked
        assert len(asked) <= 2
    assert commands("--version") == {}


def test_what_is_no_command_has_all_to_choose_from() -> None:
    everything = set(commands())
    for words in ((), ("--help",), ("statsu",), ("--debug", "status")):
        assert set(commands(*words)) == everything
