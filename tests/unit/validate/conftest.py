"""Small models, packages and evaluations for the tests of the gate, made in milliseconds.

Fixtures give the functions: `people` (rows), `make_package`, `make_evaluation`, `make_table`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from gitops import evaluation, onnxfile, package, rows
from gitops.signature import read as read_signature
from gitops.validate.model import Array, Column, Predictions, Table

START = datetime(2024, 1, 1, tzinfo=UTC)
KINDS = {
    pl.Boolean: "boolean",
    pl.String: "categorical",
    pl.Datetime: "datetime",
    pl.Date: "datetime",
}


def people(
    task: str = "binary", count: int = 2000, seed: int = 0, gap: float = 0.0, classes: int = 3
) -> pl.DataFrame:
    """Raw rows with every type of column: id, income, age, region, member, joined, sex, label.

    The label follows income, age, region and member. `gap` moves it by sex. Age is missing in a
    tenth of the rows, region in a twentieth. `joined` grows with the row.
    """
    draw = np.random.default_rng([seed, 17])
    income, age = draw.lognormal(10, 0.5, count).round(2), draw.integers(18, 90, count)
    region, member = draw.choice(["north", "south", "east"], count), draw.random(count) < 0.3
    sex = draw.choice(["female", "male"], count)
    level = np.log(income) * 2 - 20 + (age - 54) / 30 + member - (region == "east")
    level = level + gap * (sex == "male") + draw.normal(0, 1, count)
    return pl.DataFrame(
        {
            "id": [f"{seed}-{row:07}" for row in range(count)],
            "income": income,
            "age": pl.Series(age).set(pl.Series(draw.random(count) < 0.1), None),
            "region": pl.Series(region).set(pl.Series(draw.random(count) < 0.05), None),
            "member": member,
            "joined": [START + timedelta(minutes=row) for row in range(count)],
            "sex": sex,
            "label": _label(task, level, classes),
        }
    )


def _label(task: str, level: Array, classes: int) -> pl.Series:
    if task == "regression":
        return pl.Series(100 + 20 * level)
    if task == "binary":
        return pl.Series(level > 0.3).cast(pl.String)
    cuts = np.linspace(-1.5, 2.0, classes - 1)
    return pl.Series(np.digitize(level, cuts)).cast(pl.String)


def raw_rows(frame: pl.DataFrame) -> evaluation.RawRows:
    """The rows as the gate reads them: they stand in the file in another order."""
    places = np.random.default_rng(3).permutation(frame.height)
    return evaluation.RawRows(frame[places].lazy(), np.argsort(places).astype(np.uint32))


def make_package(
    folder: Path,
    frame: pl.DataFrame,
    *,
    task: str = "binary",
    features: Sequence[str] | None = None,
    target: str = "label",
    project: str = "demo",
    model: str = "demo",
    threshold: float = 0.5,
    ruin: float = 0.0,
) -> package.Package:
    """Fit a linear model on `frame` and write it as a package; `ruin` adds noise to its weights.

    `features`: all columns but id, target and sex by default.
    """
    names = [n for n in features or frame.columns if features or n not in ("id", target, "sex")]
    kinds = {name: KINDS.get(frame.schema[name].base_type(), "number") for name in names}
    label = frame[target].to_numpy()
    if task != "regression":
        label = label.astype(str)
    encoders = {name: _encoder(rows.typed(frame[name], kinds[name]), kinds[name]) for name in names}
    design = np.column_stack([encode(frame) for encode in _encodings(encoders, kinds)])
    with threadpool_limits(1):  # on a busy machine waiting threads take a hundred times as long
        weights, bias, found = _fit(task, design, label)
    if ruin:
        weights = weights + np.random.default_rng(1).normal(0, ruin, weights.shape)
    folder.mkdir(parents=True)
    _write_onnx(folder / "model.onnx", kinds, encoders, weights, bias, task)
    signature: dict[str, Any] = {
        "version": 1,
        "model": model,
        "task": task,
        "target": target,
        "id": "id",
        "runtime": {"kind": "onnx", "file": "model.onnx", "output": "probabilities"},
        "inputs": [_input(frame[name], name, kinds[name]) for name in names],
        "framework": {"name": "scikit-learn", "version": "1.9.1", "python": "3.11"},
    }
    if task != "regression":
        signature["classes"] = found
    if task == "binary":
        signature["threshold"] = threshold
    write_json(folder / "signature.json", signature)
    profiles = {name: _profile(rows.typed(frame[name], kinds[name]), kinds[name]) for name in names}
    reference = {"version": 1, "rows": frame.height, "columns": profiles, **_nothing(task, found)}
    write_json(folder / "reference.json", reference)
    keys = np.unique(rows.row_keys(frame, read_signature(folder / "signature.json"), project))
    (folder / "train_rows.bin").write_bytes(rows.MAGIC + keys.astype("<u8").tobytes())
    (folder / "MODEL_CARD.md").write_text("# A model for the tests\n")
    return package.read(folder)


def make_evaluation(
    folder: Path,
    made: package.Package,
    frame: pl.DataFrame,
    *,
    slices: Sequence[str] = ("region", "sex"),
    **columns: pl.Series,
) -> evaluation.Evaluation:
    """Write the evaluation of a package on raw rows; `columns`: weight, group, timestamp."""
    target, regression = made.signature.target, made.signature.task == "regression"
    folder.mkdir(parents=True, exist_ok=True)
    label = frame[target].cast(pl.Float64) if regression else rows.canonical(frame[target])
    kept = [name for name in slices if name in frame.columns]
    pl.DataFrame({"id": frame["id"], "label": label}).hstack(
        package.score(made, frame).frame
    ).with_columns(
        **columns, **{f"slice_{name}": rows.canonical(frame[name]) for name in kept}
    ).write_parquet(folder / evaluation.PREDICTIONS)
    raw = frame.drop("id", target)
    raw.insert_column(0, frame["id"].alias("__id__")).write_parquet(folder / evaluation.INPUTS)
    return evaluation.read(folder, made.signature)


def make_table(
    made: package.Package,
    frame: pl.DataFrame,
    champion: package.Package | None = None,
    *,
    slices: Sequence[str] = ("region", "sex"),
    **columns: Array,
) -> Table:
    """The judged rows of one or two packages; `columns`: weight, group, time."""
    signature = made.signature
    codes = {name: code for code, name in enumerate(signature.classes)}
    label = frame[signature.target]
    return Table(
        task=signature.task,
        classes=signature.classes,
        label=label.cast(pl.Float64).to_numpy()
        if signature.task == "regression"
        else np.array([codes.get(text, -1) for text in rows.canonical(label)], np.int32),
        candidate=_predictions(made, frame, codes),
        champion=None if champion is None else _predictions(champion, frame, codes),
        columns={
            name: _column(rows.canonical(frame[name])) for name in slices if name in frame.columns
        },
        **columns,
    )


def _predictions(made: package.Package, frame: pl.DataFrame, codes: dict[str, int]) -> Predictions:
    scored = package.score(made, frame).frame
    if made.signature.task == "regression":
        return Predictions(scored["prediction"].to_numpy(), None)
    chosen = np.array([codes[text] for text in scored["prediction"]], np.int32)
    scores = scored.select(made.signature.score_columns).to_numpy()
    return Predictions(chosen, scores[:, 0] if made.signature.task == "binary" else scores)


def _column(texts: pl.Series) -> Column:
    values = texts.unique().sort(nulls_last=True).to_list()
    places = {value: code for code, value in enumerate(values)}
    return Column(np.array([places[text] for text in texts], np.int32), tuple(values))


def write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", "utf-8")


# ---------------------------------------------------------------- the model


def _encoder(column: pl.Series, kind: str) -> Any:
    """Categories, or mean and deviation, of a typed column."""
    if kind == "categorical":
        return column.drop_nulls().unique().sort().to_list() or ["none"]
    known = column.drop_nulls().to_numpy()
    known = known[np.isfinite(known)]
    return (known.mean(), known.std() or 1.0) if len(known) else (0.0, 1.0)


def _encodings(
    encoders: dict[str, Any], kinds: dict[str, str]
) -> list[Callable[[pl.DataFrame], Array]]:
    def encoding(name: str) -> Callable[[pl.DataFrame], Array]:
        def encode(frame: pl.DataFrame) -> Array:
            column = rows.typed(frame[name], kinds[name])
            if kinds[name] == "categorical":
                return np.stack(
                    [(column == c).fill_null(False).to_numpy() for c in encoders[name]], 1
                ).astype(float)
            mean, scale = encoders[name]
            full = np.nan_to_num(column.fill_null(np.nan).to_numpy(), nan=mean)
            scaled: Array = ((full - mean) / scale)[:, None]
            return scaled

        return encode

    return [encoding(name) for name in encoders]


def _fit(task: str, design: Array, label: Array) -> tuple[Array, Array, list[str]]:
    """Weights (features, outputs), bias (outputs), classes."""
    if task == "regression":
        model = Ridge(alpha=1.0).fit(design, label)
        return model.coef_[:, None], np.array([model.intercept_]), []
    model = LogisticRegression(max_iter=300).fit(design, label)
    weights, bias = model.coef_.T, model.intercept_
    if task == "binary":
        weights, bias = (
            np.hstack([-weights / 2, weights / 2]),
            np.array([-bias[0] / 2, bias[0] / 2]),
        )
    return weights, bias, [str(name) for name in model.classes_]


def _write_onnx(
    path: Path,
    kinds: dict[str, str],
    encoders: dict[str, Any],
    weights: Array,
    bias: Array,
    task: str,
) -> None:
    model = onnxfile.message("Model")(ir_version=8)
    model.opset_import.add(domain=b"", version=17)
    model.opset_import.add(domain=b"ai.onnx.ml", version=3)
    graph = model.graph
    graph.name = b"demo"
    parts = []
    for number, (name, kind) in enumerate(kinds.items()):
        tensor = f"x{number}"
        element = {"categorical": 8, "datetime": 11}.get(kind, 1)
        graph.input.add(name=_tensor_name(name).encode(), type=_type(element, 1))
        if kind == "categorical":
            node = _node(
                graph, "OneHotEncoder", [_tensor_name(name)], f"{tensor}_hot", b"ai.onnx.ml"
            )
            node.attribute.add(name=b"cats_strings", type=8).strings.extend(
                c.encode() for c in encoders[name]
            )
            node.attribute.add(name=b"zeros", type=2, i=1)
            _node(graph, "Flatten", [f"{tensor}_hot"], tensor).attribute.add(
                name=b"axis", type=2, i=1
            )
        else:
            dtype = np.float64 if kind == "datetime" else np.float32
            mean, scale = encoders[name]
            _constant(graph, f"{tensor}_mean", np.array([[mean]], dtype))
            _constant(graph, f"{tensor}_scale", np.array([[scale]], dtype))
            _node(graph, "IsNaN", [_tensor_name(name)], f"{tensor}_nan")
            _node(
                graph,
                "Where",
                [f"{tensor}_nan", f"{tensor}_mean", _tensor_name(name)],
                f"{tensor}_full",
            )
            _node(graph, "Sub", [f"{tensor}_full", f"{tensor}_mean"], f"{tensor}_centred")
            _node(graph, "Div", [f"{tensor}_centred", f"{tensor}_scale"], f"{tensor}_wide")
            _node(graph, "Cast", [f"{tensor}_wide"], tensor).attribute.add(name=b"to", type=2, i=1)
        parts.append(tensor)
    _node(graph, "Concat", parts, "design").attribute.add(name=b"axis", type=2, i=1)
    _constant(graph, "weights", weights.astype(np.float32))
    _constant(graph, "bias", bias.astype(np.float32))
    _node(graph, "MatMul", ["design", "weights"], "product")
    last = "probabilities" if task == "regression" else "sum"
    _node(graph, "Add", ["product", "bias"], last)
    if task != "regression":
        _node(graph, "Softmax", ["sum"], "probabilities").attribute.add(name=b"axis", type=2, i=1)
    graph.output.add(name=b"probabilities", type=_type(1, weights.shape[1]))
    path.write_bytes(model.SerializeToString())


def _tensor_name(name: str) -> str:
    return f"in {name}"


def _node(graph: Any, kind: str, inputs: Sequence[str], output: str, domain: bytes = b"") -> Any:
    return graph.node.add(
        op_type=kind.encode(),
        name=output.encode(),
        domain=domain,
        input=[name.encode() for name in inputs],
        output=[output.encode()],
    )


def _constant(graph: Any, name: str, values: Array) -> None:
    kind = {np.dtype(np.float32): 1, np.dtype(np.float64): 11}[values.dtype]
    graph.initializer.add(
        name=name.encode(), dims=values.shape, data_type=kind, raw_data=values.tobytes()
    )


def _type(element: int, width: int) -> bytes:
    """TypeProto of a tensor of shape (n, width), in protobuf's bytes."""
    dims = (
        b"\x0a\x03\x12\x01n" + b"\x0a" + bytes([1 + len(_varint(width))]) + b"\x08" + _varint(width)
    )
    shape = b"\x12" + bytes([len(dims)]) + dims
    tensor = b"\x08" + bytes([element]) + shape
    return b"\x0a" + bytes([len(tensor)]) + tensor


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + _varint(number // 128)


# ---------------------------------------------------------------- its documents


def _input(raw: pl.Series, name: str, kind: str) -> dict[str, Any]:
    column = rows.typed(raw, kind)
    item: dict[str, Any] = {
        "name": name,
        "tensor": _tensor_name(name),
        "type": kind,
        "nullable": True,
    }
    known = column.drop_nulls()
    if kind == "categorical":
        item["categories"] = known.unique().sort().to_list()
    if kind == "number":
        item["integer"] = bool((known == known.floor()).all())
    if kind in ("number", "datetime") and len(known):
        low, high = float(known.min()), float(known.max())  # type: ignore[arg-type]
        item |= {"minimum": low, "maximum": high}
        if kind == "datetime":
            times = [datetime.fromtimestamp(value, UTC).isoformat() for value in (low, high)]
            item["minimum"], item["maximum"] = (text.replace("+00:00", "Z") for text in times)
    return item


def _profile(column: pl.Series, kind: str) -> dict[str, Any]:
    known = column.drop_nulls()
    if kind == "categorical":
        counts = dict(sorted(known.value_counts().iter_rows()))
        kept = {name: count for name, count in counts.items() if count >= 10}
        other = sum(counts.values()) - sum(kept.values())
        return {"type": kind, "missing": column.null_count(), "counts": kept, "other": other}
    values = known.to_numpy()
    values = values[np.isfinite(values)]
    edges = np.array([0, 0.5, 1.0]) if kind == "boolean" else _edges(values)
    counted = np.histogram(values, edges)[0].tolist()
    missing = len(column) - len(values)
    return {"type": kind, "missing": missing, "edges": edges.tolist(), "counts": counted}


def _edges(values: Array) -> Array:
    edges = (
        np.unique(np.quantile(values, np.linspace(0, 1, 21)))
        if len(values)
        else np.array([0.0, 1.0])
    )
    return edges if len(edges) > 1 else np.array([edges[0], np.nextafter(edges[0], np.inf)])


def _nothing(task: str, classes: list[str]) -> dict[str, Any]:
    """A profile of the answers that no test looks at."""
    empty = {"edges": [0.0, 1.0], "counts": [0]}
    if task == "multiclass":
        return {"prediction": {"counts": dict.fromkeys(classes, 0)}}
    return {"score" if task == "binary" else "prediction": empty}


# ---------------------------------------------------------------- for the tests


@pytest.fixture(name="people")
def _people() -> Callable[..., pl.DataFrame]:
    return people


@pytest.fixture(name="make_package")
def _make_package() -> Callable[..., package.Package]:
    return make_package


@pytest.fixture(name="make_evaluation")
def _make_evaluation() -> Callable[..., evaluation.Evaluation]:
    return make_evaluation


@pytest.fixture(name="make_table")
def _make_table() -> Callable[..., Table]:
    return make_table
