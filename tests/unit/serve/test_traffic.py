"""Two variants of a model: who answers, what is written down, and how plans take over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gitops import contracts
from gitops.errors import Where
from gitops.serve import plan as plans
from gitops.serve import route
from tests.serving import PACKAGES, ROW, lines, plan, serving, stricter, until, variant

PATH = "/models/binary/predict"
CHAMPION = PACKAGES / "binary" / "package"
NO_WAIT = plans.Serve(log=plans.Log(sync_seconds=0))


def served(tmp_path: Path, **changes: object) -> plans.Served:
    """v1.0.0 as champion, and as challenger the stricter v1.1.0."""
    challenger = tmp_path / "challenger"
    if not challenger.exists():
        stricter(challenger)
    made = plans.Served(
        variant(CHAMPION, "binary@v1.0.0", "binary#production#1"),
        variant(challenger, "binary@v1.1.0", "binary#production#2"),
        share=30.0,
        salt="binary#production#2",
        serve=NO_WAIT,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_assignment_is_by_known_numbers() -> None:
    # Computed with hashlib alone: int.from_bytes(blake2b(b"s\0k", digest_size=8), "little").
    import hashlib

    digest = hashlib.blake2b(b"s\x00k", digest_size=8).digest()
    assert route.place("s", "k") == int.from_bytes(digest, "little") / 2**64 * 100
    assert route.place("s", "k") == pytest.approx(59.98, abs=40)


def test_shares_are_kept_and_who_is_in_stays_in() -> None:
    keys = [f"customer-{number}" for number in range(20_000)]
    inside: set[str] = set()
    for share in (1, 5, 25, 50, 99.5, 100):
        now = {key for key in keys if route.is_challengers("salt", key, share)}
        assert inside <= now
        assert abs(len(now) / len(keys) - share / 100) < 0.012
        inside = now
    assert inside == set(keys)
    assert not any(route.is_challengers("salt", key, 0) for key in keys)
    both = [
        route.is_challengers("one", key, 50) == route.is_challengers("two", key, 50) for key in keys
    ]
    assert abs(sum(both) / len(keys) - 0.5) < 0.02  # another rollout asks other units


def test_a_unit_gets_its_variant_by_header_column_or_id(tmp_path: Path) -> None:
    plans.write(tmp_path / "plan.json", plan(binary=served(tmp_path, key="customer")))
    with serving(tmp_path, "--plan", tmp_path / "plan.json") as server:
        for number in range(60):
            key = f"c{number}"
            expected = "challenger" if route.place("binary#production#2", key) < 30 else "champion"
            body = {"row": {**ROW, "customer": key}}
            assert server.post(PATH, body).json["variant"] == expected
            by_header = server.post(PATH, {"row": ROW}, x_gitops_key=key).json
            assert by_header["variant"] == expected
            assert by_header["release"].endswith({"champion": "0.0", "challenger": "1.0"}[expected])
            by_id = server.post(PATH, {"row": ROW, "id": key}).json
            assert by_id["variant"] == expected
        found = lines(server.state)
        assert len(found) == 180
        tensors = [
            {"name": name, "shape": [1], "datatype": "BYTES", "data": [value]}
            for name, value in {**ROW, "customer": "c7"}.items()
        ]
        said = server.post("/v2/models/binary/infer", {"inputs": tensors}).json
        expected = "challenger" if route.place("binary#production#2", "c7") < 30 else "champion"
        assert said["parameters"]["variant"] == expected
        for line in found:
            contracts.validate("prediction", line, Where("log"))
            assert (line["share"], line["salt"]) == (30.0, "binary#production#2")
            assert line["status"] == 200
        assert {line["key"] for line in found} == {None, *(f"c{number}" for number in range(60))}


def test_one_version_is_asked_whatever_the_split(tmp_path: Path) -> None:
    plans.write(tmp_path / "plan.json", plan(binary=served(tmp_path, share=0)))
    with serving(tmp_path, "--plan", tmp_path / "plan.json") as server:
        for version, called in (("v1.0.0", "champion"), ("v1.1.0", "challenger")):
            found = server.post(f"/models/binary/versions/{version}/predict", {"row": ROW}).json
            assert (found["release"], found["variant"]) == (f"binary@{version}", called)
        named = lines(server.state)
        assert [(line["share"], line["salt"]) for line in named] == [(None, None)] * 2
        assert {server.predict().json["variant"] for _ in range(20)} == {"champion"}
        versions = server.get("/v2/models/binary").json["versions"]
        assert versions == ["v1.0.0", "v1.1.0"]


def test_a_challengers_failure_is_written_down_and_the_champion_answers(tmp_path: Path) -> None:
    plans.write(tmp_path / "plan.json", plan(binary=served(tmp_path, share=100)))
    with serving(tmp_path, "--plan", tmp_path / "plan.json") as server:
        assert server.post(PATH, {"row": ROW}).json["variant"] == "challenger"
        found = server.post(PATH, {"row": {**ROW, "delay": None}, "id": "r-1"})
        assert (found.status, found.json["variant"]) == (200, "champion")
        failed, answered = sorted(
            (line for line in lines(server.state) if line["id"] == "r-1"),
            key=lambda line: line["status"], reverse=True,
        )  # fmt: skip
        assert (failed["variant"], failed["status"], failed["predictions"]) == (
            "challenger", 500, None,
        )  # fmt: skip
        assert "missing" in failed["error"]
        assert (answered["variant"], answered["status"]) == ("champion", 200)
        assert (failed["share"], answered["share"]) == (100, None)  # nobody drew the champion
        contracts.validate("prediction", failed, Where("log"))
        assert server.metric("gitops_requests_total", variant="challenger", status="500") == 1
        # What the champion refuses is the caller's mistake, and nobody's failure.
        assert server.post(PATH, {"row": {**ROW, "distance": "far"}, "id": "r-2"}).status == 422
        assert not [line for line in lines(server.state) if line["id"] == "r-2"]


def test_a_shadow_is_asked_and_answers_nobody(tmp_path: Path) -> None:
    shadowed = served(tmp_path, share=None, shadow=True)
    plans.write(tmp_path / "plan.json", plan(binary=shadowed))
    with serving(tmp_path, "--plan", tmp_path / "plan.json") as server:
        answers = [server.post(PATH, {"row": ROW, "id": f"r{n}"}).json for n in range(20)]
        assert {answer["variant"] for answer in answers} == {"champion"}
        large = {"rows": [{**ROW, "delay": None}] * 400, "id": "large"}
        assert server.post(PATH, large).status == 200
        until(lambda: len(lines(server.state)) == 42)
        found = lines(server.state)
        shadows = {line["id"]: line for line in found if line["variant"] == "shadow"}
        assert shadows.keys() == {line["id"] for line in found if line["variant"] == "champion"}
        assert shadows["r3"]["release"] == "binary@v1.1.0"
        assert shadows["r3"]["scores"] == answers[3]["scores"]  # the same model inside
        assert (shadows["large"]["status"], shadows["large"]["rows"]) == (500, 0)
        for line in found:
            contracts.validate("prediction", line, Where("log"))


def test_redacted_columns_never_reach_the_disk(tmp_path: Path) -> None:
    log = plans.Log(sync_seconds=0, redact=("carrier", "customer"))
    made = served(tmp_path, key="customer", serve=plans.Serve(log=log))
    plans.write(tmp_path / "plan.json", plan(binary=made))
    with serving(tmp_path, "--plan", tmp_path / "plan.json") as server:
        row = {**ROW, "carrier": "SECRET", "customer": "Ms Secret"}
        answer = server.post(PATH, {"row": row}).json
        assert "'SECRET'" in answer["warnings"][0]  # the caller's own
        server.post(PATH, {"row": row})
        server.post(PATH, {"row": {**row, "distance": "SECRET"}})
        found = lines(server.state)
        assert len(found) == 2
        assert found[0]["key"] == found[1]["key"] is not None  # sticky all the same
        assert "carrier" not in found[0]["features"]["columns"]
        for path in [server.log, *server.state.rglob("*")]:
            if path.is_file():
                assert b"ecret" not in path.read_bytes().replace(b"log-secret", b""), path
                assert b"SECRET" not in path.read_bytes(), path


def test_labels_are_kept_before_they_are_acknowledged(tmp_path: Path) -> None:
    with serving(tmp_path, CHAMPION) as server:
        answer = server.predict().json
        label = {"id": answer["id"], "row": 0, "label": "true"}
        found = server.post("/labels", {"labels": [label, {**label, "value": 1.5}]})
        assert (found.status, found.json) == (202, {"accepted": 2})
        kept = "".join(p.read_text() for p in (server.state / "labels").glob("*.jsonl"))
        assert kept.count(answer["id"]) == 2
        assert server.post("/labels", {"labels": [{"row": 0}]}).status == 422
        assert server.post("/labels", b"{").status == 400
    assert len(lines(server.state)) == 1  # written at the latest when the server ends


def test_only_a_sample_is_logged(tmp_path: Path) -> None:
    made = served(tmp_path, serve=plans.Serve(log=plans.Log(sync_seconds=0, sample=0.25)))
    plans.write(tmp_path / "plan.json", plan(binary=made))
    with serving(tmp_path, "--plan", tmp_path / "plan.json") as server:
        for number in range(200):
            server.post(PATH, {"row": ROW, "id": f"r{number}"})
        assert 20 < len(lines(server.state)) < 80


def test_no_line_is_lost_when_the_logs_settings_change(tmp_path: Path) -> None:
    file, made = tmp_path / "plan.json", served(tmp_path, share=None, challenger=None)
    plans.write(file, plan(1, binary=made))
    with serving(tmp_path, "--plan", file) as server:
        for number in range(1, 5):
            log = plans.Log(sync_seconds=60, segment_mb=number)  # nothing is written by itself
            changed = replace(made, serve=plans.Serve(log=log))
            for _ in range(5):
                assert server.predict().status == 200
            plans.write(file, plan(number + 1, binary=changed))
            until(lambda g=number + 1: server.serves(g))  # type: ignore[misc]
        until(lambda: len(lines(server.state)) == 20)


def test_a_plan_takes_over_and_a_broken_one_does_not(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    alone = served(tmp_path, challenger=None, share=None)
    with serving(tmp_path, "--plan", file, ready=False) as server:
        until(lambda: server.get("/v2/health/ready").status == 503)
        assert server.predict().status == 503
        plans.write(file, plan(1, binary=alone))
        until(lambda: server.serves(1))
        assert server.get("/v2/health/ready").status == 200
        plans.write(file, plan(2, binary=served(tmp_path, share=100)))
        until(lambda: server.serves(2))
        assert server.predict().json["release"] == "binary@v1.1.0"
        file.with_name("next").write_text("{")
        file.with_name("next").rename(file)
        until(lambda: server.get("/gitops/state").json["error"])
        assert server.predict().json["release"] == "binary@v1.1.0"
        (tmp_path / "challenger" / "MODEL_CARD.md").write_text("altered")
        gone = replace(alone, champion=variant(CHAMPION, "binary@v1.2.0"))
        gone = replace(gone, champion=replace(gone.champion, package="0" * 64))
        plans.write(file, plan(3, binary=gone))
        until(lambda: "digest" in (server.get("/gitops/state").json["error"] or ""))
        state = server.get("/gitops/state").json
        assert (state["generation"], state["wanted"]) == (2, 3)
        assert server.metric("gitops_plan_refused") == 1
        assert server.predict().json["release"] == "binary@v1.1.0"
        plans.write(file, plan(4, other=alone))
        until(lambda: "of the model 'binary'" in (server.get("/gitops/state").json["error"] or ""))
        plans.write(file, plan(5, binary=alone))
        until(lambda: server.serves(5))
        assert server.metric("gitops_plan_refused") == 0
        assert server.predict().json["release"] == "binary@v1.0.0"
        refused = [line for line in server.said() if line["event"] == "plan refused"]
        assert [line["wanted"] for line in refused] == [None, 2, 3, 4]


def test_a_loaded_package_may_be_altered_on_disk(tmp_path: Path) -> None:
    file, made = tmp_path / "plan.json", served(tmp_path, share=100)
    plans.write(file, plan(1, binary=made))
    with serving(tmp_path, "--plan", file) as server:
        before = server.predict().json
        (tmp_path / "challenger" / "model.onnx").write_bytes(b"altered")
        plans.write(file, plan(2, binary=replace(made, share=99.0)))
        until(lambda: server.serves(2))  # the same package is in memory, and isn't read again
        path = "/models/binary/versions/v1.1.0/predict"
        assert server.post(path, {"row": ROW}).json["scores"] == before["scores"]


def test_plans_are_written_and_read_as_they_are(tmp_path: Path) -> None:
    made = plan(
        7,
        binary=served(tmp_path, key="customer", share=5.0, serve=plans.Serve(
            "reject", "reject", plans.Log(0.5, ("carrier",), 0.0, 8, 16), tmp_path, "src/score.py"
        )),
        other=served(tmp_path, share=None, shadow=True),
    )  # fmt: skip
    plans.write(tmp_path / "plan.json", made)
    assert plans.read(tmp_path / "plan.json") == made
