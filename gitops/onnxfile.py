"""What a .onnx file says, read without running it.

The format is the protobuf message ModelProto of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
Only the fields that we look at are described here, to the protobuf library that the ONNX runtime
brings along; texts are kept as bytes, as the format doesn't promise UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gitops.errors import EvidenceError, Where

Proto = Any  # a protobuf message; its class is made at run time
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")

# message: "field number type", * for repeated
_MESSAGES = {
    "Model": "opset_import 8 Opset*, graph 7 Graph, functions 25 Function*, ir_version 1 int64",
    "Opset": "domain 1 bytes, version 2 int64",
    "Function": "name 1 bytes, input 4 bytes*, output 5 bytes*, node 7 Node*, domain 10 bytes,"
    " attribute_proto 11 Attribute*",
    "Graph": "node 1 Node*, name 2 bytes, initializer 5 Tensor*, input 11 Value*, output 12 Value*,"
    " sparse_initializer 15 Sparse*",
    "Value": "name 1 bytes, type 2 bytes",
    "Node": "input 1 bytes*, output 2 bytes*, name 3 bytes, op_type 4 bytes, domain 7 bytes,"
    " attribute 5 Attribute*, overload 8 bytes",
    "Attribute": "name 1 bytes, f 2 float, i 3 int64, s 4 bytes, t 5 Tensor, g 6 Graph,"
    " floats 7 float*, ints 8 int64*, strings 9 bytes*, tensors 10 Tensor*,"
    " graphs 11 Graph*, tp 14 bytes, type_protos 15 bytes*, type 20 int32,"
    " ref_attr_name 21 bytes, sparse_tensor 22 Sparse, sparse_tensors 23 Sparse*",
    "Sparse": "values 1 Tensor, indices 2 Tensor, dims 3 int64*",
    "Tensor": "dims 1 int64*, data_type 2 int32, float_data 4 float*, int32_data 5 int32*,"
    " string_data 6 bytes*, int64_data 7 int64*, name 8 bytes, raw_data 9 bytes,"
    " double_data 10 double*, uint64_data 11 uint64*, external_data 13 Entry*,"
    " data_location 14 int32",
    "Entry": "key 1 bytes, value 2 bytes",
}  # fmt: skip
# TensorProto.DataType: the field that holds it if raw_data doesn't, and the numpy type.
_TYPES = {
    1: ("float_data", "<f4"),
    2: ("int32_data", "u1"),
    3: ("int32_data", "i1"),
    4: ("int32_data", "<u2"),
    5: ("int32_data", "<i2"),
    6: ("int32_data", "<i4"),
    7: ("int64_data", "<i8"),
    9: ("int32_data", "?"),
    11: ("double_data", "<f8"),
    12: ("uint64_data", "<u4"),
    13: ("uint64_data", "<u8"),
}


@dataclass(frozen=True)
class Difference:
    """How two graphs differ: `structure` is the first difference that isn't a number's size (or
    empty), `largest` the largest absolute difference of a parameter, `at` the parameter's place."""

    structure: str
    largest: float
    at: str


def message(name: str) -> Proto:
    """The class of the protobuf message `name` of `_MESSAGES` (`Model` is the file)."""
    from google.protobuf import message_factory  # type: ignore[import-untyped]

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"gitops_onnx.{name}"))


