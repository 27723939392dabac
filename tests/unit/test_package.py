import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gitops import package, rows
from gitops.errors import EvidenceError, UsageError
from gitops.reproduce import compare

PACKAGES = Path(__file__).parents[1] / "contracts" / "packages"
TASKS = ("binary", "multiclass", "regression")


def copy(tmp_path: Path, task: str = "binary") -> Path:
    return Path(shutil.copytree(PACKAGES / task / "package", tmp_path / "package"))


def edit(path: Path, change: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document), "utf-8")


def as_command(folder: Path) -> package.Package:
    """The package as one of a declared command, `fake`."""
    command = ["fake", "{input}", "{output}"]
    edit(
        folder / "signature.json",
        lambda document: document.update(runtime={"kind": "command", "command": command}),
    )
    (folder / "model.onnx").unlink()
    return package.read(folder)


def raw(task: str = "binary") -> pl.DataFrame:
    return package.read_rows(PACKAGES / task / "test.csv")


def test_read_gives_what_is_in_the_folder() -> None:
    folder = PACKAGES / "binary/package"
    found = package.read(folder)
    assert found.signature.classes == ("false", "true")
    assert found.signature.score_columns == ("score",)
    assert [item.type for item in found.signature.inputs] == [
        "number", "number", "boolean", "categorical", "datetime",
    ]  # fmt: skip
    assert found.signature.inputs[4].minimum == 1357317000.0
    assert found.train_rows == 200
    assert found.files == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
    }


def test_digest_is_that_of_sha256sums_lines_and_changes_with_any_file(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    (folder / "more").mkdir()
    (folder / "more" / "notes.txt").write_text("x")
    found = package.read(folder)
    names = [
        "MODEL_CARD.md",
        "model.onnx",
        "more/notes.txt",
        "reference.json",
        "signature.json",
        "train_rows.bin",
    ]
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names
    ]
    assert found.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    (folder / "MODEL_CARD.md").write_text("other")
    assert package.read(folder).digest != found.digest


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("batch", [7, 100_000])
def test_score_agrees_with_the_framework(task: str, batch: int) -> None:
    found = package.read(PACKAGES / task / "package")
    native = np.array(json.loads((PACKAGES / task / "native.json").read_text()))
    scored = package.score(found, raw(task), batch=batch)
    if task == "regression":
        np.testing.assert_allclose(scored.frame["prediction"], native, rtol=1e-6)
        assert scored.frame.columns == ["prediction"]
        return
    if task == "binary":
        np.testing.assert_allclose(scored.frame["score"], native[:, 1], atol=1e-6)
        decided = np.where(native[:, 1] >= 0.5, "true", "false")
    else:
        np.testing.assert_allclose(scored.frame.drop("prediction"), native, atol=1e-6)
        decided = np.array(found.signature.classes)[native.argmax(axis=1)]
    assert scored.frame["prediction"].to_list() == decided.tolist()
    assert set(scored.frame["prediction"]) > {found.signature.classes[0]}


def test_score_counts_what_the_training_data_did_not_have() -> None:
    found = package.read(PACKAGES / "binary/package")
    assert package.score(found, raw(), batch=13).warnings == (
        "delay: 2 rows outside of the training range -41.72 to 45.82: 64.1, -52.16",
        "carrier: 1 rows of categories unknown to the model: 'ZZ'",
        "time: 2 rows outside of the training range 2013-01-04T16:30:00Z to 2013-12-12T15:30:00Z:"
        " 2013-01-01T15:54:00Z, 2013-12-12T17:34:00Z",
    )
    assert package.score(found, package.read_rows(PACKAGES / "binary/train.csv")).warnings == ()


def test_score_is_the_same_from_text_and_from_typed_columns(tmp_path: Path) -> None:
    found = package.read(PACKAGES / "binary/package")
    text = raw()
    typed = text.with_columns(
        pl.col("distance").cast(pl.Int32),
        pl.col("delay").cast(pl.Float64),
        pl.col("holiday") == "true",
        pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="ms"),
        pl.col("carrier").cast(pl.Categorical),
    )
    expected = package.score(found, text).frame
    assert package.score(found, typed).frame.equals(expected)
    typed.with_columns(pl.col("carrier").cast(pl.String)).write_ndjson(tmp_path / "rows.jsonl")
    typed.write_parquet(tmp_path / "rows.parquet")
    for name in ("rows.jsonl", "rows.parquet"):
        assert package.score(found, package.read_rows(tmp_path / name)).frame.equals(expected)


