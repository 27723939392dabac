"""docs/demo.svg, a picture of parts of a real run: `python docs/picture.py [RECORDING]`.

Without RECORDING (what a terminal of 100 columns got, escape codes included) the demo is run, which
takes minutes, and recorded. The picture asks nothing of the network: no font, no script, no link.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

COLUMNS = 100
_CODE = re.compile(r"\x1b\[(\d*)m")
_CLOCK = re.compile(r" \d+:\d\d ")  # of a heading: how long it took on whatever machine
_CELL, _LINE, _SIZE, _EDGE, _TOP = 8.4, 19, 14, 16, 34
_LOOK = {"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", "36": "c"}  # of cli/screen.py
_STYLE = """\
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d4d7dd }
.b { font-weight: bold; fill: #fff } .d { fill: #8b919c } .r { fill: #ff7b72 }
.g { fill: #6cc58a } .y { fill: #e3b341 } .c { fill: #79c0ff }"""


@dataclass(frozen=True)
class Part:
    """What is shown of the act with this title: how its command starts, and how many of its lines.

    `most`: the first so many; below 0 the last. `progress`: those on how it goes, too.
    """

    title: str
    start: str
    most: int
    progress: bool = False


PARTS = (
    Part("A table becomes a repository", "gitops new", 7),
    Part("Build", "gitops build", -3),
    Part("A pull request with a worse model", "gitops gate", 8),
    Part("To production", "gitops promote staging production", -3),
    Part("A bad model gets through", "gitops deploy production", 15, progress=True),
)


@dataclass(frozen=True)
class Said:
    """A command, the title of its act, what the act is about, and what the command said."""

    act: str
    about: tuple[str, ...]
    command: str
    lines: tuple[str, ...]


def record() -> str:
    """What a terminal gets of a run.

    Raises:
        RuntimeError: the demo failed.
    """
    import pexpect

    with tempfile.TemporaryDirectory(prefix="gitops-") as folder:
        words = ["-m", "gitops", "demo", str(Path(folder) / "demo")]
        child = pexpect.spawn(
            sys.executable, words, dimensions=(50, COLUMNS), encoding="utf-8", timeout=3600
        )
        child.logfile_read = sys.stdout
        child.expect(pexpect.EOF)
        text = str(child.before)
        child.close()
    if child.exitstatus:
        raise RuntimeError(f"the demo ended with exit code {child.exitstatus}")
    return text.replace(folder, "~")


def said(recording: str) -> Iterator[Said]:
    """The commands of a run, in order."""
    act, command = "", ""
    about: list[str] = []
    lines: list[str] = []
    for line in [*recording.replace("\r", "").splitlines(), "━━ end ━ ━"]:
        plain = _CODE.sub("", line)
        if plain.startswith(("━━", "$ ")) and command:
            yield Said(act, tuple(about), command, tuple(lines))
        if plain.startswith("━━"):
            head = _CLOCK.sub(lambda clock: "━" * len(clock[0]), line)
            act, about, command = head, [], ""
        elif plain.startswith("$ "):
            command, lines = plain.removeprefix("$ "), []
        elif command:
            lines.append(line)
        elif plain:
            about.append(line)


def chosen(recording: str, parts: Sequence[Part] = PARTS) -> list[str]:
    """The lines to show; where some are left out, that is said.

    Raises:
        LookupError: the run has no such act or command.
    """
    known, found = list(said(recording)), []
    for part in parts:
        of_act = (one for one in known if f"━ {part.title}" in _CODE.sub("", one.act))
        one = next((one for one in of_act if one.command.startswith(part.start)), None)
        if one is None:
            raise LookupError(f"no {part.start!r} in an act {part.title!r}")
        told = [line for line in one.lines if _is_shown(_CODE.sub("", line), part.progress)]
        kept = told[: part.most] if part.most > 0 else told[part.most :]
        gap = ["\x1b[2m…\x1b[0m"] if len(kept) < len(told) else []
        found += [one.act, *one.about, f"\x1b[1m$ {one.command}\x1b[0m"]
        found += [*kept, *gap, ""] if part.most > 0 else [*gap, *kept, ""]
    return found[:-1]


def _is_shown(line: str, progress: bool) -> bool:
    return bool(line) and (progress or not line.startswith("·"))


def svg(lines: Sequence[str]) -> str:
    """A terminal with these lines, cut at its edge; columns hold whatever font is there."""
    width, height = _CELL * COLUMNS + 2 * _EDGE, _TOP + _LINE * len(lines) + _EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}">',
        "<title>Parts of a real run of gitops demo</title>",
        f"<style>\n{_STYLE}\n</style>",
        f'<rect width="{width:g}" height="{height}" rx="8" fill="#16191f" stroke="#3d434d"/>',
        *(
            f'<circle cx="{_EDGE + 4 + 18 * at}" cy="17" r="5" fill="{colour}"/>'
            for at, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
        ),
    ]
    for at, line in enumerate(lines):
        parts += _text(line, _TOP + _LINE * at + _SIZE)
    return "\n".join([*parts, "</svg>", ""])


def _text(line: str, y: int) -> Iterator[str]:
    look, column = "", 0
    for code, text in zip(["", *_CODE.findall(line)], _CODE.split(line)[::2], strict=True):
        look = _LOOK.get(code, "")
        if column + len(text) > COLUMNS:
            text = text[: max(0, COLUMNS - 1 - column)] + "…"
        if column < COLUMNS and (bare := text.strip(" ")):
            x = _EDGE + _CELL * (column + len(text) - len(text.lstrip(" ")))
            kind = f' class="{look}"' if look else ""
            size = f' textLength="{_CELL * len(bare):g}"'
            yield f'<text x="{x:g}" y="{y}"{size}{kind} xml:space="preserve">{escape(bare)}</text>'
        column += len(text)


def main() -> None:
    recording = Path(sys.argv[1]).read_text("utf-8") if len(sys.argv) > 1 else record()
    file = Path(__file__).with_name("demo.svg")
    file.write_text(svg(chosen(recording)), "utf-8")
    sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main()
