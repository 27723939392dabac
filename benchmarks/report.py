"""docs/BENCHMARKS.md: what was measured, in a table, and which budgets were missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from benchmarks.measure import Failed, Row

# Why a budget is missed, by its case: kept by hand, and shown only where it is.
WHY: Mapping[str, str] = {
    "registry_status": "it is a whole process that starts, reads gitops.yaml by its schema, asks"
    " git fifteen times, and takes 5,000 names of tags apart",
    "registry_promote": "beyond what `status` does, it reads what the models stand on at both ends",
    "serving_cpu": "each request is checked by the model's signature, counted, and answered with"
    " an id, in Python",
}

_ABOUT = """\
# Benchmarks

Written by `make bench`: each piece of work by `gitops` and by the tools that do the same, in turns,
on one machine, in one run. CPU seconds of whole processes, children included, unless the line says
otherwise. A budget is what we allow ourselves.
"""


def page(machine: Mapping[str, str], found: Sequence[Row | Failed], absent: Sequence[str]) -> str:
    """The whole page, in Markdown; `absent`: peers that no environment has."""
    rows = [one for one in found if isinstance(one, Row)]
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    parts = [_ABOUT, f"{facts}.\n"]
    if absent:
        parts.append(f"Left out, since they weren't there: {', '.join(absent)}.\n")
    parts += [_table(rows), "## Budgets\n", _budgets(rows)]
    if failed := [one for one in found if isinstance(one, Failed)]:
        lines = [f"- `{one.case}`: {_line(one.why)}\n" for one in failed]
        parts += ["## Not measured: these failed\n", "".join(lines)]
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    lines = ["| work | tool | median | min .. max | rounds | peak MB | budget |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for work, several in groupby(rows, key=lambda one: one.work):
        for at, row in enumerate(several):
            tool = f"**{row.tool}**" if row.tool == "gitops" else row.tool
            budget = "" if row.budget is None else f"{row.budget:g}"
            cells = [work if at == 0 else "", tool, _number(row.median)]
            cells += [f"{_number(row.minimum)} .. {_number(row.maximum)}", str(row.rounds)]
            cells += [str(row.memory_mb), budget if row.within else f"{budget} missed"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _budgets(rows: Sequence[Row]) -> str:
    judged = [one for one in rows if one.budget is not None]
    missed = [one for one in judged if not one.within]
    if not missed:
        return f"All {len(judged)} are kept.\n"
    lines = [f"{len(missed)} of {len(judged)} are missed:\n"]
    for one in missed:
        why = WHY.get(one.case, "nobody has said why yet")
        lines.append(f"- {one.work}: {_number(one.median)}, allowed {one.budget:g}: {why}.")
    return "\n".join([*lines, ""])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(text: str) -> str:
    """A failure in a line: what a program said last tells most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " … ".join([lines[0], lines[-1]] if len(lines) > 1 else lines) or "no reason was given"
