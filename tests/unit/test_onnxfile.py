import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitops import onnxfile
from gitops.errors import EvidenceError

PACKAGES = Path(__file__).parents[1] / "contracts" / "packages"
BINARY = PACKAGES / "binary/package/model.onnx"
Change = Callable[[Any], object]


def changed(tmp_path: Path, change: Change, source: Path = BINARY) -> Path:
    """A copy of a model with `change` made to its message."""
    model = onnxfile.load(source)
    change(model)
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def nodes(model: Any, kind: bytes) -> list[Any]:
    return [node for node in model.graph.node if node.op_type == kind]


def attribute(node: Any, name: bytes) -> Any:
    return next(one for one in node.attribute if one.name == name)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_exported_model_is_accepted_and_equals_itself(task: str) -> None:
    path = PACKAGES / task / "package/model.onnx"
    onnxfile.check(path)
    assert onnxfile.difference(path, path) == onnxfile.Difference("", 0.0, "")


@pytest.mark.parametrize("data", [b"", b"\x80\x04K\x01.", b"not a model"])
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(EvidenceError, match="not an ONNX model"):
        onnxfile.check(path)


def _custom(model: Any) -> None:
    model.graph.node.add(op_type=b"Run", domain=b"evil")


def _custom_inside(model: Any) -> None:
    branch = model.graph.node.add(op_type=b"If").attribute.add(name=b"then_branch", type=5)
    branch.g.node.add(op_type=b"If").attribute.add(type=10).graphs.add().node.add(domain=b"evil")


def _custom_function(model: Any) -> None:
    model.functions.add(name=b"f").node.add(op_type=b"Run", domain=b"evil")


@pytest.mark.parametrize("change", [_custom, _custom_inside, _custom_function])
def test_custom_operators_are_refused_wherever_they_hide(tmp_path: Path, change: Change) -> None:
    with pytest.raises(EvidenceError, match="of the domain 'evil'"):
        onnxfile.check(changed(tmp_path, change))


def _external(tensor: Any, location: bytes = b"../secret") -> None:
    tensor.name, tensor.data_location = b"weights", 1
    tensor.external_data.add(key=b"location", value=location)


@pytest.mark.parametrize(
    "place",
    [
        lambda model: model.graph.initializer.add(),
        lambda model: model.graph.sparse_initializer.add().indices,
        lambda model: model.graph.node.add(op_type=b"Constant").attribute.add(type=4).t,
        lambda model: model.graph.node.add(op_type=b"If").attribute.add().g.initializer.add(),
        lambda model: model.functions.add().attribute_proto.add().tensors.add(),
    ],
)
def test_data_outside_of_the_folder_is_refused_wherever_it_hides(
    tmp_path: Path, place: Callable[[Any], Any]
) -> None:
    (tmp_path / "secret").write_bytes(b"1234")
    folder = tmp_path / "package"
    folder.mkdir()
    path = changed(folder, lambda model: _external(place(model)))
    with pytest.raises(EvidenceError, match=r"'weights' is kept in '\.\./secret'"):
        onnxfile.check(path)


@pytest.mark.parametrize(
    "location", [b"", b".", b"/etc/passwd", b"a/b", b"..\\x", b"*/_x", b"none"]
)
def test_data_must_be_a_plain_file_that_is_there(tmp_path: Path, location: bytes) -> None:
    def change(model: Any) -> None:
        _external(model.graph.initializer.add(), location)

    with pytest.raises(EvidenceError, match="no file of the package's folder"):
        onnxfile.check(changed(tmp_path, change))


def test_data_beside_the_model_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "weights.data").write_bytes(b"1234")
    onnxfile.check(
        changed(tmp_path, lambda model: _external(model.graph.initializer.add(), b"weights.data"))
    )


def _renamed(model: Any) -> None:
    kept = {value.name for value in (*model.graph.input, *model.graph.output)} | {b""}
    for node in model.graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = name if name in kept else b"renamed_" + name
        node.name = b"other"
    for tensor in model.graph.initializer:
        tensor.name = b"renamed_" + tensor.name
    model.graph.name = b"other"


def _reordered(model: Any) -> None:
    for field in (model.graph.initializer, model.graph.node, model.graph.input):
        items = [type(item).FromString(item.SerializeToString()) for item in field][::-1]
        del field[:]
        field.extend(items)


def _stored_otherwise(model: Any) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_type == 1 and tensor.float_data:
            tensor.raw_data = np.array(tensor.float_data, "<f4").tobytes()
            del tensor.float_data[:]


@pytest.mark.parametrize("change", [_renamed, _reordered, _stored_otherwise])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_names_order_and_storage_make_no_difference(
    tmp_path: Path, change: Change, task: str
) -> None:
    path = PACKAGES / task / "package/model.onnx"
    other = changed(tmp_path, change, path)
    assert other.read_bytes() != path.read_bytes()
    assert onnxfile.difference(path, other) == onnxfile.Difference("", 0.0, "")


