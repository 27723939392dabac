"""What the gate wrote, told to a pull request: one comment for each model, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gitops import cli, config, forge
from gitops.errors import EvidenceError, UsageError, Where
from gitops.forge import Forge
from gitops.validate import post, reports, reread
from gitops.validate import verdict as documents
from gitops.validate.model import Verdict
from tests.forge_server import Server, serve
from tests.forge_simulator import Simulator
from tests.unit.validate import verdicts
from tests.unit.validate.gate_repo import GateRepo

GITOPS_YAML = """\
version: 1
project: flights
environments: [{name: staging, branch: main}, {name: production, branch: release/production}]
models: {late: {task: binary, path: a}, fares: {task: regression, path: b}}
"""
EVERY: list[Callable[[], Verdict]] = [
    *verdicts.PLAIN,
    lambda: hostile(),
]


def hostile() -> Verdict:
    """The worst that the contract lets through."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "HOSTILE", tuple(text for text in verdicts.HOSTILE if text))
        return verdicts.hostile()


@pytest.fixture
def flights(tmp_path: Path) -> config.Config:
    (tmp_path / "gitops.yaml").write_text(GITOPS_YAML)
    return config.load(tmp_path)


def sealed(verdict: Verdict, model: str = "late", environment: str = "production") -> Verdict:
    return documents.sealed(replace(verdict, model=model, environment=environment))


def write(folder: Path, *judged: Verdict) -> Path:
    """As `gitops gate --report` does."""
    texts = {f"{one.model}/verdict.json": json.dumps(documents.document(one)) for one in judged}
    reports.write(judged, folder, {}, texts)
    return folder


@pytest.mark.parametrize("make", EVERY)
def test_a_document_says_all_that_a_comment_shows(make: Callable[[], Verdict]) -> None:
    before = sealed(make())
    found = documents.document(before)
    again = reread.verdict(json.loads(json.dumps(found)), Where("verdict.json"))
    assert documents.document(again) == found
    assert (again.passed, again.state) == documents.answer(before.checks)[::-1]
    assert reports.markdown([again]) == reports.markdown(
        [replace(before, passed=again.passed, state=again.state)]
    )


def test_one_comment_for_each_model_and_one_for_many(
    tmp_path: Path, flights: config.Config
) -> None:
    judged = [sealed(verdicts.rich()), sealed(verdicts.regression(), "fares")]
    found = post.read(write(tmp_path / "reports", *judged), flights)
    assert [key for key, _ in post.comments(found)] == [
        "gate fares production",
        "gate late production",
    ]
    ((_, text),) = post.comments(found[:1], "https://ci.example/runs/7")
    assert text.endswith(
        "[HTML report, with plots](https://ci.example/runs/7): in the artifacts of this run\n"
    )
    large = (sealed(verdicts.many_slices()),)
    assert len(next(post.comments(large, "https://ci.example/runs/7"))[1].encode()) <= 65_536
    many = tuple(sealed(verdicts.rich(), f"m-{number}") for number in range(11))
    ((key, text),) = post.comments(many)
    assert key == "gate"
    assert all(one.model in text for one in many)


def test_reports_of_several_jobs_lie_apart(tmp_path: Path, flights: config.Config) -> None:
    write(tmp_path / "reports" / "gate-late", sealed(verdicts.rich()))
    write(tmp_path / "reports" / "gate-fares", sealed(verdicts.regression(), "fares"))
    assert len(post.read(tmp_path / "reports", flights)) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("{}", "verdict"),
        ("[]", "verdict"),
        (" " * (4 << 20) + "{}", "more than 4,194,304 bytes"),
        (None, "the verdict was changed"),
    ],
)
def test_what_is_no_verdict_is_told_to_nobody(
    tmp_path: Path, flights: config.Config, text: str | None, said: str
) -> None:
    folder = write(tmp_path / "reports", sealed(verdicts.failing()))
    file = folder / "late" / "verdict.json"
    if text is None:
        text = file.read_text().replace('"passed": false', '"passed": true')
        assert text != file.read_text()
    file.write_text(text)
    with pytest.raises(EvidenceError, match=said):
        post.read(folder, flights)


@pytest.mark.parametrize(("model", "environment"), [("other", "production"), ("late", "moon")])
def test_only_models_and_environments_that_there_are(
    tmp_path: Path, flights: config.Config, model: str, environment: str
) -> None:
    folder = write(tmp_path / "reports", sealed(verdicts.rich(), model, environment))
    with pytest.raises(EvidenceError, match="doesn't have"):
        post.read(folder, flights)


def test_no_link_is_followed(tmp_path: Path, flights: config.Config) -> None:
    real = write(tmp_path / "elsewhere", sealed(verdicts.rich()))
    folder = tmp_path / "reports" / "late"
    folder.mkdir(parents=True)
    (folder / "verdict.json").symlink_to(real / "late" / "verdict.json")
    (tmp_path / "reports" / "more").symlink_to(real)
    assert post.read(tmp_path / "reports", flights) == ()