def test_tensors_have_the_declared_types_and_shapes() -> None:
    found = package.read(PACKAGES / "binary/package")
    frame = pl.DataFrame(
        {
            "distance": ["12"], "delay": [None], "holiday": ["TRUE"], "carrier": [""],
            "time": ["1970-01-01T00:00:01.5Z"], "more": [1],
        },
        schema_overrides={"delay": pl.String},
    )  # fmt: skip
    made = package.tensors(frame, found.signature)
    assert {name: (array.dtype, array.shape) for name, array in made.items()} == {
        "distance": (np.dtype("f4"), (1, 1)),
        "delay": (np.dtype("f4"), (1, 1)),
        "holiday": (np.dtype("f4"), (1, 1)),
        "carrier": (np.dtype("O"), (1, 1)),
        "time": (np.dtype("f8"), (1, 1)),
    }
    values = {name: array.item() for name, array in made.items()}
    assert np.isnan(values.pop("delay"))
    assert values == {"distance": 12.0, "holiday": 1.0, "carrier": "", "time": 1.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.rename({"carrier": "carier"}), "'carrier'; did you mean 'carier'"),
        (
            lambda frame: frame.with_columns(delay=pl.lit("5 min")),
            "60 values are not a number.*'5 min' in row 1",
        ),
        (
            lambda frame: frame.with_columns(
                distance=pl.when(pl.int_range(60) % 25 == 20).then(None).otherwise("distance")
            ),
            "'distance': 2 values are missing.*rows 21, 46",
        ),
        (lambda frame: frame.head(0), "there are no rows"),
    ],
)
def test_score_refuses_rows_that_do_not_fit(
    change: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    found = package.read(PACKAGES / "binary/package")
    for batch in (8, 100):
        with pytest.raises(EvidenceError, match=message) as caught:
            package.score(found, change(raw()), batch=10 * batch)
        assert caught.value.fix


def test_rows_are_numbered_through_all_batches() -> None:
    found = package.read(PACKAGES / "binary/package")
    frame = raw().with_columns(
        delay=pl.when(pl.int_range(60) == 44).then(pl.lit("late")).otherwise("delay")
    )
    with pytest.raises(EvidenceError, match="the first 'late' in row 45"):
        package.score(found, frame, batch=10)


def test_score_runs_a_declared_command_through_the_caller(tmp_path: Path) -> None:
    found = as_command(copy(tmp_path))
    seen: list[pl.DataFrame] = []

    def command(frame: pl.DataFrame) -> pl.DataFrame:
        seen.append(frame)
        return pl.DataFrame({"score": [0.5, *[0.4] * (frame.height - 1)]})

    scored = package.score(found, raw(), batch=10, command=command)
    assert seen[0].columns == [item.name for item in found.signature.inputs]
    assert seen[0].height == 60
    assert scored.frame.head(2).to_dicts() == [
        {"prediction": "true", "score": 0.5},
        {"prediction": "false", "score": 0.4},
    ]
    assert scored.warnings[1].startswith("carrier")


def test_command_of_a_regression_and_of_several_classes(tmp_path: Path) -> None:
    regression = as_command(copy(tmp_path / "r", "regression"))
    answer = pl.DataFrame({"prediction": range(60)})
    assert package.score(regression, raw(), command=lambda _: answer).frame[
        "prediction"
    ].to_list() == list(range(60))
    several = as_command(copy(tmp_path / "m", "multiclass"))
    third = pl.repeat(0.4, 60, eager=True)
    answer = pl.DataFrame({"score_0": third / 2, "score_1": third, "score_2": third})
    scored = package.score(several, raw(), command=lambda _: answer).frame
    assert set(scored["prediction"]) == {"1"}  # the first of equals


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (pl.DataFrame({"score": [0.5]}), "answered 1 rows for 60"),
        (pl.DataFrame({"scores": [0.5] * 60}), "'score'; did you mean 'scores'"),
        (
            pl.DataFrame({"score": [*[0.5] * 58, None, float("inf")]}),
            "2 rows are not finite.*59, 60",
        ),
        (pl.DataFrame({"score": ["high"] * 60}), "not a number"),
    ],
)
def test_what_a_command_answers_is_checked(
    tmp_path: Path, answer: pl.DataFrame, message: str
) -> None:
    with pytest.raises(EvidenceError, match=message):
        package.score(as_command(copy(tmp_path)), raw(), command=lambda _: answer)


