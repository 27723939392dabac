"""The blocks of the documentation, and what is wrong with their lines and with the words around.

A command line of ours is parsed by the real command tree. What no function here knows is a problem,
so that nothing goes unlooked at.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from typer.main import get_command

from gitops.cli.app import make

ROOT = Path(__file__).parents[1]
SHELLS = ("sh", "console")
# Nothing is run or read of these: what a program writes, pictures, other languages.
SHOWN = ("text", "mermaid", "{toctree}", "{image}")
# Programs of others; what they are told is theirs to check.
OTHERS = {"$EDITOR", "aws", "cd", "curl", "export", "gh", "helm", "perl"}
FENCE = re.compile(r"^( *)(`{3,})(.*)$")


@dataclass(frozen=True)
class Block:
    """What stands between two fences, without its indentation."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    found: list[Block] = []
    opened: tuple[str, str, str, int] | None = None
    inside: list[str] = []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened, inside = (fence[1], fence[2], fence[3].split(" ")[0], number), []
        elif opened and line.strip() == opened[1]:
            found.append(Block(page, opened[3], opened[2], "\n".join(inside) + "\n"))
            opened = None
        elif opened:
            inside.append(line.removeprefix(opened[0]))
    assert opened is None, f"{page.name}:{opened and opened[3]}: a fence that nobody closes"
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    text = page.read_text("utf-8")
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.DOTALL | re.MULTILINE)


# ---------------------------------------------------------------- shell


def script(block: Block) -> list[str]:
    """The lines that are typed: of a console those after `$ `, else all; comments are gone."""
    text = re.sub(r"\\\n\s*", "", block.text)
    lines = text.splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [bare for line in lines if (bare := _uncommented(line).strip())]


def _uncommented(line: str) -> str:
    found = re.match(r"""(?:[^'"#\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*"|(?<=\S)\#)*""", line)
    return found[0] if found else line