def test_a_changed_attribute_is_measured(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        attribute(nodes(model, b"LinearClassifier")[0], b"coefficients").floats[0] += 0.25

    found = onnxfile.difference(BINARY, changed(tmp_path, change))
    assert (found.structure, found.at) == ("", "LinearClassifier.coefficients")
    assert found.largest == pytest.approx(0.25, rel=1e-5)


def test_a_changed_initializer_is_measured(tmp_path: Path) -> None:
    def number(model: Any, value: float) -> None:
        model.graph.initializer.add(name=b"bias", data_type=1, dims=[1], float_data=[value])
        model.graph.node.add(op_type=b"Add", input=[b"bias", b"bias"], output=[b"sum"])
        model.graph.output.add(name=b"sum")

    one = changed(tmp_path, lambda model: number(model, 1.0)).rename(tmp_path / "one.onnx")
    two = changed(tmp_path, lambda model: number(model, 1.5))
    assert onnxfile.difference(one, two) == onnxfile.Difference("", 0.5, "initializer bias")
    nan = changed(tmp_path, lambda model: number(model, float("nan")))
    assert onnxfile.difference(one, nan).largest == float("inf")
    assert onnxfile.difference(nan, nan).largest == 0.0


def _other_kind(model: Any) -> None:
    nodes(model, b"LinearClassifier")[0].op_type = b"LinearRegressor"


def _other_text(model: Any) -> None:
    attribute(nodes(model, b"OneHotEncoder")[0], b"cats_strings").strings[0] = b"XX"


def _other_wiring(model: Any) -> None:
    concat = nodes(model, b"Concat")[0]
    concat.input[0], concat.input[1] = concat.input[1], concat.input[0]


def _fewer_attributes(model: Any) -> None:
    del nodes(model, b"LinearClassifier")[0].attribute[0]


def _other_output(model: Any) -> None:
    model.graph.output.add(name=b"more")


def _other_operators(model: Any) -> None:
    model.opset_import[0].version += 1


def _more_coefficients(model: Any) -> None:
    attribute(nodes(model, b"LinearClassifier")[0], b"coefficients").floats.append(1.0)


def _subgraph(model: Any) -> None:
    nodes(model, b"LinearClassifier")[0].attribute[0].g.name = b"x"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_kind, "LinearClassifier"),
        (_other_text, "OneHotEncoder.cats_strings differs"),
        (_other_wiring, "comes from elsewhere|another source|against"),
        (_fewer_attributes, "has other attributes"),
        (_other_output, "outputs differ"),
        (_other_operators, "operator sets differ"),
        (_more_coefficients, "coefficients differs"),
        (_subgraph, "differs"),
        (_custom_function, "functions differ"),
        (lambda model: model.graph.sparse_initializer.add(), "sparse initializers differ"),
    ],
)
def test_a_changed_structure_is_named(tmp_path: Path, change: Change, message: str) -> None:
    found = onnxfile.difference(BINARY, changed(tmp_path, change))
    assert any(word in found.structure for word in message.split("|")), found


def test_shape_and_type_of_an_initializer_count(tmp_path: Path) -> None:
    def add(model: Any, **tensor: Any) -> None:
        model.graph.initializer.add(name=b"w", **tensor)
        model.graph.node.add(op_type=b"Identity", input=[b"w"], output=[b"out"])
        model.graph.output.add(name=b"out")

    def model(name: str, **tensor: Any) -> Path:
        made = changed(tmp_path, lambda message: add(message, **tensor))
        return Path(shutil.move(made, tmp_path / name))

    base = model("a", data_type=7, dims=[2], int64_data=[1, 2])
    assert (
        "type or shape"
        in onnxfile.difference(
            base, model("b", data_type=7, dims=[1, 2], int64_data=[1, 2])
        ).structure
    )
    assert (
        "type or shape"
        in onnxfile.difference(base, model("c", data_type=6, dims=[2], int32_data=[1, 2])).structure
    )
    assert (
        onnxfile.difference(base, model("d", data_type=7, dims=[2], int64_data=[1, 3])).structure
        == "initializer w differs"
    )
    assert (
        "number of values"
        in onnxfile.difference(base, model("e", data_type=7, dims=[2], int64_data=[1])).structure
    )
    texts = [
        model(n, data_type=8, dims=[1], string_data=[t]) for n, t in (("f", b"x"), ("g", b"y"))
    ]
    assert onnxfile.difference(*texts).structure == "initializer w differs"
    assert onnxfile.difference(texts[0], texts[0]).structure == ""