def test_answers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    folder = copy(tmp_path, "regression")
    frame = raw().with_columns(
        delay=pl.when(pl.int_range(60) == 3).then(pl.lit("inf")).otherwise("delay")
    )
    with pytest.raises(EvidenceError, match="answers for 1 rows are not finite numbers; rows 4"):
        package.score(package.read(folder), frame)


@pytest.mark.parametrize(
    "name", ["signature.json", "reference.json", "train_rows.bin", "MODEL_CARD.md", "model.onnx"]
)
def test_read_names_a_missing_file(tmp_path: Path, name: str) -> None:
    folder = copy(tmp_path)
    (folder / name).unlink()
    with pytest.raises(EvidenceError) as caught:
        package.read(folder)
    assert caught.value.where is not None
    assert caught.value.where.file == folder / name


def test_read_names_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="there is no package"):
        package.read(tmp_path / "package")


def _first_input(**changes: object) -> Callable[[Any], None]:
    return lambda document: document["inputs"][0].update(changes)


def _output(name: str) -> Callable[[Any], None]:
    return lambda document: document["runtime"].update(output=name)


def _renamed_score(document: Any) -> None:
    document["prediction"] = document.pop("score")


def _column(name: str, **changes: object) -> Callable[[Any], None]:
    return lambda document: document["columns"][name].update(changes)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("signature.json", lambda d: d.update(task="ranking"), r"\$.task"),
        ("signature.json", _first_input(name="delay"), "two inputs have the name 'delay'"),
        ("signature.json", _first_input(tensor="delay"), "two inputs have the tensor 'delay'"),
        ("signature.json", lambda d: d.update(target="delay"), "the target 'delay' is among"),
        ("signature.json", lambda d: d.update(id="delay"), "the id 'delay' is among the inputs"),
        ("signature.json", _first_input(minimum=9999), "minimum 9999 is above maximum"),
        ("signature.json", _first_input(tensor="miles"), "tensors differ.*distance, miles"),
        ("signature.json", _first_input(name="miles"), "columns differ.*distance, miles"),
        ("signature.json", _output("scores"), "no output 'scores', only"),
        ("signature.json", _output("label"), r"'label' is tensor\(string\)"),
        ("reference.json", lambda d: d.update(rows=0), r"\$.rows"),
        ("reference.json", lambda d: d["columns"].pop("delay"), "columns differ.*: delay"),
        ("reference.json", _column("delay", edges=[1, 1, 2]), "'delay': edges are not ascending"),
        ("reference.json", _column("delay", counts=[1]), "'delay': 1 counts for 2 bins"),
        ("reference.json", _column("carrier", other=999), "'carrier': counts .* rows of 200"),
        ("reference.json", lambda d: d["score"].update(counts=[201, 0]), "'score': counts 201"),
        ("reference.json", _renamed_score, "needs its profile under 'score'"),
        ("reference.json", lambda d: d.update(rows=199), "counts 200 rows of 199"),
    ],
)  # fmt: skip
def test_read_refuses_contradictions(
    tmp_path: Path, file: str, change: Callable[[Any], object], message: str
) -> None:
    folder = copy(tmp_path)
    edit(folder / file, change)
    with pytest.raises(EvidenceError, match=message) as caught:
        package.read(folder)
    assert caught.value.fix
    assert caught.value.where is not None


def test_read_refuses_a_profile_of_another_task(tmp_path: Path) -> None:
    folder = copy(tmp_path, "multiclass")
    edges = {"edges": [0, 1], "counts": [1]}
    edit(folder / "reference.json", lambda document: document.update(prediction=edges))
    with pytest.raises(EvidenceError, match="a multiclass model needs its profile"):
        package.read(folder)


@pytest.mark.parametrize("count", [0, 201])
def test_read_refuses_keys_that_cannot_be_of_the_training_rows(tmp_path: Path, count: int) -> None:
    folder = copy(tmp_path)
    keys = np.arange(count, dtype="<u8").tobytes()
    (folder / "train_rows.bin").write_bytes(rows.MAGIC + keys)
    with pytest.raises(EvidenceError, match=f"{count} keys for the 200 training rows"):
        package.read(folder)


def _swap_types(document: Any) -> None:
    carrier, distance = document["inputs"][3], document["inputs"][0]
    carrier["tensor"], distance["tensor"] = distance["tensor"], carrier["tensor"]


