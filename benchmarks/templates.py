"""One project template of 60 files and 10 variables, in the dialect of each tool."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FILES = 60
ANSWERS: dict[str, object] = {
    "project": "flights",
    "package": "flights",
    "owner": "data",
    "task": "binary",
    "target": "late",
    "python": "3.11",
    "rows": 336776,
    "storage": "../storage",
    "branch": "main",
    "strict": True,
}
PRINTED = [name for name in ANSWERS if name != "strict"]


@dataclass(frozen=True)
class Dialect:
    """Delimiters of variables and blocks, and what a variable is called inside."""

    variable: tuple[str, str]
    block: tuple[str, str]
    prefix: str = ""

    def value(self, name: str) -> str:
        return f"{self.variable[0]} {self.prefix}{name} {self.variable[1]}"

    def file(self, number: int) -> str:
        """About 40 lines: text, variables, a condition, a loop."""
        start, end = self.block
        lines = [f"# {self.value('project')}: module {number}", f'OWNER = "{self.value("owner")}"']
        for row in range(12):
            name = PRINTED[(number + row) % len(PRINTED)]
            lines += [f'value_{row} = "{self.value(name)}"', f"# line {row} of plain text"]
        lines += [
            # A sign after each block: the dialects differ in what becomes of a line end there.
            f"{start} if {self.prefix}strict {end}yes{start} else {end}no{start} endif {end} #",
            f"{start} for n in range(5) {end}[{self.variable[0]} n {self.variable[1]}]"
            f"{start} endfor {end} #",
        ]
        return "\n".join(lines) + "\n"


OURS = Dialect(("@{", "}@"), ("@%", "%@"))
COOKIECUTTER = Dialect(("{{", "}}"), ("{%", "%}"), "cookiecutter.")
COPIER = Dialect(("{{", "}}"), ("{%", "%}"))


def write_ours(folder: Path) -> None:
    """A generator, and `answers.json` beside it."""
    _write(folder / "template", OURS, ".j2")
    (folder / "generator.yaml").write_text(
        "version: 1\nname: benchmark\ndescription: sixty files\n"
        'files:\n  - {path: "**", owner: user}\n'
    )
    (folder / "answers.json").write_text(json.dumps(ANSWERS))


def write_cookiecutter(folder: Path) -> None:
    _write(folder / "{{ cookiecutter.project }}", COOKIECUTTER, "")
    (folder / "cookiecutter.json").write_text(json.dumps(ANSWERS))


def write_copier(folder: Path) -> None:
    _write(folder / "template", COPIER, ".jinja")
    lines = [f"{name}: {{default: {json.dumps(value)}}}" for name, value in ANSWERS.items()]
    (folder / "copier.yml").write_text("\n".join(["_subdirectory: template", *lines, ""]))


def _write(folder: Path, dialect: Dialect, suffix: str) -> None:
    for number in range(FILES):
        inner = folder / dialect.value("package") / f"part_{number % 6}"
        inner.mkdir(parents=True, exist_ok=True)
        (inner / f"module_{number}.py{suffix}").write_text(dialect.file(number))
