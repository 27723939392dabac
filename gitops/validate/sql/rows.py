"""From the tables of predictions to the judged rows: joined by id, checked, with their losses."""

# ruff: noqa: S608 - statements are made of our own names and numbers only

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gitops.errors import EvidenceError, Where
from gitops.evaluation import FIX, RANGE_TOLERANCE
from gitops.validate.model import Task
from gitops.validate.sql.engines import Engine, Frame, Kind, Source
from gitops.validate.sql.expressions import loss, number, one_if, own_score

_LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Evaluations:
    """`predictions.parquet` of a candidate and of its champion, with the same rows.

    `classes`: as in a `Table`; a binary score is that of the second class in both files. Where the
    champion has no score of a class, it gives it none. Weights, groups, times and slices are the
    champion's (the base's), where there is one.
    """

    task: Task
    classes: tuple[str, ...]
    candidate: Source
    champion: Source | None = None

    @property
    def models(self) -> str:
        return "a" if self.champion is None else "ab"


@dataclass(frozen=True)
class Rows:
    """The judged rows, kept by the engine.

    Columns: `y` label, `a` and `b` predictions (codes; `y` of an unknown class is their number),
    `w`, `s0`, `s1`, ... slices, `grp` or `t`, `differs` (do both answer otherwise), and `l0a`,
    `l0b`, ... the losses.
    """

    frame: Frame
    count: int
    weighted: bool
    grouped: bool
    timed: bool


@dataclass(frozen=True)
class _Side:
    """One file: `a` the candidate's, `b` the champion's; `judged`: rows are weighed by it."""

    of: str
    source: Source
    frame: Frame
    kinds: Mapping[str, Kind]
    scores: Mapping[str, str]

    @property
    def where(self) -> Where:
        return Where(self.source)


@contextmanager
def judged(
    engine: Engine, of: Evaluations, losses: Sequence[str], columns: Sequence[str]
) -> Iterator[Rows]:
    """The judged rows of `of`, with these losses and slice columns.

    Raises:
        EvidenceError: a file is missing or damaged; a column is missing or of another type; ids
            are missing, twice, or not the same in both; labels differ; a number is out of range.
    """
    sides = [_side(engine, of, "a", of.candidate)]
    if of.champion is not None:
        sides.append(_side(engine, of, "b", of.champion))
    base = sides[-1]
    extra = _extra(base, columns)
    frames = {
        side.of: engine.renamed(
            side.frame,
            {"id": "id", "label": "label", "made": "prediction", **side.scores}
            | (extra if side is base else {}),
        )
        for side in sides
    }
    counts = [
        _check(engine, of, side, frames[side.of], "w" in extra and side is base) for side in sides
    ]
    if of.classes:
        frames["classes"] = engine.made(
            {"text": list(of.classes), "code": list(range(len(of.classes)))}
        )
    with engine.kept(_statement(of, sides, extra, losses), frames) as frame:
        timed = _check_joined(engine, of, sides, frame, counts, "t" in extra)
        yield Rows(frame, counts[0], "w" in extra, "grp" in extra, timed)


def _side(engine: Engine, of: Evaluations, name: str, source: Source) -> _Side:
    frame, kinds = engine.read(source)
    kind = "number" if of.task == "regression" else "text"
    needed: dict[str, Kind] = {"id": "text", "label": kind, "prediction": kind}
    scores = {}
    if of.task == "binary":
        scores = {f"p{name}": "score"}
    elif of.task == "multiclass":
        every = {f"p{name}{at}": f"score_{one}" for at, one in enumerate(of.classes)}
        scores = {new: old for new, old in every.items() if old in kinds} or every
    needed |= dict.fromkeys(scores.values(), "number")
    _require(needed, kinds, source)
    return _Side(name, source, frame, kinds, scores)


def _extra(side: _Side, columns: Sequence[str]) -> dict[str, str]:
    """What rows are weighed and cut by, by its name in the statements."""
    found = {f"s{at}": f"slice_{name}" for at, name in enumerate(columns)}
    _require(dict.fromkeys(found.values(), "text"), side.kinds, side.source)
    for new, old, kind in (
        ("w", "weight", "number"),
        ("grp", "group", "text"),
        ("t", "timestamp", "time"),
    ):
        if old in side.kinds and not (new == "t" and "grp" in found):
            _require({old: kind}, side.kinds, side.source)
            found[new] = old
    return found


def _require(needed: Mapping[str, Kind], kinds: Mapping[str, Kind], source: Source) -> None:
    for name, kind in needed.items():
        if kinds.get(name) != kind:
            wanted = {"time": "datetime[us, UTC]", "number": "float64", "text": "string"}[kind]
            has = f"is {kinds[name]}, not {wanted}" if name in kinds else "is missing"
            raise EvidenceError(f"column {name!r} {has}", fix=FIX, where=Where(source))


# ---------------------------------------------------------------- checks