def test_read_refuses_tensors_of_another_type(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    edit(folder / "signature.json", _swap_types)
    with pytest.raises(
        EvidenceError, match=r"tensor\(float\); categorical must be tensor\(string\)"
    ):
        package.read(folder)


def test_read_refuses_a_model_of_another_number_of_classes(tmp_path: Path) -> None:
    folder = copy(tmp_path, "multiclass")
    edit(folder / "signature.json", lambda document: document["classes"].pop())
    with pytest.raises(EvidenceError, match=r"not float \(n, 2\)"):
        package.read(folder)
    shutil.copy(PACKAGES / "regression/package/model.onnx", folder)
    edit(folder / "signature.json", lambda document: document["runtime"].update(output="variable"))
    with pytest.raises(EvidenceError, match=r"'variable' is tensor\(float\) .*not float \(n, 2\)"):
        package.read(folder)


def _shape(model: Any, dims: bytes) -> None:
    model.graph.input[0].type = (
        b"\x0a" + bytes([len(dims) + 4]) + b"\x08\x01\x12" + bytes([len(dims)]) + dims
    )


@pytest.mark.parametrize(
    "dims",
    [b"\x0a\x00\x0a\x02\x08\x02", b"\x0a\x02\x08\x05\x0a\x02\x08\x01"],
    ids=["(n, 2)", "(5, 1)"],
)
def test_read_refuses_tensors_of_another_shape(tmp_path: Path, dims: bytes) -> None:
    from gitops import onnxfile

    folder = copy(tmp_path)
    model = onnxfile.load(folder / "model.onnx")
    _shape(model, dims)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EvidenceError, match="'distance' has the shape"):
        package.read(folder)


def test_answers_of_another_shape_are_refused(tmp_path: Path) -> None:
    from gitops import onnxfile

    folder = copy(tmp_path, "multiclass")
    edit(folder / "signature.json", lambda document: document["classes"].pop())
    model = onnxfile.load(folder / "model.onnx")
    # A Compress makes the number of columns unknown until the model is run.
    model.graph.initializer.add(name=b"keep", data_type=9, dims=[3], int32_data=[1, 1, 1])
    output = next(o for o in model.graph.output if o.name == b"probabilities")
    node = model.graph.node.add(op_type=b"Compress", input=[b"probabilities", b"keep"])
    node.output.append(b"unknown")
    node.attribute.add(name=b"axis", type=2, i=1)
    output.name, output.type = b"unknown", b"\x0a\x0a\x08\x01\x12\x06\x0a\x00\x0a\x02\x12\x00"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    edit(folder / "signature.json", lambda document: document["runtime"].update(output="unknown"))
    with pytest.raises(EvidenceError, match=r"the shape \(60, 3\), not \(60, 2\)"):
        package.score(package.read(folder), raw())


def test_a_model_that_wants_more_memory_than_there_is_fails(tmp_path: Path) -> None:
    from gitops import onnxfile

    folder = copy(tmp_path)
    model = onnxfile.load(folder / "model.onnx")
    last = next(one for one in model.graph.node if b"probabilities" in one.output)
    last.output[list(last.output).index(b"probabilities")] = b"before"
    graph = model.graph
    graph.initializer.add(name=b"size", data_type=7, dims=[1], int64_data=[1 << 44])
    graph.node.add(op_type=b"ConstantOfShape", input=[b"size"]).output.append(b"huge")
    summed = graph.node.add(op_type=b"ReduceSum", input=[b"huge"])
    summed.output.append(b"sum")
    summed.attribute.add(name=b"keepdims", type=2, i=0)
    graph.node.add(op_type=b"Add", input=[b"before", b"sum"]).output.append(b"probabilities")
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EvidenceError, match="the model fails on these rows"):
        package.score(package.read(folder), raw())


def test_read_refuses_what_the_runtime_cannot_load(tmp_path: Path) -> None:
    from gitops import onnxfile

    folder = copy(tmp_path)
    model = onnxfile.load(folder / "model.onnx")
    model.graph.node[0].op_type = b"NoSuchOperator"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EvidenceError, match=r"can't be loaded: .*NoSuchOperator"):
        package.read(folder)


def test_read_refuses_custom_operators(tmp_path: Path) -> None:
    from gitops import onnxfile

    folder = copy(tmp_path)
    model = onnxfile.load(folder / "model.onnx")
    model.graph.node[0].domain = b"evil"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EvidenceError, match="of the domain 'evil'"):
        package.read(folder)


