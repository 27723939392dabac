"""Reports of a verdict: for the terminal, the pull request, a browser, CI systems and people.

Everything is a pure function of verdicts: the same evidence gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gitops import whole
from gitops.errors import ToolError, Where
from gitops.logtext import Platform
from gitops.validate.model import Verdict
from gitops.validate.reports import annotate, card, comment, console, html, junit, sarif
from gitops.validate.reports.console import Style

__all__ = ["annotations", "files", "markdown", "no_verdicts", "terminal", "write"]


def terminal(verdicts: Sequence[Verdict], *, columns: int = 100, style: Style | None = None) -> str:
    """Lines for a terminal of `columns` cells; `style(text, kind)` colours."""
    return console.render(verdicts, columns=columns, style=style)


def markdown(verdicts: Sequence[Verdict], end: str = "") -> str:
    """The comment for the pull request, with `end` at most 65,536 bytes."""
    return comment.render(verdicts, comment.LIMIT - len(end.encode())) + end


def no_verdicts(reasons: Mapping[str, str]) -> str:
    """What a summary says first of models on which there is none, by model; Markdown."""
    return "".join(
        f"## ❌ No verdict: {comment.code(model)}\n\n**{comment.prose(reason)}**\n\n"
        for model, reason in reasons.items()
    )


def annotations(
    verdicts: Sequence[Verdict], platform: Platform, reasons: Mapping[str, str] | None = None
) -> list[str]:
    """Log lines that GitHub or Azure turns into annotations; `reasons` as of `no_verdicts`."""
    return annotate.render(verdicts, platform, reasons or {})


def files(
    verdicts: Sequence[Verdict], package_cards: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Every report by its path below the report folder; of no verdicts there is none.

    `package_cards`: the static MODEL_CARD.md of the candidates' packages, by model.
    """
    if not verdicts:
        return {}
    cards = package_cards or {}
    found = {
        "report.md": markdown(verdicts),
        "junit.xml": junit.render(verdicts),
        "report.sarif": sarif.render(verdicts),
    }
    pages = {f"{one.model}/report.html": one for one in verdicts}
    for one in verdicts:
        found[f"{one.model}/MODEL_CARD.md"] = card.render(one, cards.get(one.model, ""))
    if len(verdicts) == 1:
        found["report.html"] = html.page(verdicts[0])
    else:
        found |= {path: html.page(one) for path, one in pages.items()}
        found["report.html"] = html.index(list(pages.items()))
    return found


def write(
    verdicts: Sequence[Verdict],
    folder: Path,
    package_cards: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write `files` and `more` into `folder`, each whole or not at all; returns the paths.

    Raises:
        ToolError: the folder can't be written.
    """
    done = []
    for name, text in {**files(verdicts, package_cards), **(more or {})}.items():
        path = folder / name
        try:
            whole.write(path, text)
        except OSError as error:
            reason = f"the report can't be written: {error.strerror or error}"
            raise ToolError(
                reason, fix="name a folder that can be written with --report", where=Where(path)
            ) from error
        done.append(path)
    return done
