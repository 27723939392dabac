"""The Open Inference Protocol, version 2, over HTTP: JSON tensors and the binary tensor extension.

https://github.com/kserve/open-inference-protocol (specification/protocol/inference_rest.md) and
Triton's extension for binary tensors: the JSON's length is in the header
`Inference-Header-Content-Length`; tensors that have `binary_data_size` follow it in their order.
Each input is a column of the signature by its name, of shape [n] or [n, 1].
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from gitops import __version__
from gitops.package import Array
from gitops.serve import http
from gitops.serve.app import App, Call
from gitops.serve.ask import Answered, Request
from gitops.serve.decode import Decoder, wrong
from gitops.serve.loaded import Route
from gitops.serve.model import Model
from gitops.serve.refusal import Refusal
from gitops.serve.rows import Rows, moment
from gitops.signature import Input, Signature

_JSON_LENGTH = b"inference-header-content-length"
_DATATYPES = {"number": "FP32", "boolean": "BOOL", "datetime": "BYTES", "categorical": "BYTES"}
_NUMPY = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1",
    "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip


class Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET


class Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class Infer(msgspec.Struct):
    inputs: list[Tensor]
    id: Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[\x21-\x7e]*$")] = ""
    parameters: dict[str, Any] = {}
    outputs: list[Output] = []


_DECODER = msgspec.json.Decoder(Infer)


def server() -> dict[str, Any]:
    return {"name": "gitops", "version": __version__, "extensions": ["binary_tensor_data"]}


def metadata(route: Route, only: Model | None) -> dict[str, Any]:
    """What a model takes and gives, as the protocol has it."""
    signature = (only or route.champion).signature
    inputs = [
        {"name": item.name, "datatype": _DATATYPES[item.type], "shape": [-1, 1]}
        for item in signature.inputs
    ]
    return {
        "name": route.name,
        "versions": [model.variant.version for _, model in route.variants],
        "platform": "onnxruntime_onnx" if signature.runtime.kind == "onnx" else "command",
        "inputs": inputs,
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [-1, *shape]}
            for name, datatype, shape in _outputs(signature)
        ],
    }


async def infer(app: App, call: Call, route: Route, only: Model | None) -> None:
    """Answer tensors; `only`: by this variant."""
    length = call.headers.get(_JSON_LENGTH)
    if length is None:
        http.require_json(call.headers)
    body = await call.body(app.options.max_body)
    parsed: list[tuple[Infer, bytes]] = []

    def decode(model: Model) -> Rows:
        if not parsed:  # here, since this is done beside the event loop if it is much
            parsed.append(_parsed(body, length))
        return rows(*parsed[0], model)

    request = Request(call.id, call.key, len(body), call.started, only)
    answered = await app.desk.ask(route, request, decode)
    asked = parsed[0][0]
    if app.tracer is not None:
        call.note(answered)
    head, tail = _answer(asked, answered)
    if not tail:
        await http.answer(call.send, 200, head)
        return
    more = [(_JSON_LENGTH, b"%d" % len(head))]
    await http.answer(call.send, 200, head + tail, b"application/octet-stream", more)


def _parsed(body: bytes, length: bytes | None) -> tuple[Infer, bytes]:
    size = len(body)
    if length is not None:
        size = int(length) if length.isdigit() and len(length) < 20 else -1
        if not 0 < size <= len(body):
            fix = f"send the number of bytes of the JSON, of {len(body)} altogether"
            raise Refusal(400, "the header Inference-Header-Content-Length is wrong", fix=fix)
    try:
        return _DECODER.decode(memoryview(body)[:size]), body[size:]
    except msgspec.ValidationError as error:
        fix = "see the Open Inference Protocol"
        raise Refusal(422, f"not an inference request: {str(error)[:200]}", fix=fix) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]
        raise Refusal(400, f"the body is not JSON: {text}", fix="send JSON in UTF-8") from error


def rows(asked: Infer, binary: bytes, model: Model) -> Rows:
    """The rows of an inference request.

    Raises:
        Refusal: 413 too many rows; 422 not what the signature says.
    """
    decode = model.decode
    columns = _columns(asked, binary, decode)
    lengths = {name: len(values) for name, values in columns.items()}
    absent = [name for name in decode.names if name not in columns]
    if absent:
        fix = "send a tensor for every column"
        raise Refusal(422, "the column is missing", fix=fix, column=absent[0])
    height = next(iter(lengths.values()))
    for name, number in lengths.items():
        if number != height:
            message = f"{number} values where another column has {height}"
            raise Refusal(422, message, fix="give every column as many", column=name)
    decode.count(height)
    key = columns.get(decode.key or "", [None])[0]
    return decode.tensors.rows(
        tuple(columns[name] for name in decode.names),
        height,
        None if key is None else str(key),
        asked.id or None,
    )


def _columns(asked: Infer, binary: bytes, decode: Decoder) -> dict[str, Sequence[Any]]:
    inputs = {item.name: item for item in decode.signature.inputs}
    columns: dict[str, Sequence[Any]] = {}
    start = 0
    for tensor in asked.inputs:
        item = inputs.get(tensor.name)
        if (item is None and tensor.name not in decode.extras) or tensor.name in columns:
            what = "twice" if tensor.name in columns else "unknown"
            fix = f"the columns are {', '.join(decode.names[:20])}"
            raise Refusal(422, f"a column is {what}", fix=fix, value=tensor.name)
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            columns[tensor.name] = _from_json(tensor, item)
        elif type(size) is not int or not 0 <= size <= len(binary) - start:
            message = "binary_data_size is beyond the body"
            raise Refusal(422, message, fix="send all of the tensor", column=tensor.name)
        else:
            values = _from_binary(tensor, binary[start : start + size])
            columns[tensor.name] = list(values) if item is None else _typed(values, item)
            start += size
    return columns


def _count(tensor: Tensor) -> int:
    """How many values a tensor says it has."""
    if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ([], [1]) or tensor.shape[0] < 1:
        fix = "send each column as [n, 1] or [n]"
        raise Refusal(
            422, "not the shape of a column", fix=fix, column=tensor.name, value=tensor.shape
        )
    return tensor.shape[0]


def _from_json(tensor: Tensor, item: Input | None) -> Sequence[Any]:
    values = [] if tensor.data is msgspec.UNSET else tensor.data
    if values and isinstance(values[0], list):
        values = [
            value for part in values for value in (part if isinstance(part, list) else [part])
        ]
    if len(values) != _count(tensor):
        message = f"{len(values)} values for the shape {tensor.shape}"
        raise Refusal(422, message, fix="send as many as the shape says", column=tensor.name)
    if item is None:
        return values
    if item.type == "boolean":
        values = [bool(v) if isinstance(v, int | float) and v in (0, 1) else v for v in values]
    for row, value in enumerate(values):
        if what := wrong(item, value):
            raise Refusal(422, what[0], fix=what[1], row=row, column=item.name, value=value)
    return values


def _from_binary(tensor: Tensor, raw: bytes) -> Array | list[str]:
    values: Array | list[str]
    if tensor.datatype == "BYTES":
        values = _texts(raw, tensor)
    elif tensor.datatype in _NUMPY:
        kind = np.dtype(_NUMPY[tensor.datatype])
        if len(raw) % kind.itemsize:
            raise _cut(tensor)
        values = np.frombuffer(raw, kind)
    else:
        fix = f"use BYTES, {', '.join(_NUMPY)}"
        raise Refusal(422, "unknown datatype", fix=fix, column=tensor.name, value=tensor.datatype)
    if len(values) != _count(tensor):
        message = f"{len(values)} values for the shape {tensor.shape}"
        raise Refusal(422, message, fix="send as many as the shape says", column=tensor.name)
    return values


def _texts(raw: bytes, tensor: Tensor) -> list[str]:
    """Each element is its length, uint32 little-endian, and so many bytes of UTF-8."""
    found, at = [], 0
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if end > len(raw) or at + 4 > len(raw):
            raise _cut(tensor)
        try:
            found.append(raw[at + 4 : end].decode())
        except UnicodeDecodeError:
            raise Refusal(
                422, "not UTF-8", fix="send text in UTF-8", row=len(found), column=tensor.name
            ) from None
        at = end
    return found


def _cut(tensor: Tensor) -> Refusal:
    return Refusal(422, "the tensor is cut off", fix="send all of it", column=tensor.name)


def _typed(values: Array | list[str], item: Input) -> Sequence[Any]:
    """Binary values as JSON would have them; NaN is a missing one."""
    plain: list[Any] = values if isinstance(values, list) else values.tolist()
    if isinstance(values, np.ndarray) and values.dtype.kind == "f" and np.isnan(values).any():
        plain = [None if value != value else value for value in plain]
    if item.type == "boolean":
        plain = [bool(v) if v is not None and v in (0, 1) else v for v in plain]
    if item.type == "datetime" and isinstance(values, np.ndarray):
        plain = [value if value is None else _time(value, item) for value in plain]
    quick = isinstance(values, np.ndarray) and item.type == "number" and values.dtype.kind in "fiu"
    if quick and np.isfinite(values).all():
        return plain
    for row, value in enumerate(plain):
        if what := wrong(item, value):
            raise Refusal(422, what[0], fix=what[1], row=row, column=item.name, value=value)
    return plain


def _time(value: float, item: Input) -> object:
    try:
        return moment(float(value), item)
    except (OverflowError, ValueError, OSError):
        return value


# ---------------------------------------------------------------- answers


def _outputs(signature: Signature) -> list[tuple[str, str, list[int]]]:
    if signature.task == "regression":
        return [("predictions", "FP64", [])]
    shape = [] if signature.task == "binary" else [len(signature.classes)]
    return [("predictions", "BYTES", []), ("scores", "FP64", shape)]


def _answer(asked: Infer, answered: Answered) -> tuple[bytes, bytes]:
    """The JSON of an answer, and the binary tensors behind it."""
    signature, height = answered.model.signature, answered.rows.height
    known = {name: (datatype, shape) for name, datatype, shape in _outputs(signature)}
    wanted = asked.outputs or [Output(name) for name in known]
    by_default = bool(asked.parameters.get("binary_data_output")) and not asked.outputs
    outputs, tail = [], []
    given: set[str] = set()
    for output in wanted:
        if output.name not in known or output.name in given:
            # Twice: a small request must not ask for an answer of any size.
            fix = f"ask once for each; the outputs are {', '.join(known)}"
            what = "an output is twice" if output.name in given else "unknown output"
            raise Refusal(422, what, fix=fix, value=output.name)
        given.add(output.name)
        datatype, shape = known[output.name]
        data: Any = getattr(answered.answers, output.name)
        one: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": [height, *shape]}
        if output.parameters.get("binary_data", by_default):
            raw = _packed(data) if datatype == "BYTES" else np.array(data, "<f8").tobytes()
            tail.append(raw)
            outputs.append(one | {"parameters": {"binary_data_size": len(raw)}})
        else:
            flat = [v for part in data for v in part] if shape else data
            outputs.append(one | {"data": flat})
    release = answered.model.variant.release
    head = {
        "model_name": answered.model.name,
        "model_version": answered.model.variant.version,
        "id": answered.id,
        "parameters": {"release": release, "variant": answered.variant},
        "outputs": outputs,
    }
    return http.encode(head), b"".join(tail)


def _packed(texts: Sequence[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)
