"""A real server, asked as its callers ask it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tritonclient.http as triton
from openapi_schema_validator import OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from gitops import package
from gitops.serve import plan as plans
from tests.serving import PACKAGES, ROW, Server, plan, serving, until, variant

TASKS = ("binary", "multiclass", "regression")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folders = [PACKAGES / task / "package" for task in TASKS]
    with serving(tmp_path_factory.mktemp("server"), *folders) as found:
        yield found


def rows(task: str = "binary") -> list[dict[str, Any]]:
    """The test rows, typed as JSON has them."""
    raw = package.read_rows(PACKAGES / task / "test.csv")
    typed = raw.select(
        pl.col("distance").cast(pl.Int64),
        pl.col("delay").cast(pl.Float64),
        pl.col("holiday") == "true",
        "carrier",
        "time",
    )
    return typed.to_dicts()


def native(task: str) -> Any:
    """What scikit-learn itself says of the test rows."""
    return np.array(json.loads((PACKAGES / task / "native.json").read_text()))


@pytest.mark.parametrize("task", TASKS)
def test_answers_are_those_of_the_framework_and_of_predict(server: Server, task: str) -> None:
    given = rows(task)
    expected = package.score(
        package.read(PACKAGES / task / "package"), package.read_rows(PACKAGES / task / "test.csv")
    ).frame
    for body in (
        {"rows": given},
        {"columns": {name: [row[name] for row in given] for name in given[0]}},
    ):
        found = server.post(f"/models/{task}/predict", body)
        assert found.status == 200
        answer = found.json
        assert answer["predictions"] == expected["prediction"].to_list()
        assert (answer["model"], answer["variant"]) == (task, "champion")
        if task == "regression":
            np.testing.assert_allclose(answer["predictions"], native(task), rtol=1e-6)
            assert "scores" not in answer
        elif task == "binary":
            assert answer["scores"] == expected["score"].to_list()
            np.testing.assert_allclose(answer["scores"], native(task)[:, 1], atol=1e-6)
        else:
            np.testing.assert_allclose(answer["scores"], native(task), atol=1e-6)
    alone = [server.post(f"/models/{task}/predict", {"row": row}).json for row in given[:20]]
    predictions = [one["predictions"][0] for one in alone]
    if task == "regression":
        np.testing.assert_allclose(predictions, expected["prediction"].to_list()[:20], rtol=1e-6)
    else:
        assert predictions == expected["prediction"].to_list()[:20]
    if task == "binary":
        scores = [one["scores"][0] for one in alone]  # alone, the last bit may be another
        np.testing.assert_allclose(scores, expected["score"].to_list()[:20], atol=1e-6)


def test_many_rows_are_answered_in_their_order(server: Server) -> None:
    given = rows() * 150
    found = server.post("/models/binary/predict", {"rows": given}).json
    few = server.post("/models/binary/predict", {"rows": rows()}).json
    assert found["predictions"] == few["predictions"] * 150
    assert found["scores"] == few["scores"] * 150


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("binary", [True, False])
def test_the_client_of_the_open_inference_protocol_just_works(
    server: Server, task: str, binary: bool
) -> None:
    given = rows(task)
    client = triton.InferenceServerClient(server.url)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(task)
    about = client.get_model_metadata(task)
    assert [one["name"] for one in about["inputs"]] == list(given[0])
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    kinds = {"FP32": np.float32, "BOOL": np.bool_, "BYTES": np.object_}
    inputs = []
    for one in about["inputs"]:
        values = [row[one["name"]] for row in given]
        if one["datatype"] == "FP32":
            values = [np.nan if value is None else value for value in values]
        values = ["" if value is None else value for value in values]
        made = triton.InferInput(one["name"], [len(given), 1], one["datatype"])
        if not binary and one["name"] == "delay":  # JSON has no NaN: it is sent as binary
            made.set_data_from_numpy(np.array(values, np.float32).reshape(-1, 1))
        else:
            made.set_data_from_numpy(
                np.array(values, kinds[one["datatype"]]).reshape(-1, 1), binary_data=binary
            )
        inputs.append(made)
    wanted = [triton.InferRequestedOutput(o["name"], binary_data=binary) for o in about["outputs"]]
    for outputs in (wanted, None):
        found = client.infer(task, inputs, outputs=outputs, request_id="r-7")
        expected = server.post(f"/models/{task}/predict", {"rows": given}).json
        predictions = found.as_numpy("predictions").tolist()
        if task != "regression":
            predictions = [p.decode() if isinstance(p, bytes) else p for p in predictions]
            np.testing.assert_array_equal(found.as_numpy("scores"), expected["scores"])
        assert predictions == expected["predictions"]
        assert found.get_response()["id"] == "r-7"
    version = about["versions"][0]
    assert client.is_model_ready(task, version)
    assert client.infer(task, inputs, model_version=version).as_numpy("predictions") is not None
    client.close()


def test_the_open_inference_protocol_says_what_is_wrong_in_one_text(server: Server) -> None:
    tensor = {"name": "distance", "shape": [1, 1], "datatype": "FP32", "data": ["far"]}
    found = server.post("/v2/models/binary/infer", {"inputs": [tensor]})
    assert found.status == 422
    assert found.json == {"error": "row 0, column 'distance': not a number; give a number"}
    client = triton.InferenceServerClient(server.url)
    with pytest.raises(triton.InferenceServerException, match="no such model"):
        client.get_model_metadata("none")
    client.close()


BAD_TENSORS = [
    ({"shape": [2, 1]}, "1 values for the shape"),
    ({"shape": [1, 2]}, "not the shape of a column"),
    ({"shape": [0, 1], "data": []}, "not the shape of a column"),
    ({"name": "distence"}, "a column is unknown"),
    ({"parameters": {"binary_data_size": 10**9}}, "beyond the body"),
    ({"parameters": {"binary_data_size": -1}}, "beyond the body"),
    ({"data": [None]}, "a missing value"),
    ({"data": [[[1]]]}, "not a number"),
    ({}, "the column is missing"),
]


@pytest.mark.parametrize(("change", "what"), BAD_TENSORS)
def test_tensors_that_do_not_fit_are_refused(
    server: Server, change: dict[str, Any], what: str
) -> None:
    tensor = {"name": "distance", "shape": [1, 1], "datatype": "FP32", "data": [100.0]}
    found = server.post("/v2/models/binary/infer", {"inputs": [tensor | change]})
    assert found.status == 422
    assert what in found.json["error"]


@pytest.mark.parametrize("name", ["x" * 129, "a b", "ü"])
def test_an_id_that_labels_could_not_name_is_refused(server: Server, name: str) -> None:
    tensors = [
        {"name": key, "shape": [1], "datatype": "BYTES", "data": [value]}
        for key, value in ROW.items()
    ]
    assert server.post("/v2/models/binary/infer", {"inputs": tensors, "id": "r-8"}).status == 200
    found = server.post("/v2/models/binary/infer", {"inputs": tensors, "id": name})
    assert (found.status, "$.id" in found.json["error"]) == (422, True)


def test_an_output_is_given_once(server: Server) -> None:
    tensors = [
        {"name": key, "shape": [1], "datatype": "BYTES", "data": [value]}
        for key, value in ROW.items()
    ]
    asked = {"inputs": tensors, "outputs": [{"name": "scores"}] * 2}
    found = server.post("/v2/models/binary/infer", asked)
    assert (found.status, "twice" in found.json["error"]) == (422, True)


@pytest.mark.parametrize("length", ["0", "99999", "-3", "x", "9" * 5000])
def test_a_wrong_length_of_the_json_is_refused(server: Server, length: str) -> None:
    found = server.post(
        "/v2/models/binary/infer", b'{"inputs": []}', inference_header_content_length=length
    )
    assert found.status == 400
    assert "Inference-Header-Content-Length" in found.json["error"]


def test_infinities_and_broken_texts_in_binary_tensors_are_refused(server: Server) -> None:
    def send(name: str, datatype: str, raw: bytes) -> str:
        parameters = {"binary_data_size": len(raw)}
        tensor = {"name": name, "shape": [1], "datatype": datatype, "parameters": parameters}
        head = json.dumps({"inputs": [tensor]}).encode()
        found = server.post(
            "/v2/models/binary/infer", head + raw,
            content_type="application/octet-stream",
            inference_header_content_length=str(len(head)),
        )  # fmt: skip
        assert found.status == 422
        return str(found.json["error"])

    assert "finite" in send("distance", "FP32", np.float32("inf").tobytes())
    assert "missing" in send("distance", "FP64", np.float64("nan").tobytes())
    assert "cut off" in send("distance", "FP64", b"\0" * 7)
    assert "cut off" in send("carrier", "BYTES", b"\xff\0\0\0AA")
    assert "not UTF-8" in send("carrier", "BYTES", b"\1\0\0\0\xff")
    assert "unknown datatype" in send("distance", "FP99", b"\0" * 8)


def test_curl_as_the_page_shows_it(server: Server, tmp_path: Path) -> None:
    page = server.get("/docs")
    assert page.status == 200
    text = page.body.decode()
    assert "src=" not in text
    assert "http-equiv" not in text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "https://" not in text
    import html
    import re

    shown = html.unescape(re.findall(r"<pre>(.*?)</pre>", text, re.DOTALL)[0])
    assert shown.startswith("curl ")
    done = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout)["model"] == "binary"


def test_the_openapi_document_is_one_and_says_what_is_accepted(server: Server) -> None:
    document = server.get("/openapi.json").json
    assert document["openapi"] == "3.1.0"
    root = DRAFT202012.create_resource(document)
    registry: Any = Registry().with_resource("urn:api", root)

    def check(name: str, instance: object) -> list[str]:
        OAS31Validator.check_schema(document["components"]["schemas"][name])
        schema = {"$ref": f"urn:api#/components/schemas/{name}"}
        return [e.message for e in OAS31Validator(schema, registry=registry).iter_errors(instance)]

    for name in document["components"]["schemas"]:
        OAS31Validator.check_schema(document["components"]["schemas"][name])
    for task in TASKS:
        operation = document["paths"][f"/models/{task}/predict"]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        assert check(f"{task}.Request", example) == []
        answer = server.post(f"/models/{task}/predict", example)
        assert answer.status == 200
        assert check(f"{task}.Answer", answer.json) == []
        refusals: list[dict[str, Any]] = [
            {"rows": [{**ROW, "distance": "far"}]},
            {"rows": [{**ROW, "more": 1}]},
            {"rows": []},
            {"rows": [ROW], "row": ROW},
            {"row": {**ROW, "time": None}},
        ]
        for wrong in refusals:
            assert check(f"{task}.Request", wrong) != []
            refused = server.post(f"/models/{task}/predict", wrong)
            assert refused.status == 422
            assert check("Error", refused.json) == []
    references = {
        word for word in json.dumps(document).split('"') if word.startswith("#/components/schemas/")
    }
    assert {r.rsplit("/", 1)[1] for r in references} <= set(document["components"]["schemas"])


def test_ids_come_from_body_header_or_server(server: Server) -> None:
    path = "/models/binary/predict"
    named = server.post(path, {"row": ROW, "id": "body-1"}, x_request_id="head-1").json
    assert named["id"] == "body-1"
    assert server.post(path, {"row": ROW}, x_request_id="head-1").json["id"] == "head-1"
    made = {server.post(path, {"row": ROW}).json["id"] for _ in range(3)}
    assert len(made) == 3
    for bad in ("a b", "x" * 129):
        assert server.post(path, {"row": ROW}, x_request_id=bad).status == 400
        assert server.post(path, {"row": ROW, "id": bad}).status == 422
    assert server.post(path, {"row": ROW}, x_gitops_key="x" * 257).status == 400


def test_what_is_not_there_is_told_with_what_is(server: Server) -> None:
    assert "binary, multiclass, regression" in server.predict("nine").json["error"]["fix"]
    unknown = server.post("/models/binary/versions/v9/predict", {"row": ROW})
    assert unknown.status == 404
    assert "the versions served are" in unknown.json["error"]["fix"]
    assert server.get("/nowhere").status == 404
    wrong = server.get("/models/binary/predict")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert server.ask("HEAD", "/v2/health/live").status == 200
    kind = server.post("/models/binary/predict", b"{}", content_type="text/csv")
    assert (kind.status, kind.json["error"]["value"]) == (415, "'text/csv'")
    packed = server.post("/models/binary/predict", {"row": ROW}, content_encoding="gzip")
    assert packed.status == 415


def test_the_state_names_releases_and_digests(server: Server) -> None:
    state = server.get("/gitops/state").json
    found = state["models"]["binary"]["champion"]
    assert found["package"] == package.read(PACKAGES / "binary" / "package").digest
    assert state["pid"] in server.workers()
    assert (state["generation"], state["error"]) == (0, None)


def test_accepted_surprises_are_told_and_counted(server: Server) -> None:
    before = server.metric("gitops_surprises_total", column="carrier")
    odd = {**ROW, "carrier": "ZZ", "distance": 1e6}
    found = server.post("/models/binary/predict", {"rows": [ROW, odd]}).json
    assert found["warnings"] == [
        "distance: a value outside of the training range in 1 rows: 1000000.0",
        "carrier: a category unknown to the model in 1 rows: 'ZZ'",
    ]
    after = server.metric("gitops_surprises_total", column="carrier", kind="unknown_category")
    assert after == before + 1


def test_a_plan_may_refuse_surprises(tmp_path: Path) -> None:
    strict = plans.Serve(unknown_category="reject", out_of_range="reject")
    champion = variant(PACKAGES / "binary" / "package", "binary@v1.0.0")
    plans.write(tmp_path / "plan.json", plan(binary=plans.Served(champion, serve=strict)))
    with serving(tmp_path, "--plan", tmp_path / "plan.json") as server:
        assert server.predict().status == 200
        for column, value, right in (
            ("carrier", "ZZ", "one of 'AA', 'DL', 'Ünited, Inc.'"),
            ("distance", 1e6, "114 to 3000"),
            ("time", "2050-01-01", "2013-01-04T16:30:00Z to 2013-12-12T15:30:00Z"),
        ):
            body = {"rows": [ROW, {**ROW, column: value}]}
            found = server.post("/models/binary/predict", body)
            assert found.status == 422
            error = found.json["error"]
            assert (error["model"], error["row"], error["column"]) == ("binary", 1, column)
            assert right in error["fix"]


def test_metrics_are_those_of_all_workers(tmp_path: Path) -> None:
    with serving(tmp_path, PACKAGES / "binary" / "package", "--workers", "2") as server:
        until(lambda: len(server.workers()) == 2)
        for _ in range(40):
            assert server.predict().status == 200
        assert server.predict("none").status == 404
        assert server.metric("gitops_requests_total", status="200", model="binary") == 40
        assert server.metric("gitops_request_seconds_count", variant="champion") == 40
        assert server.metric("gitops_rows_total") == 40
        assert server.metric("gitops_refused_total", status="404") == 1
        assert server.metric("gitops_generation") == 0


def test_it_ends_cleanly_and_leaves_no_state_of_workers(tmp_path: Path) -> None:
    with serving(tmp_path, PACKAGES / "binary" / "package") as server:
        assert server.workers()
        assert server.end() == 0
        assert server.workers() == []
        events = [line["event"] for line in server.said()]
        assert events[0] == "serving"
        assert events[-1] == "ended"


def test_nothing_is_served_of_two_packages_of_one_model(tmp_path: Path) -> None:
    import sys

    copy = shutil.copytree(PACKAGES / "binary" / "package", tmp_path / "copy")
    command = [sys.executable, "-m", "gitops", "serve"]
    done = subprocess.run(
        [*command, str(PACKAGES / "binary" / "package"), str(copy)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "two packages are of the model 'binary'" in done.stderr
    (copy / "model.onnx").write_bytes(b"no model")
    done = subprocess.run([*command, str(copy)], capture_output=True, text=True)
    assert done.returncode == 3
    assert "not an ONNX model" in done.stderr
