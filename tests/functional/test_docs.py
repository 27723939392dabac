"""The documentation says what the tool does: each block of it is read, each word looked up.

What is more, some pages are typed, line by line: test_docs_typed.py and test_site.py.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from typer.main import get_command

from gitops.cli.app import make
from tests import doc_blocks, doc_documents
from tests.doc_blocks import ROOT, SHELLS, SHOWN, Block, blocks

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
TOP = sorted((ROOT / "docs").glob("*.md"))
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *TOP, *GUIDES)
BLOCKS = [block for page in PAGES for block in blocks(page)]
# The documents of contracts that pages show, by page and by the block's place among its JSON.
DOCUMENTS = {
    ("predictions.md", 0): "prediction",
    ("formats.md", 0): "signature",
    ("formats.md", 1): "reference",
}


def commands() -> Iterator[tuple[str, Any]]:
    top: Any = get_command(make())
    for name, command in top.commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {each}", found) for each, found in inner.items())


KNOWN = dict(commands())
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def of(*languages: str) -> pytest.MarkDecorator:
    """Each block in one of these languages."""
    chosen = [block for block in BLOCKS if block.language in languages]
    assert chosen
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.where)


# ---------------------------------------------------------------- the pages


def test_every_command_is_in_the_table_of_commands() -> None:
    table = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert not [name for name in KNOWN if f"`gitops {name}" not in table]


def test_the_readme_shows_the_way_from_a_table_to_production() -> None:
    readme = PAGES[0].read_text("utf-8")
    way = ("new", "build", "verify", "gate", "promote", "deploy", "rollback")
    assert not [name for name in way if f"$ gitops {name}" not in readme]


def test_every_block_is_of_a_kind_that_is_looked_at() -> None:
    looked_at = {*SHELLS, "yaml", "json", "python", *SHOWN}
    assert not [block.where for block in BLOCKS if block.language not in looked_at]


@each_page
def test_no_command_hides_in_an_indented_block(page: Path) -> None:
    assert not re.findall(r"^    (?:\$ )?gitops .*", doc_blocks.prose(page), re.MULTILINE)


@of(*SHELLS)
def test_every_line_that_is_typed_is_a_command_that_is_there(block: Block) -> None:
    assert doc_blocks.shell_problems(block) == []


@of("yaml")
def test_every_yaml_block_is_taken_by_its_loader(block: Block, tmp_path: Path) -> None:
    assert doc_documents.yaml_problem(block, tmp_path) is None


@of("json")
def test_every_json_block_is_json_and_what_it_says_it_is(block: Block) -> None:
    of_page = [one for one in BLOCKS if (one.page, one.language) == (block.page, "json")]
    contract = DOCUMENTS.get((block.page.name, of_page.index(block)))
    assert doc_documents.json_problem(block, contract) is None


@of("python")
def test_what_python_blocks_import_is_there(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert not [name.name for name in node.names if not hasattr(module, name.name)]


@each_page
def test_commands_and_options_in_the_text_are_there(page: Path) -> None:
    assert doc_blocks.prose_problems(page) == []


@each_page
def test_every_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    assert doc_blocks.link_problems(page) == []


# ---------------------------------------------------------------- each check fires


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gitops gaet", "No such command 'gaet'"),
        ("gitops gate --explian roc_auc", "No such option: --explian"),
        ("gitops build && gitops deploy production now", "unexpected extra argument"),
        ("gitops fetch", "Missing parameter: model"),
        ("gitops serve models/package --workers many", "valid integer"),
        ("gitops setup github --set", "requires an argument"),
        ("gitops ci pull-request --engine nektos", "'local', 'act'"),
        ('TOKEN="$(gitops stat)" curl x', "No such command 'stat'"),
        ("make tset", "no target 'tset'"),
        ("git comit", "git has no command"),
        ("az account show --quary id", "az account show has no option --quary"),
        ("pip install 'gitops-ml[gpu]'", "no extra 'gpu'"),
        ("uv tool install dist/gitops_ml-0.0.1-py3-none-any.whl", "not the wheel of version"),
        ("sh infrastructure/boot.sh", "no generator writes"),
        ("python -m benchmarks.nothing", "no module"),
        ("gitopps build", "nobody here knows the program"),
        ("# nothing at all", "no line of it is typed"),
    ],
)
def test_a_wrong_line_is_noticed(line: str, said: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n```sh\n{line}   # it's a comment\n```\n")
    (block,) = blocks(page)
    (problem,) = doc_blocks.shell_problems(block)
    assert said in problem
    assert problem.startswith("page.md:3")


def test_a_command_that_looks_like_output_is_noticed() -> None:
    block = Block(Path("page.md"), 1, "console", "$ gitops build\ngitops gaet\n")
    assert doc_blocks.shell_problems(block) == ["page.md:1: a line of ours without its prompt"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models:\n  late: {tsak: binary}\n", "task"),
        ("environments:\n  - {name: dev, branch: main, polisy: strict}\n", "policy"),
        ("checks:\n  - {metric: roc_acu, at_least: 0.7}\n", "roc_auc"),
        ("on_inconclusive: pass\n", "on_inconclusive"),
        ("extends: pull-request\njobs:\n  lnt: null\nversion: 1\n", "no job 'lnt'"),
        ("colour: red\n", "nobody here knows"),
        ("- uses: our/mirror@v1\n", "page.md"),
        ("meta: {gitops: {kind: sql}}\n", "page.md"),
        ("models: [\n", "page.md"),
        ("version: 1\nname: acme\nrevision: one\n", "description"),
    ],
)
def test_wrong_yaml_is_noticed(text: str, said: str, tmp_path: Path) -> None:
    block = Block(Path("page.md"), 1, "yaml", text)
    assert said in (doc_documents.yaml_problem(block, tmp_path) or "")


@pytest.mark.parametrize(("text", "said"), [("{", "not JSON"), ('{"v": 2}', "'id' is missing")])
def test_wrong_json_is_noticed(text: str, said: str) -> None:
    block = Block(Path("page.md"), 1, "json", text)
    assert said in (doc_documents.json_problem(block, "prediction") or "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Say `gitops promot dev staging`.", "there's no command"),
        ("Say `gitops promote --prr`.", "no option --prr"),
        ("`gitops promote` opens it with `--once`.", "no command that is named near it"),
        ("Nothing is named, and `--once` neither.", "no command that is named near it"),
    ],
)
def test_wrong_words_in_the_text_are_noticed(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    (problem,) = doc_blocks.prose_problems(tmp_path / "page.md")
    assert said in problem


@pytest.mark.parametrize(
    ("target", "fine"),
    [
        ("other.md", True),
        ("other.md#a-heading-of-its-own", True),
        ("#here", True),
        ("gone.md", False),
        ("other.md#gone", False),
        ("#gone", False),
    ],
)
def test_a_link_that_leads_nowhere_is_noticed(target: str, fine: bool, tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Other\n\n## A heading, of `its` own\n")
    (tmp_path / "page.md").write_text(f"# Here\n\n[a link]({target})\n")
    assert bool(doc_blocks.link_problems(tmp_path / "page.md")) is not fine


def test_a_fence_that_nobody_closes_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```sh\ngitops build\n")
    with pytest.raises(AssertionError, match="nobody closes"):
        blocks(tmp_path / "page.md")


# ---------------------------------------------------------------- help


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


def test_the_readme_starts_with_the_two_commands_that_set_all_up() -> None:
    readme = blocks(ROOT / "README.md")
    assert {"$ make demo", "$ make test"} <= {block.text.strip() for block in readme}


def test_the_installed_help_lists_the_same_commands(
    gitops: Callable[..., Any], tmp_path: Path
) -> None:
    text = gitops(tmp_path, "--help").out
    assert not [name for name in KNOWN if name.split()[0] not in text]


def test_the_help_groups_commands_as_their_page_does() -> None:
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    top: Any = get_command(make())
    groups = {command.rich_help_panel for command in top.commands.values()}
    assert groups == set(re.findall(r"^## (.+)$", page, re.MULTILINE))
