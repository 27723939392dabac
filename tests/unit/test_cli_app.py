"""The command line: all commands, or only that which was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from typer import Context
from typer.main import get_command

from gitops.cli.app import make
from gitops.errors import UsageError


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


def test_usage_names_each_argument_once_and_in_capitals() -> None:
    """Typer puts brackets around what may be left out, and braces around what may not."""
    for name, command in commands().items():
        for one in [command, *getattr(command, "commands", {}).values()]:
            usage = " ".join(one.collect_usage_pieces(Context(one)))
            assert "[[" not in usage and "......" not in usage, (name, usage)
            assert usage == usage.upper(), (name, usage)


def test_a_port_is_told_how_it_is_given() -> None:
    with pytest.raises(UsageError) as raised:
        commands("serve")["serve"].main(["--port", "9000"], standalone_mode=False)
    assert raised.value.fix == "--listen 127.0.0.1:9000"


def test_what_is_no_command_has_all_to_choose_from() -> None:
    everything = set(commands())
    for words in ((), ("--help",), ("statsu",), ("--debug", "status")):
        assert set(commands(*words)) == everything