# ---------------------------------------------------------------- at the forge


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A forge with a pull request."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    simulator = Simulator(tmp_path / "forge")
    tree = simulator.git("hash-object", "-t", "tree", "-w", "/dev/null")
    commit = simulator.git("commit-tree", tree, "-m", "Start")
    for branch in ("main", "feature"):
        simulator.git("update-ref", f"refs/heads/{branch}", commit)
    simulator.open("feature", "main", "A change", "Look")
    with serve(simulator) as found:
        yield found
        assert found.problems == []


def connected(server: Server, platform: str) -> Forge:
    github = platform == "github"
    url = server.github_url if github else server.azure_url
    found = forge.of(url, server.github_env if github else server.azure_env)
    assert found is not None
    return found


@pytest.mark.parametrize("platform", ["github", "azure"])
def test_the_comment_is_updated_in_place(
    tmp_path: Path, flights: config.Config, server: Server, platform: str
) -> None:
    there = connected(server, platform)
    for judged in (verdicts.failing(), verdicts.better()):
        folder = write(tmp_path / "reports", sealed(judged))
        done = post.post(post.read(folder, flights), there, 1)
        assert done == ("gate late production",)
    (comment,) = server.simulator.pulls[0].comments
    assert "## ✅ Go" in comment.text
    assert comment.written == 2


@pytest.mark.parametrize("platform", ["github", "azure"])
def test_an_answer_about_an_older_commit_is_taken_back(
    tmp_path: Path, flights: config.Config, server: Server, platform: str
) -> None:
    there, comments = connected(server, platform), server.simulator.pulls[0].comments
    both = (sealed(verdicts.better()), sealed(verdicts.regression(), "fares"))
    post.post(both, there, 1, "1" * 40)
    assert all(f"Judged: {'1' * 40}, merged with its target." in one.text for one in comments)
    # The next push gets a verdict on one model only,
    post.post(both[:1], there, 1, "2" * 40)
    late, fares = sorted((one.text for one in comments), key=lambda text: "fares" in text)
    assert "✅ Go" in late and f"Judged: {'2' * 40}" in late
    assert "⌛ Out of date" in fares and "Go" not in fares.replace("gitops", "")
    # the one after it none at all,
    done = post.post(post.read(tmp_path / "missing", flights), there, 1, "3" * 40)
    assert done == ("gate", "gate fares production", "gate late production")
    assert len(comments) == 3
    assert all(
        f"❌ No verdict\n\n**The gate has no answer about the last commit ({'3' * 40})" in one.text
        for one in comments
    )
    # and then all is judged again.
    post.post(both, there, 1, "4" * 40)
    assert ["Out of date" in one.text for one in comments] == [False, False, True]


@pytest.mark.parametrize("broken", ["gitops.yaml", "verdict"])
def test_what_cannot_be_read_takes_the_old_answer_back(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    post.post((sealed(verdicts.better()),), connected(server, "github"), 1)
    repo = GateRepo(tmp_path / "repo").start()
    repo.git("remote", "add", "origin", server.github_url)
    repo.write("gitops.yaml", "models: [" if broken == "gitops.yaml" else GITOPS_YAML)
    file = write(tmp_path / "reports", sealed(verdicts.better())) / "late" / "verdict.json"
    if broken == "verdict":
        file.write_text(file.read_text().replace('"passed": true', '"passed": false'))
    for name, value in {**server.github_env, "GITHUB_REF": "refs/pull/1/merge"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(repo.root)
    monkeypatch.setattr(sys, "argv", ["gitops", "gate", "--post", str(tmp_path / "reports")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 3
    assert ["No verdict" in one.text for one in server.simulator.pulls[0].comments] == [True, True]


def test_the_commit_of_a_pull_request_is_not_that_of_its_run(tmp_path: Path) -> None:
    repo = GateRepo(tmp_path / "repo").start()
    repo.git("switch", "-qc", "feature")
    own = repo.commit("A change")
    repo.git("switch", "-q", "main")
    repo.commit("Meanwhile")
    repo.git("merge", "-q", "--no-ff", "feature")
    merged = repo.git("rev-parse", "HEAD")
    for name in ("GITHUB_SHA", "BUILD_SOURCEVERSION"):
        assert post.head(repo.root, {name: merged}) == own
    assert post.head(repo.root, {"GITHUB_SHA": own}) == post.head(repo.root, {}) == ""


@pytest.mark.parametrize(
    ("forge_name", "env", "number"),
    [
        ("GitHub", {"GITHUB_REF": "refs/pull/7/merge"}, 7),
        ("GitHub", {"SYSTEM_PULLREQUEST_PULLREQUESTNUMBER": "8"}, 8),
        ("Azure DevOps", {"SYSTEM_PULLREQUEST_PULLREQUESTID": "9"}, 9),
        ("GitHub", {"GITHUB_REF": "refs/heads/main"}, None),
        ("GitHub", {"GITHUB_REF": "refs/pull/x/merge"}, None),
        ("Azure DevOps", {}, None),
    ],
)
def test_which_pull_request_it_is(forge_name: str, env: dict[str, str], number: int | None) -> None:
    if number is not None:
        assert post.number(forge_name, env) == number
        return
    with pytest.raises(UsageError, match="of no pull request"):
        post.number(forge_name, env)
