"""A real server with code of the project's own, and what its log gives in the end."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from gitops import package
from gitops.serve import label_file, labels, log
from gitops.serve import plan as plans
from gitops.serve.join import join
from gitops.serve.script_process import version
from tests.serving import PACKAGES, ROW, plan, serving, stricter, until, variant
from tests.unit.serve.projects import as_command, project, with_our_libraries
from tests.unit.serve.test_command import BINARY, WORDS

PATH = "/models/binary/predict"
CHAMPION = PACKAGES / "binary" / "package"
SCRIPT = """
def before(rows):
    return [{**row, "distance": 114 if row["carrier"] == "DL" else row["distance"]} for row in rows]

def after(rows, answers):
    if rows[0]["carrier"] == "ZZ":
        raise ValueError("no " + rows[0]["carrier"])
    return [{**answer, "prediction": "true"} for answer in answers]
"""


def served(workdir: Path, script: str | None, folder: Path = CHAMPION) -> plans.Served:
    serve = plans.Serve(workdir=workdir, script=script, log=plans.Log(sync_seconds=0))
    return plans.Served(variant(folder, "binary@v1.0.0", "binary#production#1"), serve=serve)


def test_a_script_answers_and_a_broken_one_does_not_take_over(tmp_path: Path) -> None:
    root = project(tmp_path / "project", scoring=SCRIPT, broken="def before(rows): return None")
    file = tmp_path / "plan.json"
    plans.write(file, plan(1, binary=served(root, "scoring.py")))
    with serving(tmp_path / "server", "--plan", file) as server:
        answer = server.post(PATH, {"row": ROW, "id": "r1"}).json
        assert answer["predictions"] == ["true"]
        other = server.post(PATH, {"row": {**ROW, "carrier": "DL"}}).json
        assert other["scores"] != answer["scores"]
        failed = server.post(PATH, {"row": {**ROW, "carrier": "ZZ"}, "id": "r2"})
        assert failed.status == 500
        assert b"ValueError" not in failed.body
        assert "ValueError: no ZZ" in server.log.read_text()
        assert [one["at"] for one in server.said() if one["event"] == "scoring script failed"] != []
        state = server.get("/gitops/state").json["models"]["binary"]["champion"]
        assert state["script"] == version(root / "scoring.py")
        # What is redacted from now on isn't in the text of an exception either.
        secret = served(root, "scoring.py")
        redacting = replace(secret.serve, log=plans.Log(sync_seconds=0, redact=("carrier",)))
        plans.write(file, plan(2, binary=replace(secret, serve=redacting)))
        until(lambda: server.serves(2))
        before = len(server.log.read_text())
        assert server.post(PATH, {"row": {**ROW, "carrier": "ZZ"}, "id": "r3"}).status == 500
        until(lambda: "scoring script failed" in server.log.read_text()[before:])
        assert "ZZ" not in server.log.read_text()[before:]
        plans.write(file, plan(3, binary=served(root, "broken.py")))
        until(lambda: server.get("/gitops/state").json["error"])
        assert "like those of the training data" in server.get("/gitops/state").json["error"]
        assert server.post(PATH, {"row": ROW}).json["predictions"] == ["true"]
        plans.write(file, plan(4, binary=served(root, None)))
        until(lambda: server.serves(4))
        found = {one.id: one for one in log.everything(server.state / "log" / "binary")}
        assert (found["r1"].predictions, found["r1"].status) == (["true"], 200)
        assert (found["r2"].predictions, found["r2"].status) == (None, 500)


def test_a_declared_command_answers(tmp_path: Path) -> None:
    root = with_our_libraries(project(tmp_path / "project", predict=BINARY))
    folder = as_command(tmp_path / "package", "binary", WORDS)
    plans.write(tmp_path / "plan.json", plan(1, binary=served(root, None, folder)))
    with serving(tmp_path / "server", "--plan", tmp_path / "plan.json") as server:
        rows = [{**ROW, "distance": 1024}, {**ROW, "distance": 2048}]
        answer = server.post(PATH, {"rows": rows}).json
        assert answer["scores"] == [0.125, 0.25]
        assert server.post(PATH + "?explain=true", {"rows": rows}).status == 422
        assert server.post(PATH, {"row": {**ROW, "distance": 667}}).status == 500


@pytest.mark.parametrize("shadow", [False, True])
def test_from_requests_and_labels_to_one_table(tmp_path: Path, shadow: bool) -> None:
    challenger = stricter(tmp_path / "challenger")
    made = replace(
        served(tmp_path, None),
        challenger=variant(challenger, "binary@v1.1.0", "binary#production#2"),
        share=None if shadow else 50.0,
        shadow=shadow,
        salt="binary#production#2",
    )
    plans.write(tmp_path / "plan.json", plan(binary=made))
    with serving(tmp_path / "server", "--plan", tmp_path / "plan.json") as server:
        for number in range(40):
            server.post(PATH, {"rows": [ROW, ROW], "id": f"r{number}"})
        early = [{"id": f"r{number}", "row": 1, "label": True} for number in range(60)]
        assert server.post("/labels", {"labels": early}).status == 202
        expected = 80 if shadow else 40
        folder = server.state / "log" / "binary"
        until(lambda: len(list(log.everything(folder))) == expected)
        workers = server.workers()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        until(lambda: server.workers() and server.workers() != workers)
        until(lambda: server.post(PATH, {"row": ROW, "id": "late"}).status == 200)
        (tmp_path / "labels.csv").write_text(
            "id,label,value\nr0,false,2.5\nlate,true,\nnever,true,\n"
        )
        added = label_file.add(tmp_path / "labels.csv", server.state, "binary")
        assert (added.written, added.unknown.first) == (3, ["never"])
    releases = {
        "binary@v1.0.0": package.read(CHAMPION).signature,
        "binary@v1.1.0": package.read(challenger).signature,
    }
    said, _ = labels.read(server.state / "labels")
    frame, report = join(log.everything(server.state / "log/binary"), said, releases)
    # A late request has a shadow's line as well, unless the server ended before it was asked.
    assert report.requests - expected in ((1, 2) if shadow else (1,))
    assert (report.unusable, report.other, report.conflicts.count) == (0, 0, 0)
    assert report.unknown.count == 21
    rows = frame.filter(id="r0", arm="champion") if shadow else frame.filter(id="r0")
    assert rows.select("row", "label", "value").rows() == [(0, "false", 2.5), (1, "true", None)]
    arms = set(frame["arm"])
    assert arms == ({"champion", "shadow"} if shadow else {"champion", "challenger"})
    assert frame.filter(arm="champion")["release"].unique().to_list() == ["binary@v1.0.0"]
    assert set(frame["share"]) == ({None} if shadow else {50.0})