def test_compare(tmp_path: Path) -> None:
    from gitops import onnxfile

    one = package.read(PACKAGES / "binary/package")
    assert compare.parameters(one, one) == compare.Parameters(
        True, "", 0.0, "all parameters are equal"
    )
    folder = copy(tmp_path)
    model = onnxfile.load(folder / "model.onnx")
    classifier = next(node for node in model.graph.node if node.op_type == b"LinearClassifier")
    next(a for a in classifier.attribute if a.name == b"coefficients").floats[0] += 0.5
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    found = compare.parameters(one, package.read(folder))
    assert (found.equal, found.structure) == (False, "")
    assert found.detail == "parameters differ by up to 0.5, in LinearClassifier.coefficients"
    edit(folder / "signature.json", lambda document: document.update(threshold=0.4))
    found = compare.parameters(one, package.read(folder))
    assert (found.equal, found.detail) == (False, "the signatures differ in threshold")
    other = compare.parameters(package.read(PACKAGES / "regression/package"), one)
    assert not other.equal


def test_compare_names_another_graph(tmp_path: Path) -> None:
    from gitops import onnxfile

    folder = copy(tmp_path)
    model = onnxfile.load(folder / "model.onnx")
    encoder = next(node for node in model.graph.node if node.op_type == b"OneHotEncoder")
    next(a for a in encoder.attribute if a.name == b"cats_strings").strings[0] = b"XX"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    found = compare.parameters(package.read(PACKAGES / "binary/package"), package.read(folder))
    assert found.detail == "the models differ: OneHotEncoder.cats_strings differs"


def test_compare_never_calls_declared_commands_equal(tmp_path: Path) -> None:
    found = as_command(copy(tmp_path))
    assert not compare.parameters(found, found).equal


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_read_rows_of_csv_is_all_text(tmp_path: Path, separator: str) -> None:
    lines = [["a", "b", "ö"], ["1", '"x,;\t|\ny"', "NA"], ["", "nan", "2.50"]]
    path = tmp_path / "rows.CSV"
    path.write_text("\ufeff" + "\r\n".join(separator.join(line) for line in lines), "utf-8")
    assert package.read_rows(path).to_dicts() == [
        {"a": "1", "b": "x,;\t|\ny", "ö": None},
        {"a": None, "b": None, "ö": "2.50"},
    ]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.csv", b"", "the file is empty"),
        ("x.csv", b"a,b\n", "a header but no row"),
        ("x.csv", b"a,b,a\n1,2,3\n", "columns 1 and 3 have the same name 'a'"),
        ("x.csv", b"a,b\n1,2,3\n", "this row has 3 cells"),
        ("x.csv", b"a,b\n1,\xff\n", "not UTF-8 text"),
        ("x.csv", b"\xff\xfea\x00", "a header but no row"),
        ("x.parquet", b"PAR1", "can't be read"),
        ("x.jsonl", b'{"a": 1}\n{"a":', "can't be read"),
        ("x.jsonl", b"", "can't be read|there are no rows"),
    ],
)
def test_read_rows_refuses(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(EvidenceError, match=message):
        package.read_rows(path)


def test_read_rows_of_no_file_and_of_another_format(tmp_path: Path) -> None:
    pl.DataFrame({"a": ["1"]}).write_csv(tmp_path / "x1.csv")
    for ending in ("csv", "parquet", "jsonl"):
        with pytest.raises(EvidenceError, match="there is no such file"):
            package.read_rows(tmp_path / f"x[1].{ending}")
        with pytest.raises(EvidenceError, match="there is no such file"):
            package.read_rows(tmp_path / f"x.{ending}")
    with pytest.raises(UsageError, match=r"\.xlsx is not a format"):
        package.read_rows(tmp_path / "x.xlsx")


@pytest.mark.parametrize("task", TASKS)
def test_a_lazy_table_is_scored_in_batches(tmp_path: Path, task: str) -> None:
    found = package.read(PACKAGES / task / "package")
    raw(task).write_parquet(tmp_path / "rows.parquet")
    lazy = package.score(found, pl.scan_parquet(tmp_path / "rows.parquet"), batch=7)
    assert lazy.frame.equals(package.score(found, raw(task)).frame)
    with pytest.raises(EvidenceError, match="1 of 5 columns are missing: 'distance'"):
        package.score(found, raw(task).lazy().drop("distance"))
