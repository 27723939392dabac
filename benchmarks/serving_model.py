"""One linear model over ten numbers, as a package; peers make the same of `COEFFICIENTS`."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from gitops import onnxfile

NAMES = [f"x{number}" for number in range(10)]
COEFFICIENTS = [0.5, -0.25, 1.0, -1.5, 0.125, 0.75, -0.5, 0.0625, 1.25, -1.0]
INTERCEPT = 0.1


def row(number: int) -> dict[str, float]:
    drawn = np.random.default_rng(number).normal(size=len(NAMES)).round(3)
    return {name: float(value) for name, value in zip(NAMES, drawn, strict=True)}


def score(values: dict[str, float]) -> float:
    """What the model says: the logistic function of the weighted sum."""
    total = sum(c * values[name] for c, name in zip(COEFFICIENTS, NAMES, strict=True)) + INTERCEPT
    return float(1 / (1 + np.exp(-total)))


def write(folder: Path) -> None:
    """The package `linear`."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(_onnx())
    inputs = [
        {"name": name, "tensor": name, "type": "number", "nullable": False, "integer": False,
         "minimum": -6.0, "maximum": 6.0}
        for name in NAMES
    ]  # fmt: skip
    signature = {
        "version": 1, "model": "linear", "task": "binary", "target": "y", "id": None,
        "runtime": {"kind": "onnx", "file": "model.onnx", "output": "probabilities"},
        "inputs": inputs, "classes": ["false", "true"], "threshold": 0.5,
        "framework": {"name": "scikit-learn", "version": "1.9.1", "python": "3.11"},
    }  # fmt: skip
    column = {"type": "number", "missing": 0, "edges": [-6.0, -1.0, 0.0, 1.0, 6.0],
              "counts": [16, 34, 34, 16]}  # fmt: skip
    reference = {
        "version": 1, "rows": 100, "columns": dict.fromkeys(NAMES, column),
        "score": {"edges": [0.0, 0.5, 1.0], "counts": [50, 50]},
    }  # fmt: skip
    (folder / "signature.json").write_text(json.dumps(signature))
    (folder / "reference.json").write_text(json.dumps(reference))
    (folder / "train_rows.bin").write_bytes(b"GTRAIN1\n" + struct.pack("<Q", 1))
    (folder / "MODEL_CARD.md").write_text("# linear\n")


def _onnx() -> bytes:
    """Concat -> Gemm -> Sigmoid -> (1 - p, p)."""
    model = onnxfile.message("Model")(ir_version=8)
    model.opset_import.add(domain=b"", version=17)
    graph = model.graph
    for name in NAMES:
        graph.input.add(name=name.encode(), type=_type(1))
    _tensor(graph, b"weights", np.array(COEFFICIENTS, "<f4").reshape(-1, 1))
    _tensor(graph, b"intercept", np.array([INTERCEPT], "<f4"))
    _tensor(graph, b"one", np.array([1], "<f4"))
    _node(graph, b"Concat", [name.encode() for name in NAMES], b"row", axis=1)
    _node(graph, b"Gemm", [b"row", b"weights", b"intercept"], b"sum")
    _node(graph, b"Sigmoid", [b"sum"], b"p")
    _node(graph, b"Sub", [b"one", b"p"], b"q")
    _node(graph, b"Concat", [b"q", b"p"], b"probabilities", axis=1)
    graph.output.add(name=b"probabilities", type=_type(2))
    return bytes(model.SerializeToString())


def _node(graph: onnxfile.Proto, kind: bytes, given: list[bytes], out: bytes, **more: int) -> None:
    node = graph.node.add(op_type=kind, name=out)
    node.input.extend(given)
    node.output.append(out)
    for name, value in more.items():
        node.attribute.add(name=name.encode(), i=value, type=2)  # AttributeProto.INT


def _tensor(
    graph: onnxfile.Proto, name: bytes, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> None:
    made = graph.initializer.add(name=name, data_type=1, raw_data=values.tobytes())
    made.dims.extend(values.shape)


def _type(width: int) -> bytes:
    """A TypeProto: tensor_type {elem_type: FLOAT, shape: {dim_param "n"}, {dim_value width}}."""
    dims = b"\x0a\x03\x12\x01n" + b"\x0a\x02\x08" + bytes([width])
    tensor = b"\x08\x01\x12" + bytes([len(dims)]) + dims
    return b"\x0a" + bytes([len(tensor)]) + tensor
