"""The verdict on a terminal: the answer first, then one line for each check."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gitops.validate.model import Check, Verdict
from gitops.validate.reports import drawing, numbers, words
from gitops.validate.reports.text import SENTENCE, clean, fit, width

Style = Callable[[str, str], str]  # text, and one of bold, dim, red, green, yellow

_MARKS = {"fail": "✘", "undecided": "?", "waived": "~", "advice": "!", "pass": "✔", "none": "–"}
_COLOURS = {
    "fail": "red",
    "undecided": "yellow",
    "waived": "yellow",
    "advice": "yellow",
    "pass": "green",
    "none": "dim",
}
_GAP = "  "
_SHOWN = 40  # checks; the files have all
_ALARMS = 10
_WHOLE = 10  # models; of more, those without a question have one line


def render(verdicts: Sequence[Verdict], *, columns: int = 100, style: Style | None = None) -> str:
    """Lines of at most `columns` cells where the texts allow it (60 at least)."""
    paint = style or (lambda text, kind: text)
    short = len(verdicts) > _WHOLE
    blocks = []
    for one in verdicts:
        lines = _verdict(one, max(columns, 60), paint)
        blocks.append("\n".join(lines[:1] if short and one.state == "PASS" else lines))
    if len(verdicts) > 1:
        blocks.append(paint(words.tally(verdicts), "bold"))
    return ("\n" if short else "\n\n").join(blocks)


def _verdict(verdict: Verdict, columns: int, paint: Style) -> list[str]:
    head = words.headline(verdict)
    name = f"{clean(verdict.model)} for {clean(verdict.environment)}"
    colour = _COLOURS[head.status]
    lines = [paint(f"{_MARKS[head.status]} {head.answer}: {name}", colour)]
    lines += _wrapped(head.why, columns, "  ")
    lines += _wrapped(f"What now: {words.todo(verdict)}", columns, "  ")
    lines += [paint(line, "dim") for line in _wrapped(words.compared(verdict), columns, "  ")]
    for note in verdict.notes[:_SHOWN]:
        mark = paint("!", "yellow") if note.level == "alarm" else "·"
        lines += _wrapped(clean(note.text, SENTENCE), columns, "    ", f"  {mark} ")
    lines += _more(len(verdict.notes) - _SHOWN, "more notes")
    for waiver in verdict.waivers:
        text = f"waiver of {clean(waiver.check)} {words.waiver(waiver)}"
        lines += _wrapped(text, columns, "    ", f"  {paint('~', 'yellow')} ")
    lines += ["", *_table(verdict, columns, paint)]
    alarms = words.alarms(verdict)
    for alarm in alarms[:_ALARMS]:
        text = clean(alarm.text, SENTENCE)
        lines += _wrapped(text, columns, "    ", f"  {paint('!', 'yellow')} ")
    return lines + _more(len(alarms) - _ALARMS, "more alarms")


def _table(verdict: Verdict, columns: int, paint: Style) -> list[str]:
    usual = numbers.usual_level(verdict)
    every = words.ordered(verdict.checks)
    checks = every[:_SHOWN]
    head = ("check", f"judged [{numbers.percent(usual)} interval]", "needs", "rows")
    body = [
        (words.title(one), words.judged(one, usual), words.needs(one), words.rows(one))
        for one in checks
    ]
    widths = [max(width(row[i]) for row in (head, *body)) for i in range(4)]
    spare = columns - 2 - sum(widths[1:]) - 3 * len(_GAP)
    pictures = [drawing.of_check(one) for one in checks]
    drawn = spare - min(widths[0], 40) >= drawing.CELLS + len(_GAP) and any(pictures)
    if drawn:
        spare -= drawing.CELLS + len(_GAP)
    widths[0] = min(widths[0], max(spare, 16))

    def line(row: Sequence[str], picture: str) -> str:
        cells = [fit(row[0], widths[0]), fit(row[1], widths[1]), fit(row[2], widths[2])]
        cells += [" " * (widths[3] - width(row[3])) + row[3]]
        return _GAP.join([*cells, picture] if drawn and picture else cells)

    lines = [paint(f"  {line(head, '')}".rstrip(), "bold")]
    for check, row, picture in zip(checks, body, pictures, strict=True):
        first, *others = _wrapped(row[0], widths[0], "")
        cut = any(width(one) > widths[0] for one in (first, *others))
        if cut:  # a name without a space: whole below
            first, others = row[0], []
        lines.append(f"{_mark(check, paint)} {line((first, *row[1:]), picture)}".rstrip())
        lines += [f"  {one}" for one in others]
        if cut or not words.shows_pass(check):
            text = f"{words.state(check)}: {words.reason(check)}".removesuffix(": ")
            lines += _wrapped(f"{row[0]}: {text}" if cut else text, columns, "    ")
    passing = sum(check.state == "PASS" for check in every[_SHOWN:])
    return lines + _more(len(every) - _SHOWN, f"more checks, {passing} of them pass")


def _mark(check: Check, paint: Style) -> str:
    now = words.status(check)
    return paint(_MARKS[now], _COLOURS[now])


def _more(count: int, what: str) -> list[str]:
    return [f"  … {numbers.count(count)} {what}"] if count > 0 else []


def _wrapped(text: str, columns: int, indent: str, first: str = "") -> list[str]:
    """Words of `text` in lines; a word that is too long for a line stays whole."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and len(indent) + width(longer) > columns:
            lines.append(word)
        else:
            lines[-1] = longer
    return [(first or indent) + lines[0], *(indent + line for line in lines[1:])]
