"""Every example file is a test: `tests/contracts/<name>/{valid,invalid}/*.json`.

The name of an invalid example is `<key>--<why it is wrong>`, and the error must speak of the key.
"""

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from gitops import contracts
from gitops.errors import EvidenceError, Where

EXAMPLES = Path(__file__).parents[1] / "contracts"
VALID = sorted(EXAMPLES.glob("*/valid/*.json"))
INVALID = sorted(EXAMPLES.glob("*/invalid/*.json"))


def _id(path: Path) -> str:
    return f"{path.parts[-3]}/{path.stem}"


def _check(path: Path) -> None:
    contracts.validate(path.parts[-3], contracts.read_json(path), Where(path))


@pytest.mark.parametrize("path", VALID, ids=_id)
def test_valid_example_passes(path: Path) -> None:
    _check(path)
    assert contracts.read_json(path) == json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("path", INVALID, ids=_id)
def test_invalid_example_is_refused_by_name_and_with_a_fix(path: Path) -> None:
    with pytest.raises(EvidenceError) as caught:
        _check(path)
    key, dashes, _ = path.stem.partition("--")
    assert not dashes or key in caught.value.message
    assert caught.value.fix
    assert caught.value.where is not None
    assert caught.value.where.file == path


@pytest.mark.parametrize("name", contracts.names())
def test_schema_is_a_schema_and_has_examples_of_both_kinds(name: str) -> None:
    Draft202012Validator.check_schema(contracts.schema(name))
    kinds = {path.parts[-2] for path in (*VALID, *INVALID) if path.parts[-3] == name}
    assert kinds == {"valid", "invalid"}


@pytest.mark.parametrize("path", VALID, ids=_id)
def test_no_number_may_be_nan(path: Path) -> None:
    document = contracts.read_json(path)
    for place in _numbers(document):
        spoiled = copy.deepcopy(document)
        at = spoiled
        for key in place[:-1]:
            at = at[key]  # type: ignore[index]
        at[place[-1]] = math.nan  # type: ignore[index]
        with pytest.raises(EvidenceError):
            contracts.validate(path.parts[-3], spoiled, Where(path))


@pytest.mark.parametrize("path", VALID, ids=_id)
def test_no_unknown_key_beside_the_known(path: Path) -> None:
    document = contracts.read_json(path)
    assert isinstance(document, dict)
    with pytest.raises(EvidenceError, match=r"\$: unknown key 'surprise'"):
        contracts.validate(path.parts[-3], {**document, "surprise": 1}, Where(path))


@pytest.mark.parametrize("where", ["key", "value"])
def test_half_a_character_is_refused(where: str) -> None:
    document = json.loads((EXAMPLES / "verdict/valid/fail.json").read_text("utf-8"))
    document["notes"] = [{"kind": "x", "level": "note", "text": "\ud800"}]
    if where == "key":
        document["\udfff"] = 1
        document["notes"] = []
    with pytest.raises(EvidenceError, match="is half of a character"):
        contracts.validate("verdict", document, Where("verdict.json"))


@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_an_integer_beyond_doubles_is_no_number(number: int) -> None:
    document = json.loads((EXAMPLES / "build/valid/laptop.json").read_text("utf-8"))
    document["outputs"][0]["size"] = number
    with pytest.raises(EvidenceError, match=r"\$\.outputs\[0\]\.size"):
        contracts.validate("build", document, Where("build.json"))


def _numbers(value: object, at: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _numbers(item, (*at, index))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield at


def test_error_names_path_value_and_nearest_spelling() -> None:
    document = json.loads((EXAMPLES / "signature/valid/binary.json").read_text("utf-8"))
    document["inputs"][1]["type"] = "numbr"
    with pytest.raises(EvidenceError) as caught:
        contracts.validate("signature", document, Where("signature.json"))
    assert str(caught.value).startswith('signature.json: $.inputs[1].type: "numbr" is not one of')
    assert "did you mean 'number'?" in caught.value.message


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        (b'{"a": 1,\n "b": NaN}', "NaN is not a number", 2, 7),
        (b'{"a": "NaN",\n "b": [-Infinity]}', "-Infinity is not a number", 2, 8),
        (b'{"a": 1,\n "b": 2,\n "a": 3}', 'key "a" twice', 3, 2),
        (b'[{"a": 1}, {"a": 2, "b": {"a": 3}, "a": 4}]', 'key "a" twice', 1, 36),
        (b'{"a": 1e999}', "1e999 is too large", 1, 7),
        (b'{"a": [' + b"9" * 5000 + b"]}", "99 is too large for a double", 1, 8),
        (b'{"a": 1e999.0}', "1e999 is too large", 1, 7),
        (b'{"a": 1}\n{"b": 2}', "Extra data", 2, 1),
        (b'{"a": 1,}', "not JSON", 1, 9),
        (b'{"a":\n "\xff"}', "not UTF-8: byte 0xff", 2, 3),
        (b"\xef\xbb\xbf{}", "BOM", 1, 1),
        (b"", "not JSON", 1, 1),
    ],
)
def test_read_json_is_strict(
    tmp_path: Path, text: bytes, message: str, line: int, column: int
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(EvidenceError) as caught:
        contracts.read_json(path)
    assert message in caught.value.message
    assert caught.value.where == Where(path, line, column)


def test_read_json_refuses_what_is_nested_without_end(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" * 200_000)
    with pytest.raises(EvidenceError, match="nested too deeply"):
        contracts.read_json(path)


def test_read_json_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="no such file"):
        contracts.read_json(tmp_path / "x.json")
    with pytest.raises(EvidenceError, match="can't be read: Is a directory"):
        contracts.read_json(tmp_path)
