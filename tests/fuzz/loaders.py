"""What others hand to us as bytes, and what reads it.

A loader may answer, or refuse by an error of ours. Anything else that it raises is a fault, and so
is a long silence. The seeds of each are real: fixtures of contracts, shipped content, documents.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from gitops import config, onnxfile, package, signature, yamlfile
from gitops.errors import GitopsError
from gitops.pipelines import definition
from gitops.pipelines.lint import run as lint
from gitops.promote import audit, statement, tags
from gitops.scaffold import generator, lock
from gitops.serve import labels, log, v2
from gitops.serve.decode import Decoder
from gitops.serve.refusal import Refusal
from gitops.validate import policy
from tests.fuzz import stored

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "tests" / "contracts"
PACKAGE = CONTRACTS / "packages" / "binary" / "package"
REFUSED = (GitopsError, Refusal)

Load = Callable[[bytes], object]
Make = Callable[[Path], Load]


@dataclass(frozen=True)
class Loader:
    """`make` gives the loader for a folder that it may use; `seeds` are bytes that it takes."""

    make: Make
    seeds: Callable[[], Iterable[bytes]]


def accepts(load: Load, data: bytes) -> bool:
    """Whether something was read; False: refused. Whatever else is raised is a fault."""
    try:
        return bool(load(data))
    except REFUSED:
        return False


def _files(folder: Path, *patterns: str) -> Callable[[], Iterable[bytes]]:
    def seeds() -> Iterable[bytes]:
        found = sorted({path for one in patterns for path in folder.glob(one) if path.is_file()})
        assert found, f"no seeds: {folder}"
        return [path.read_bytes() for path in found]

    return seeds


def _one_line(folder: Path) -> Callable[[], Iterable[bytes]]:
    documents = _files(folder, "*.json")
    return lambda: [json.dumps(json.loads(one)).encode() + b"\n" for one in documents()]


def _config(folder: Path) -> Load:
    return lambda data: config.parse(data, folder / "gitops.yaml")


def _policy(folder: Path) -> Load:
    def load(data: bytes) -> object:
        name = yamlfile.parse(data, folder / "project.yaml").data.get("name")
        policy.read_pack(yamlfile.parse(data, folder / f"{name}.yaml"))
        declared = config.parse(b"version: 1\nproject: a\nmodels: {b: {task: binary}}\n", folder)
        environment = declared.environments[0].model_copy(update={"policy": str(name)})
        text = data.decode()
        return policy.load(
            environment,
            lambda path: text if path == policy.path_of(str(name)) else None,
            "0" * 40,
            first=True,
            today=date(2026, 1, 1),
        )

    return load


def _generator(folder: Path) -> Load:
    (folder / "template").mkdir(exist_ok=True)

    def load(data: bytes) -> object:
        (folder / "generator.yaml").write_bytes(data)
        return generator.load(folder)

    return load


def _tag(folder: Path) -> Load:
    def load(data: bytes) -> object:
        name, _, text = data.decode("utf-8", "surrogateescape").partition("\n")
        audit._tagger(text)
        statement.closure_in(text)
        found = (statement.of_stage(text, name), statement.of_version(text, name))
        return any(found) or tags.parse(name) or tags.parse_numbered(name)

    return load


def _tags() -> Iterable[bytes]:
    names = [b"late@v1.2.3\n", b"late#production#7\n", b"late#dev!#2\n", b"hold/production/1\n"]
    for kind in ("promotion", "provenance"):
        for path in sorted((CONTRACTS / kind / "valid").glob("*.json")):
            one = json.dumps(json.loads(path.read_bytes()), ensure_ascii=False)
            names.append(b"late#production#7\nsubject\n\n" + one.encode())
    return names


def _signature(folder: Path) -> Load:
    def load(data: bytes) -> object:
        (folder / "signature.json").write_bytes(data)
        return signature.read(folder / "signature.json")

    return load


def _package_with(name: str) -> Make:
    def make(folder: Path) -> Load:
        place = folder / "package"
        shutil.copytree(PACKAGE, place, dirs_exist_ok=True)

        def load(data: bytes) -> object:
            (place / name).write_bytes(data)
            return package.read(place)

        return load

    return make


def _onnx(folder: Path) -> Load:
    def load(data: bytes) -> object:
        (folder / "model.onnx").write_bytes(data)
        onnxfile.check(folder / "model.onnx")
        return onnxfile.difference(folder / "model.onnx", PACKAGE / "model.onnx")

    return load


def _body(folder: Path) -> Load:
    return Decoder(signature.read(PACKAGE / "signature.json"))


def _bodies() -> Iterable[bytes]:
    row = (
        b'{"distance": 500, "delay": 3.5, "holiday": true, "carrier": "AA",'
        b' "time": "2013-05-01T10:00:00Z"}'
    )
    yield b'{"row": ' + row + b"}"
    yield b'{"id": "a", "rows": [' + row + b", " + row + b"]}"
    yield (
        b'{"columns": {"distance": [1], "delay": [null], "holiday": [false], "carrier": ["B"],'
        b' "time": ["2013-05-01"]}}'
    )


def _infer(folder: Path) -> Load:
    decode = Decoder(signature.read(PACKAGE / "signature.json"))

    class One:
        pass

    one = One()
    one.decode = decode  # type: ignore[attr-defined]

    def load(data: bytes) -> object:
        length, _, body = data.partition(b"\n")
        asked, binary = v2._parsed(body, length or None)
        return v2.rows(asked, binary, one)  # type: ignore[arg-type]

    return load


def _infers() -> Iterable[bytes]:
    head = (
        b'{"inputs": [{"name": "distance", "shape": [1, 1], "datatype": "FP64", "data": [500]},'
        b'{"name": "delay", "shape": [1, 1], "datatype": "FP32", "data": [3.5]},'
        b'{"name": "holiday", "shape": [1, 1], "datatype": "BOOL", "data": [true]},'
        b'{"name": "carrier", "shape": [1, 1], "datatype": "BYTES", "data": ["AA"]},'
        b'{"name": "time", "shape": [1, 1], "datatype": "BYTES", "data": ["2013-05-01T10:00:00Z"]}'
    )
    yield b"\n" + head + b"]}"
    binary = head.replace(
        b'"datatype": "FP64", "data": [500]',
        b'"datatype": "FP64", "parameters": {"binary_data_size": 8}',
    )
    binary += b"]}"
    yield b"%d\n" % len(binary) + binary + bytes(8)


def _lines(folder: Path) -> Load:
    def load(data: bytes) -> object:
        (folder / "20260101T000000Z-1-000001.jsonl").write_bytes(data)
        return list(log.everything(folder))

    return load


def _labels(folder: Path) -> Load:
    return labels.lines


def _workflow(folder: Path) -> Load:
    place = folder / ".github" / "workflows"
    place.mkdir(parents=True, exist_ok=True)

    def load(data: bytes) -> object:
        (place / "one.yml").write_bytes(data)
        (folder / "azure-pipelines.yml").write_bytes(data)
        return lint.lint(folder, [place / "one.yml", folder / "azure-pipelines.yml"])

    return load


def _definition(folder: Path) -> Load:
    own = folder / definition.OWN
    own.mkdir(parents=True, exist_ok=True)

    def load(data: bytes) -> object:
        (own / "build.yaml").write_bytes(data)
        return definition.read("build", folder)

    return load


LOADERS: dict[str, Loader] = {
    "config": Loader(_config, _files(Path(__file__).parent / "seeds", "*.yaml")),
    "policy": Loader(_policy, _files(ROOT / "policies", "*.yaml")),
    "generator": Loader(_generator, _files(ROOT / "generators", "*/generator.yaml")),
    "lock": Loader(
        lambda folder: lambda data: lock.parse(data, folder / "lock.yaml"),
        _files(CONTRACTS / "scaffold-lock" / "valid", "*.json"),
    ),
    "tag": Loader(_tag, _tags),
    "signature": Loader(_signature, _files(CONTRACTS / "packages", "*/package/signature.json")),
    "reference": Loader(_package_with("reference.json"), _files(PACKAGE, "reference.json")),
    "train-rows": Loader(_package_with("train_rows.bin"), _files(PACKAGE, "train_rows.bin")),
    "onnx": Loader(_onnx, _files(CONTRACTS / "packages", "*/package/model.onnx")),
    "body": Loader(_body, _bodies),
    "infer": Loader(_infer, _infers),
    "predictions": Loader(_lines, _one_line(CONTRACTS / "prediction" / "valid")),
    "labels": Loader(
        _labels, lambda: [b'{"labels": [{"id": "a", "row": 0, "label": "yes", "value": 1.5}]}']
    ),
    "workflow": Loader(_workflow, _files(ROOT / ".github" / "workflows", "*.yml")),
    "dvc-lock": Loader(stored.locked, stored.locks),
    "dvc-files": Loader(stored.tracked, lambda: list(stored.locks())[:3]),
    "listing": Loader(stored.listing, stored.listings),
    "evidence": Loader(stored.evidence, stored.evidences),
    "table": Loader(stored.tables, stored.csvs),
    "label-file": Loader(stored.label_files, stored.label_seeds),
    "gate-post": Loader(stored.gate, stored.verdicts),
    "build-record": Loader(
        stored.contract("build"), _files(CONTRACTS / "build" / "valid", "*.json")
    ),
    "job": Loader(stored.boxed, stored.jobs),
    "job-result": Loader(
        stored.contract("job-result"), _files(CONTRACTS / "job-result" / "valid", "*.json")
    ),
    "plan": Loader(stored.plans, _files(CONTRACTS / "serving" / "valid", "*.json")),
    "pins": Loader(stored.pins, _files(ROOT / "workflows", "pins.yaml")),
    "what-if": Loader(stored.whatif, stored.whatifs),
    "infrastructure": Loader(stored.infrastructure, stored.infrastructures),
    "forge": Loader(stored.forges, stored.answers),
    "pipeline": Loader(_definition, _files(ROOT / "workflows", "[!p]*.yaml", "p[!i]*.yaml")),
}