def commands(line: str) -> Iterator[list[str]]:
    """The words of each simple command of a line, those in `$(...)` first."""
    for inner in re.findall(r"\$\(([^()]*)\)", line):
        yield from commands(inner)
    lexer = shlex.shlex(re.sub(r"\$\([^()]*\)", "VALUE", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    for token in [*lexer, ";"]:
        if re.fullmatch(r"[;&|]+", token):
            while words and re.match(r"\w+=", words[0]):  # variables before the program
                words.pop(0)
            if words:
                yield words
            words = []
        else:
            words.append(token)


def shell_problems(block: Block) -> list[str]:
    """What is wrong with the block's lines, each with its place."""
    lines = script(block)
    if not lines:
        return [f"{block.where}: no line of it is typed"]
    if block.language == "console" and re.search("^gitops ", block.text, re.MULTILINE):
        return [f"{block.where}: a line of ours without its prompt"]
    return [
        f"{block.where}: {line}: {problem}"
        for line in lines
        for words in commands(line)
        if (problem := word_problem(words))
    ]


def word_problem(words: list[str]) -> str | None:
    """What is wrong with one simple command, or None."""
    program = words[0].rpartition("/")[2]
    if program in KNOWN:
        return KNOWN[program](words[1:])
    return None if program in OTHERS else f"nobody here knows the program {program!r}"


TREE: Any = get_command(make())


def gitops_problem(words: list[str]) -> str | None:
    """What the real parser says of `gitops WORDS`."""
    try:
        context = TREE.make_context("gitops", list(words))
        command = TREE
        while hasattr(command, "commands"):
            rest = [*context._protected_args, *context.args]
            name, command, rest = command.resolve_command(context, rest)
            context = command.make_context(name, rest, parent=context)
    except Exception as error:  # the parser's own errors share no public base
        return str(getattr(error, "message", None) or error) or type(error).__name__
    return None


def options_of(words: list[str]) -> set[str] | None:
    """The options of the command that these words begin with; None: there's no such command."""
    command: Any = TREE
    for word in words:
        inner = getattr(command, "commands", None)
        if inner is None:
            break
        if word not in inner:
            return None
        command = inner[word]
    several = getattr(command, "commands", None)
    found = list(several.values()) if several else [command]
    return {
        option
        for one in found
        for param in one.params
        for option in (*param.opts, *param.secondary_opts)
    } | {"--help", "-h"}


def _make(words: list[str]) -> str | None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    unknown = [word for word in words if "=" not in word and word not in targets]
    return f"no target {unknown[0]!r}" if unknown else None


@cache
def _git_commands() -> frozenset[str]:
    done = subprocess.run(["git", "--list-cmds=main"], capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())


def _git(words: list[str]) -> str | None:
    return None if words[0] in _git_commands() else f"git has no command {words[0]!r}"


@cache
def _az_commands() -> dict[str, Any]:
    path = ROOT / "tests" / "contracts" / "az" / "commands.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))["commands"]
    return found


def _az(words: list[str]) -> str | None:
    """Held against the official descriptions, where we have that command's."""
    named = [word for word in words if not word.startswith("-")]
    for length in range(len(named), 0, -1):
        known = _az_commands().get(" ".join(named[:length]))
        if known is None:
            continue
        names = {name for option in known.values() for name in option["names"]}
        wrong = [word for word in words if word.startswith("-") and word not in names]
        return f"az {' '.join(named[:length])} has no option {wrong[0]}" if wrong else None
    return None


def _extras(words: list[str]) -> str | None:
    """Of ours only extras that there are."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = re.findall(r"gitops[-_]ml[^\s\[]*\[([a-z,0-9]+)\]", " ".join(words))
    wheels = set(re.findall(r"gitops_ml-[^\s\[]*\.whl", " ".join(words)))
    if wheels - {f"gitops_ml-{known['version']}-py3-none-any.whl"}:
        return f"not the wheel of version {known['version']}"
    wrong = {one for text in named for one in text.split(",")} - set(known["optional-dependencies"])
    return f"no extra {sorted(wrong)[0]!r}" if wrong else None


def _sh(words: list[str]) -> str | None:
    if words[:1] == ["-c"]:
        return None
    found = list((ROOT / "generators").glob(f"*/template/{words[0]}*"))
    return None if found else f"no generator writes {words[0]}"


def _python(words: list[str]) -> str | None:
    if words[:1] != ["-m"] or not words[1].startswith(("benchmarks", "tests", "gitops")):
        return None
    path = ROOT / Path(*words[1].split("."))
    there = path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
    return None if there else f"no module {words[1]}"


KNOWN: dict[str, Callable[[list[str]], str | None]] = {
    "gitops": gitops_problem,
    "make": _make,
    "git": _git,
    "az": _az,
    "pip": _extras,
    "uv": _extras,
    "sh": _sh,
    "python": _python,
    "python3": _python,
}


# ---------------------------------------------------------------- words between backticks


def prose_problems(page: Path) -> list[str]:
    """Commands and options of ours that the text names, and that aren't there."""
    found, everywhere = [], _named_options(page.read_text("utf-8"))
    for paragraph in _paragraphs(prose(page)):
        spans = re.findall(r"(?<!`)`([^`]+)`(?!`)", paragraph)
        for words in (one.split() for one in spans if one.startswith("gitops ")):
            named = [word for word in words[1:] if re.fullmatch("[a-z][a-z-]*", word)]
            options = options_of(named)
            if options is None:
                found.append(f"{page.name}: there's no command `{' '.join(words)}`")
                continue
            for word in words:
                option = word.partition("=")[0].strip("[],")
                if option.startswith("--") and option not in options | OF_ALL:
                    found.append(f"{page.name}: `{' '.join(words)}`: no option {option}")
        for words in (one.split() for one in spans if re.match("(make|python3?) .", one)):
            if problem := word_problem(words):
                found.append(f"{page.name}: `{' '.join(words)}`: {problem}")
        for span in spans:
            option = re.match(r"--[a-z][a-z-]*", span)
            near = _named_options(paragraph) or everywhere
            if option and option[0] not in near | OPTIONS_OF_OTHERS | OF_ALL:
                found.append(f"{page.name}: no command that is named near it has `{span}`")
    return found


# Options in the text that are of programs of others.
OPTIONS_OF_OTHERS = {"--require-hashes", "--locked"}
OF_ALL = {"--version", "--debug", "--install-completion", "--show-completion"}


def _paragraphs(text: str) -> list[str]:
    """Pieces that are read together: paragraphs, items of lists, rows of tables."""
    return re.split(r"\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.) )|\n(?=\|)", text)


def _named_options(text: str) -> set[str]:
    """The options of all commands that a text names."""
    found: set[str] = set()
    for line in re.findall(r"(?:`|\$ |^)gitops ([a-z][^`\n]*)", text, re.MULTILINE):
        words = re.findall(r"[a-z-]+", line)
        found |= options_of(words[:2]) or options_of(words[:1]) or set()
    return found


# ---------------------------------------------------------------- links


def link_problems(page: Path) -> list[str]:
    """Relative links to a file that isn't there, and anchors without their heading."""
    found = []
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", prose(page)):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if GENERATED in path.parts and path.parent.parent == ROOT / "docs":
            continue  # written by `make docs`; there Sphinx looks
        if not path.exists():
            found.append(f"{page.name}: {target}: no such file")
        elif anchor and anchor not in anchors(path):
            found.append(f"{page.name}: {target}: no such heading")
    return found


GENERATED = "reference"


def anchors(page: Path) -> set[str]:
    """The anchors that forges and Sphinx give to a page's headings."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", prose(page), re.MULTILINE)
    bare = (re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", one).lower() for one in headings)
    return {re.sub(r"[^\w\- ]", "", one).replace(" ", "-") for one in bare}