def _check(engine: Engine, of: Evaluations, side: _Side, frame: Frame, weighted: bool) -> int:
    """The number of rows, none of which breaks a rule."""
    finite = f"BETWEEN {number(-_LARGEST)} AND {number(_LARGEST)}"
    whole = f"BETWEEN {number(-RANGE_TOLERANCE)} AND {number(1 + RANGE_TOLERANCE)}"
    rules = {"have no id": "id IS NOT NULL"}
    if of.task == "regression":
        rules["have a label that is not finite"] = f"label {finite}"
        rules["have a prediction that is not finite"] = f"made {finite}"
    else:
        rules["have no label"] = "label IS NOT NULL"
        rules |= {f"have a {old} outside of 0 to 1": f"{new} {whole}"
                  for new, old in side.scores.items()}  # fmt: skip
    if weighted:
        rules["have a weight that is not a finite number above 0"] = f"w > 0e0 AND w {finite}"
    kept = ", ".join(f"SUM({one_if(rule)}) AS r{at}" for at, rule in enumerate(rules.values()))
    sql = f"SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids, {kept} FROM {{rows}}"
    (found,) = _records(engine.query(sql, {"rows": frame}))
    n = int(found["n"])
    if not n:
        raise EvidenceError("there are no rows", fix=FIX, where=side.where)
    for at, text in enumerate(rules):
        if bad := n - int(found[f"r{at}"]):
            raise EvidenceError(f"{bad:,} rows {text}", fix=FIX, where=side.where)
    if n != found["ids"]:
        message = f"{n - found['ids']:,} rows have an id that another row has"
        raise EvidenceError(message, fix=FIX, where=side.where)
    return n


def _check_joined(
    engine: Engine,
    of: Evaluations,
    sides: Sequence[_Side],
    frame: Frame,
    counts: Sequence[int],
    timed: bool,
) -> bool:
    """Whether rows are in the order of a time: where one has none, none has an order."""
    asked = ["COUNT(*) AS n", "SUM(moved) AS moved"]
    if of.classes:
        asked += [f"SUM({one_if(f'{one} IS NULL')}) AS strange_{one}" for one in of.models]
    if timed:
        asked.append(f"SUM({one_if('t IS NULL')}) AS timeless")
    (found,) = _records(engine.query(f"SELECT {', '.join(asked)} FROM {{rows}}", {"rows": frame}))
    where = sides[0].where
    if len(sides) == 2 and {int(found["n"])} != set(counts):
        message = f"{counts[0]:,} rows, the champion's has {counts[1]:,}; {found['n']:,} in both"
        fix = "evaluate both on the same test set"
        raise EvidenceError(message, fix=fix, where=where)
    if found["moved"]:
        message = f"{int(found['moved']):,} rows have another label than in the champion's table"
        raise EvidenceError(message, fix="labels are the base's: restore them", where=where)
    for side in sides:
        if bad := int(found.get(f"strange_{side.of}") or 0):
            shown = ", ".join(of.classes[:10])
            message = f"{bad:,} rows have a prediction that is none of the classes ({shown})"
            raise EvidenceError(message, fix=FIX, where=side.where)
    return timed and not found["timeless"]


def _records(columns: Mapping[str, list[object]]) -> list[dict[str, float]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


# ---------------------------------------------------------------- the statement


def _statement(
    of: Evaluations, sides: Sequence[_Side], extra: Mapping[str, str], losses: Sequence[str]
) -> str:
    """Joined and coded; then the scores of the labels' own classes; then the losses."""
    base, models, known = sides[-1].of, of.models, len(of.classes)
    joined = ["{a} AS a"]
    if of.champion is not None:
        joined.append("INNER JOIN {b} AS b ON a.id = b.id")
    taken = [f"{base}.{name} AS {name}" for name in extra if name not in ("w", "grp")]
    taken.append(f"{base}.w AS w" if "w" in extra else "1e0 AS w")
    if "grp" in extra:  # a row without a group is a group of its own
        own = f"CASE WHEN {base}.grp IS NULL THEN '-' || a.id ELSE '=' || {base}.grp END"
        taken.append(f"{own} AS grp")
    if of.classes:
        joined.append(f"LEFT JOIN {{classes}} AS k ON {base}.label = k.text")
        joined += [f"LEFT JOIN {{classes}} AS k{m} ON {m}.made = k{m}.text" for m in models]
        taken += [f"COALESCE(k.code, {known}) AS y", *(f"k{m}.code AS {m}" for m in models)]
        taken += [f"{side.of}.{name} AS {name}" for side in sides for name in side.scores]
        taken += [f"0e0 AS {name}" for name in _absent(of, sides)]
    else:
        taken += [f"{base}.label AS y", *(f"{m}.made AS {m}" for m in models)]
    moved = one_if("a.label <> b.label") if of.champion is not None else "0e0"
    text = f"SELECT {', '.join(taken)}, {moved} AS moved FROM {' '.join(joined)}"
    if of.task == "multiclass":
        own = ", ".join(f"{own_score(m, known)} AS own{m}" for m in models)
        text = f"SELECT *, {own} FROM ({text}) AS coded"
    kept = ["y", *models, "w", *(name for name in extra if name != "w"), "moved"]
    kept += [
        f"{loss(name, of.task, m, known)} AS l{at}{m}"
        for at, name in enumerate(losses)
        for m in models
    ]
    return f"SELECT {', '.join(kept)}, {_differs(of)} AS differs FROM ({text}) AS scored"


def _absent(of: Evaluations, sides: Sequence[_Side]) -> list[str]:
    """Scores of classes that a model doesn't know."""
    if of.task != "multiclass":
        return []
    every = [(side, f"p{side.of}{at}") for side in sides for at in range(len(of.classes))]
    return [name for side, name in every if name not in side.scores]


def _differs(of: Evaluations) -> str:
    if of.champion is None:
        return "1e0"
    pairs = ["a <> b"]
    if of.task == "binary":
        pairs.append("pa <> pb")
    elif of.task == "multiclass":
        pairs += [f"pa{at} <> pb{at}" for at in range(len(of.classes))]
    return one_if(" OR ".join(pairs))
