"""The documentation says what the command line does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from typer.main import get_command

from gitops import config
from gitops.cli.app import app

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
TOP = sorted((ROOT / "docs").glob("*.md"))
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *TOP, *GUIDES)


def commands() -> Iterator[tuple[str, Any]]:
    top: Any = get_command(app)
    for name, command in top.commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {each}", found) for each, found in inner.items())


KNOWN = dict(commands())


def test_every_command_is_in_the_readme() -> None:
    readme = PAGES[0].read_text("utf-8")
    assert not [
        name
        for name in KNOWN
        if f"`gitops {name}" not in readme and f"$ gitops {name}" not in readme
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_command_that_is_not_there(page: Path) -> None:
    named = re.findall(r"(?:`|\$ )gitops ([a-z]+(?: [a-z]+)?)", page.read_text("utf-8"))
    first_words = {name.split()[0] for name in KNOWN}
    assert not [words for words in named if words.split()[0] not in first_words]


@pytest.mark.parametrize("name", KNOWN)
def test_every_help_text_has_an_example_and_explains_each_option(name: str) -> None:
    command = KNOWN[name]
    assert "Examples:" in (command.help or "")
    assert f"gitops {name}" in command.help
    assert all(option.help for option in command.params if option.name != "help")


@pytest.mark.parametrize("name", KNOWN)
def test_prose_of_help_ends_no_line_and_examples_stand_together(name: str) -> None:
    """A terminal narrower than our lines would break each of them twice."""
    paragraphs = (KNOWN[name].help or "").split("\n\n")
    assert not [one for one in paragraphs if not one.startswith(" ") and "\n" in one]
    examples = [one for one in paragraphs if one.startswith(" ")]
    assert len(examples) == 1
    assert all(line.startswith("    ") for line in examples[0].splitlines())


@pytest.mark.parametrize("name", KNOWN)
def test_brackets_of_help_are_shown(name: str) -> None:
    """They are markup where nothing escapes them."""
    asked = Text.from_markup(KNOWN[name].help or "").plain
    assert asked.count("[") == (KNOWN[name].help or "").count("[")


@pytest.mark.parametrize("name", KNOWN)
def test_examples_use_options_that_exist(name: str) -> None:
    command = KNOWN[name]
    options = {
        option for param in command.params for option in (*param.opts, *param.secondary_opts)
    }
    examples = (command.help or "").partition("Examples:")[2]
    assert not [word for word in re.findall(r"\s(--?[a-z-]+)", examples) if word not in options]


def test_the_yaml_of_the_readme_is_valid(tmp_path: Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", PAGES[0].read_text("utf-8"), re.DOTALL):
        (tmp_path / "gitops.yaml").write_text(block, "utf-8")
        assert config.load(tmp_path).models


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_installed_help_lists_the_same_commands(
    gitops: Callable[..., Any], tmp_path: Path
) -> None:
    done = gitops(tmp_path, "--help")
    text = done.out
    assert not [name for name in KNOWN if name.split()[0] not in text]
    groups = re.findall(r"^\*\*(.+)\*\*$", PAGES[0].read_text("utf-8"), re.MULTILINE)
    assert groups
    assert not [group for group in groups if f"─ {group} ─" not in text]
