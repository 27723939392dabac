"""The page of the benchmarks: what is missed is said, and what fails costs none of the others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import registry, report, serving
from benchmarks.cases import Case
from benchmarks.measure import Command, Failed, Row, row_of

MACHINE = {"date": "2026-01-31", "processor": "Some CPU", "dvc": "3.0"}
FAST = row_of("start_up", "start-up", "gitops", [0.1, 0.12, 0.14], 30, 0.15)
PEER = row_of("start_up", "start-up", "dvc", [0.18, 0.2, 0.3], 60, 0.15)
SLOW = row_of("registry_status", "what runs where", "gitops", [0.5, 0.45], 80, 0.4)


def test_a_page_names_machine_tools_and_numbers() -> None:
    text = report.page(MACHINE, [FAST, PEER], [])
    assert "date 2026-01-31, processor Some CPU, dvc 3.0." in text
    assert "| start-up | **gitops** | 0.12 | 0.1 .. 0.14 | 3 | 30 | 0.15 |" in text
    assert "|  | dvc | 0.2 | 0.18 .. 0.3 | 3 | 60 |  |" in text  # the budget is ours alone
    assert "All 1 are kept." in text
    assert "failed" not in text and "Left out" not in text


def test_a_missed_budget_is_told_with_the_reason() -> None:
    text = report.page(MACHINE, [FAST, SLOW], ["Evidently"])
    assert "| 0.4 missed |" in text
    assert "1 of 2 are missed:" in text
    assert f"- what runs where: 0.475, allowed 0.4: {report.WHY['registry_status']}." in text
    assert "Left out, since they weren't there: Evidently." in text
    unknown = row_of("new", "new work", "gitops", [2.0], 10, 1.0)
    assert "new work: 2, allowed 1: nobody has said why yet." in report.page(MACHINE, [unknown], [])


def test_reasons_are_about_cases_that_exist() -> None:
    source = "".join(Path(str(one.__file__)).read_text() for one in (benchmarks, serving))
    for case in report.WHY:
        assert f'"{case.removeprefix("serving_")}"' in source


def test_what_fails_is_named_in_a_line() -> None:
    text = report.page(
        MACHINE, [FAST, Failed("sync", "`cruft` exited with 1:\nlong\nno network")], []
    )
    assert "- `sync`: `cruft` exited with 1: … no network" in text


def test_a_failure_costs_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(folder: Path) -> Case:
        raise RuntimeError("no such tool")

    def works(folder: Path) -> Case:
        command = Command("gitops", [sys.executable, "-c", ""], folder)
        return Case("nothing at all", 1e9, (command,), rounds=2)

    monkeypatch.setattr(registry, "show", broken)
    monkeypatch.setattr(registry, "plan", works)
    found = list(benchmarks.run(tmp_path, 5, only="registry", large=False))
    assert found[0] == Failed("registry_status", "no such tool")
    assert isinstance(found[1], Row)
    assert (found[1].case, found[1].rounds, found[1].within) == ("registry_promote", 2, True)
    assert "registry_status FAILED: no such tool" in capsys.readouterr().err


def test_a_peer_that_is_not_there_is_named_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmarks, "_PEERS", ("dvc", "no-such-peer"))
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    with pytest.raises(SystemExit) as ended:
        benchmarks.main()
    assert ended.value.code == 2
    assert "not installed: no-such-peer; fix: make .venv/ready" in capsys.readouterr().err


def test_what_was_measured_is_written_though_something_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    found = [FAST, Failed("sync", "no")]
    monkeypatch.setattr(benchmarks, "run", lambda *given, **named: iter(found))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--write", str(page)])
    with pytest.raises(SystemExit) as ended:
        benchmarks.main()
    assert ended.value.code == 1
    assert "**gitops**" in page.read_text() and "- `sync`: no" in page.read_text()
    page.unlink()
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--write", str(page), "--only", "sync"])
    with pytest.raises(SystemExit):
        benchmarks.main()
    assert not page.exists()  # of a part there is no page