@cache
def _pool() -> Proto:
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="gitops_onnx.proto", package="gitops_onnx")
    kinds = descriptor_pb2.FieldDescriptorProto
    for title, text in _MESSAGES.items():
        made = file.message_type.add(name=title)
        for part in text.split(","):
            field, number, kind = part.split()
            plain = kind.rstrip("*")
            one = made.field.add(name=field, number=int(number))
            one.label = kinds.LABEL_REPEATED if kind != plain else kinds.LABEL_OPTIONAL
            if plain in _MESSAGES:
                one.type, one.type_name = kinds.TYPE_MESSAGE, f".gitops_onnx.{plain}"
            else:
                one.type = kinds.Type.Value(f"TYPE_{plain.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def load(path: Path) -> Proto:
    """Parse a model; EvidenceError if it isn't one."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = message("Model")()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise EvidenceError(
            f"not an ONNX model: {error}", fix="build the package again", where=Where(path)
        ) from error
    if not model.graph.node:
        raise EvidenceError(
            "not an ONNX model: it has no nodes", fix="build the package again", where=Where(path)
        )
    return model


def check(path: Path) -> None:
    """Refuse a model that needs code or files from elsewhere.

    Raises:
        EvidenceError: not an ONNX model; an operator outside `DOMAINS`; weights in a file that is
            not a plain file in the model's own folder.
    """
    model = load(path)
    for node in _nodes(model):
        if (domain := _text(node.domain)) not in DOMAINS:
            known = ", ".join(DOMAINS[1:])
            raise EvidenceError(
                f"operator {_text(node.op_type)} is of the domain {domain!r}",
                fix=f"export with the operators of {known} only; a custom operator is native code",
                where=Where(path),
            )
    for tensor in _tensors(model):
        if tensor.data_location == 1 or tensor.external_data:
            _check_external(path, tensor)


def difference(one: Path, two: Path) -> Difference:
    """Compare two models apart from names, metadata, and the order of nodes and initializers.

    Both graphs are walked from their outputs to their inputs; what no output depends on doesn't
    count. Subgraphs inside nodes, and functions, are compared by their bytes.
    """
    return _Walk(load(one), load(two)).run()


class _Walk:
    """One comparison under way."""

    def __init__(self, one: Proto, two: Proto) -> None:
        self.models = (one, two)
        self.tables = (_table(one.graph), _table(two.graph))
        self.largest, self.at = 0.0, ""
        self.met: dict[int, int] = {}
        self.met_by: dict[int, int] = {}

    def run(self) -> Difference:
        fault = self._interface()
        pairs = [(value.name, value.name) for value in self.models[0].graph.output]
        while pairs and not fault:
            fault = self._value(*pairs.pop(), pairs)
        return Difference(fault, self.largest, self.at)

    def _interface(self) -> str:
        one, two = self.models
        for what in ("input", "output"):
            left, right = (
                sorted(_text(value.name) for value in getattr(model.graph, what))
                for model in (one, two)
            )
            if left != right:
                return f"{what}s differ: {', '.join(left)} against {', '.join(right)}"
        versions = [
            {_text(o.domain): o.version for o in model.opset_import} for model in (one, two)
        ]
        if versions[0] != versions[1]:
            return f"operator sets differ: {versions[0]} against {versions[1]}"
        if list(one.functions) != list(two.functions):
            return "functions differ"
        if list(one.graph.sparse_initializer) != list(two.graph.sparse_initializer):
            return "sparse initializers differ"
        return ""

    def _value(self, left: bytes, right: bytes, pairs: list[tuple[bytes, bytes]]) -> str:
        one, two = (table.get(name) for table, name in zip(self.tables, (left, right), strict=True))
        if one is None or two is None:  # an input of the graph, or an optional input left out
            same = one is None and two is None and left == right
            return "" if same else f"{_text(left)!r} has another source than {_text(right)!r}"
        (node, place), (other, other_place) = one, two
        if place != other_place or type(node) is not type(other):
            return f"{_text(left)!r} comes from elsewhere than {_text(right)!r}"
        if place < 0:
            return self._tensor(node, other, f"initializer {_text(left)}")
        if id(node) in self.met or id(other) in self.met_by:
            met = self.met.get(id(node)) == id(other) and self.met_by.get(id(other)) == id(node)
            return "" if met else f"{_text(left)!r} is shared differently from {_text(right)!r}"
        self.met[id(node)], self.met_by[id(other)] = id(other), id(node)
        return self._node(node, other, pairs)

    def _node(self, node: Proto, other: Proto, pairs: list[tuple[bytes, bytes]]) -> str:
        kinds = [
            (_text(n.domain), _text(n.op_type), len(n.input), len(n.output)) for n in (node, other)
        ]
        if kinds[0] != kinds[1]:
            return f"operator {kinds[0]} against {kinds[1]}"
        pairs.extend(zip(node.input, other.input, strict=True))
        left, right = ({_text(a.name): a for a in n.attribute} for n in (node, other))
        if left.keys() != right.keys():
            return f"{kinds[0][1]} has other attributes: {sorted(left.keys() ^ right.keys())}"
        for name, attribute in left.items():
            if fault := self._attribute(attribute, right[name], f"{kinds[0][1]}.{name}"):
                return fault
        return ""

    def _attribute(self, one: Proto, two: Proto, at: str) -> str:
        if one.type != two.type or len(one.floats) != len(two.floats):
            return f"{at} differs"
        if len(one.tensors) != len(two.tensors):
            return f"{at} differs"
        self._numbers(np.array([one.f, *one.floats]), np.array([two.f, *two.floats]), at)
        for left, right in [(one.t, two.t), *zip(one.tensors, two.tensors, strict=True)]:
            if fault := self._tensor(left, right, at):
                return fault
        rest = ("i", "s", "g", "tp", "ref_attr_name", "sparse_tensor")
        lists = ("ints", "strings", "graphs", "type_protos", "sparse_tensors")
        same = all(getattr(one, name) == getattr(two, name) for name in rest)
        same &= all(list(getattr(one, name)) == list(getattr(two, name)) for name in lists)
        return "" if same else f"{at} differs"

    def _tensor(self, one: Proto, two: Proto, at: str) -> str:
        if one.data_type != two.data_type or list(one.dims) != list(two.dims):
            return f"{at} has another type or shape"
        left, right = _values(one), _values(two)
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            if left.shape != right.shape:
                return f"{at} has another number of values"
            if left.dtype.kind == "f":
                self._numbers(left, right, at)
                return ""
            return "" if np.array_equal(left, right) else f"{at} differs"
        return "" if left == right else f"{at} differs"

    def _numbers(self, one: np.ndarray[Any, Any], two: np.ndarray[Any, Any], at: str) -> None:
        apart = (one != two) & ~(np.isnan(one) & np.isnan(two))
        if not apart.any():
            return
        gap = float(np.abs(one[apart].astype(np.float64) - two[apart]).max())
        gap = float("inf") if np.isnan(gap) else gap
        if gap > self.largest:
            self.largest, self.at = gap, at


def _values(tensor: Proto) -> np.ndarray[Any, Any] | bytes:
    """The numbers of a tensor; of texts, rare types and external data the bytes, nameless."""
    if tensor.data_type in _TYPES and tensor.data_location != 1:
        field, kind = _TYPES[tensor.data_type]
        if tensor.raw_data and len(tensor.raw_data) % np.dtype(kind).itemsize == 0:
            return np.frombuffer(tensor.raw_data, dtype=kind)
        return np.array(getattr(tensor, field)).astype(kind)
    nameless = message("Tensor")()
    nameless.CopyFrom(tensor)
    nameless.ClearField("name")
    return bytes(nameless.SerializeToString(deterministic=True))


def _table(graph: Proto) -> dict[bytes, tuple[Any, int]]:
    """What makes each value: (node, number of its output), or (initializer, -1)."""
    made = {tensor.name: (tensor, -1) for tensor in graph.initializer}
    made |= {sparse.values.name: (sparse.values, -1) for sparse in graph.sparse_initializer}
    for node in graph.node:
        made |= {name: (node, place) for place, name in enumerate(node.output) if name}
    return made


def _nodes(model: Proto) -> Iterator[Proto]:
    """All nodes, those of subgraphs and functions included."""
    todo = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while todo:
        node = todo.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                todo.extend(graph.node)


def _tensors(model: Proto) -> Iterator[Proto]:
    graphs, attributes = [model.graph], [a for f in model.functions for a in f.attribute_proto]
    for node in _nodes(model):
        attributes.extend(node.attribute)
    for attribute in attributes:
        graphs.extend([attribute.g, *attribute.graphs])
        yield attribute.t
        yield from attribute.tensors
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)


def _check_external(path: Path, tensor: Proto) -> None:
    entries = {_text(entry.key): _text(entry.value) for entry in tensor.external_data}
    location = entries.get("location", "")
    plain = location not in {"", ".", ".."} and not set(location) & set("/\\:*")
    if not plain or not (path.parent / location).is_file():
        raise EvidenceError(
            f"tensor {_text(tensor.name)!r} is kept in {location!r},"
            " which is no file of the package's folder",
            fix="export the model into one file, or keep its data file beside it",
            where=Where(path),
        )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
