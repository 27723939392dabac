"""What we do on GitHub and Azure DevOps, held against their API descriptions."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitops import forge
from gitops.errors import ToolError, UsageError
from gitops.forge import Forge, Review
from tests import forge_azure, forge_azure_settings, forge_github, forge_github_settings
from tests.forge_contract import Contract, Reply
from tests.forge_server import Fault, Server, serve
from tests.forge_simulator import Comment, Pull, Run, Simulator

TESTS = Path(__file__).parents[1]
HEAD, BASE = "promote/production", "release/production"
WORKFLOW = "on: {workflow_dispatch: {inputs: {environment: {}}}}\n"


@dataclass
class Place:
    """A repository on a simulated forge, and our way to it."""

    simulator: Simulator
    server: Server
    forge: Forge
    platform: str

    def commit(self, branch: str, text: str) -> str:
        """A commit on a branch of the bare repository, past its rules."""
        git, tree = self.simulator.git, self.simulator.path.parent / "seed"
        git("worktree", "add", "--quiet", "--detach", str(tree), branch)
        (tree / "file").write_text(text, "utf-8")
        git("add", "file", cwd=tree)
        git("commit", "--quiet", "-m", text, cwd=tree)
        new = git("rev-parse", "HEAD", cwd=tree)
        git("worktree", "remove", str(tree))
        git("update-ref", f"refs/heads/{branch}", new)
        return new

    def asked(self, method: str) -> list[str]:
        return [one.path for one in self.server.requests if one.method == method]


def seed(folder: Path) -> Simulator:
    """main with a deploy workflow; a release branch; a branch to promote, one commit ahead."""
    simulator = Simulator(folder)
    files = "".join(
        f"M 100644 inline .github/workflows/{name}.yml\ndata {len(text)}\n{text}\n"
        for name, text in (("deploy", WORKFLOW), ("quiet", "on: push\n"))
    )
    who = "committer Forge <noreply@forge.invalid> 1767225600 +0000"
    stream = (
        f"commit refs/heads/main\n{who}\ndata 5\nStart\n{files}\n"
        f"reset refs/heads/{BASE}\nfrom refs/heads/main\n\n"
        f"commit refs/heads/{HEAD}\n{who}\ndata 7\nPromote\nfrom refs/heads/main\n\n"
    )
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=simulator.path, input=stream.encode(), check=True
    )
    return simulator


@pytest.fixture(params=["github", "azure"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    simulator = seed(tmp_path)
    simulator.pipelines = [(7, "deploy", "\\other"), (8, "deploy", "\\flights"), (9, "train", "\\")]
    with serve(simulator) as server:
        url = server.github_url if request.param == "github" else server.azure_url
        env = server.github_env if request.param == "github" else server.azure_env
        found = forge.of(url, env)
        assert found
        yield Place(simulator, server, found, request.param)


def test_a_pull_request_is_opened_once_and_kept_up_to_date(place: Place) -> None:
    first = place.forge.open_or_update(HEAD, BASE, "Promote late", "PASS")
    again = place.forge.open_or_update(HEAD, BASE, "Promote late 2", "FAIL: äöü")
    assert (first.number, first.created) == (1, True)
    assert (again.number, again.url, again.created) == (1, first.url, False)
    (pull,) = place.simulator.pulls
    assert (pull.title, pull.body) == ("Promote late 2", "FAIL: äöü")
    assert first.url.endswith("/1")


def test_a_pull_request_that_is_closed_or_between_other_branches_is_another(place: Place) -> None:
    place.forge.open_or_update(HEAD, BASE, "one", "")
    assert place.forge.open_or_update(HEAD, "main", "to main", "").number == 2
    place.simulator.close(1)
    assert place.forge.open_or_update(HEAD, BASE, "again", "").number == 3


def test_losing_the_race_to_open_it_updates_the_winners(place: Place) -> None:
    """Between our look and our request somebody else's request is carried out, and ours is not."""
    refusal = Reply(422 if place.platform == "github" else 409, {"message": "exists"})
    place.server.faults = [
        Fault("^POST .*pull[rR]?e?q?u?e?s?t?s$|^POST .*pulls$", refusal, after=True)
    ]
    found = place.forge.open_or_update(HEAD, BASE, "ours", "")
    assert (found.number, found.created) == (1, False)


def test_branches_that_the_forge_refuses_are_named(place: Place) -> None:
    with pytest.raises(ToolError, match=r"POST /.* answered 4\d\d: .*(invalid|does not exist)"):
        place.forge.open_or_update("nowhere", BASE, "x", "")


def test_texts_are_cut_to_what_the_forge_takes(place: Place) -> None:
    place.forge.open_or_update(HEAD, BASE, "t" * 500, "a line\n" * 12_000)
    (pull,) = place.simulator.pulls
    assert len(pull.title) == (256 if place.platform == "github" else 400)
    assert len(pull.body) <= (65_536 if place.platform == "github" else 4_000)
    assert pull.body.endswith("a line\n\n(cut: this forge takes no longer text)")


def approvals(place: Place, commit: str) -> list[str]:
    return [one.login for one in place.forge.reviews(commit, BASE)]


def test_an_approval_counts_while_it_is_the_last_word_on_this_very_commit(place: Place) -> None:
    place.forge.open_or_update(HEAD, BASE, "x", "")
    say = place.simulator.review
    commit = place.simulator.tip(HEAD)
    assert commit
    assert place.forge.reviews(commit, BASE) == ()
    for login in ("ann@acme.org", "bob@acme.org", "cid@acme.org", "dan@acme.org", "eve@acme.org"):
        say(1, login, "approved")
    say(1, "bob@acme.org", "changes requested")
    say(1, "cid@acme.org", "dismissed")
    say(1, "dan@acme.org", "commented")
    say(1, "eve@acme.org", "changes requested")
    say(1, "eve@acme.org", "approved")
    say(1, "fay@acme.org", "changes requested")
    found = place.forge.reviews(commit, BASE)
    assert [one.login for one in found] == ["ann@acme.org", "dan@acme.org", "eve@acme.org"]
    email = None if place.platform == "github" else "ann@acme.org"
    at = place.simulator.pulls[0].said[0].at
    assert found[0] == Review("ann@acme.org", email, "approved", commit, at)


def test_a_push_takes_approvals_with_it(place: Place) -> None:
    place.forge.open_or_update(HEAD, BASE, "x", "")
    before = place.simulator.tip(HEAD)
    assert before
    place.simulator.review(1, "ann@acme.org", "approved")
    after = place.commit(HEAD, "something else")
    assert approvals(place, after) == []
    assert approvals(place, before) == []
    place.simulator.review(1, "bob@acme.org", "approved")
    assert approvals(place, after) == ["bob@acme.org"]


def test_approvals_outlive_the_merge_and_not_a_refusal(place: Place) -> None:
    place.forge.open_or_update(HEAD, BASE, "x", "")
    commit = place.simulator.tip(HEAD)
    assert commit
    place.simulator.review(1, "ann@acme.org", "approved")
    place.simulator.merge(HEAD, BASE, "merge")
    place.simulator.git("update-ref", "-d", f"refs/heads/{HEAD}")
    assert approvals(place, commit) == ["ann@acme.org"]
    place.simulator.pulls[0].state = "closed"
    assert approvals(place, commit) == []


def test_an_approval_for_another_branch_is_none_for_this_one(place: Place) -> None:
    place.forge.open_or_update(HEAD, "main", "x", "")
    commit = place.simulator.tip(HEAD)
    assert commit
    place.simulator.review(1, "ann@acme.org", "approved")
    assert approvals(place, commit) == []


def test_an_approval_given_for_another_branch_is_not_carried_over(place: Place) -> None:
    place.forge.open_or_update(HEAD, "main", "x", "")
    commit = place.simulator.tip(HEAD)
    assert commit
    place.simulator.review(1, "ann@acme.org", "approved")
    place.simulator.retarget(1, BASE)
    assert approvals(place, commit) == []
    place.simulator.review(1, "bob@acme.org", "approved")
    assert approvals(place, commit) == ["bob@acme.org"]


def test_lists_are_read_to_the_end(place: Place) -> None:
    place.forge.open_or_update(HEAD, BASE, "x", "")
    commit = place.simulator.tip(HEAD)
    assert commit
    logins = sorted(f"u{number:03}@acme.org" for number in range(230))
    for login in logins:
        place.simulator.review(1, login, "approved")
    place.simulator.teams["flights/leads"] = tuple(logins)
    for number in range(150):  # comments of others, before ours
        place.simulator.pulls[0].comments.append(Comment(2000 + number, "zoe", "hi", True, "x"))
    for one in place.simulator.pulls[0].comments:
        one.at = place.simulator.now()
    assert approvals(place, commit) == logins
    assert list(place.forge.members("@flights/leads")) == logins
    place.forge.comment(1, "late", "one")
    place.forge.comment(1, "late", "two")
    assert len(place.simulator.pulls[0].comments) == 151


def test_a_team_that_cannot_be_read_is_an_error_and_not_empty(place: Place) -> None:
    with pytest.raises(ToolError, match="404") as caught:
        place.forge.members("flights/nobody")
    assert "GITHUB_TOKEN" in caught.value.fix or "SYSTEM_ACCESSTOKEN" in caught.value.fix
    for name in ("leads", "a/b/c", "@/x"):
        with pytest.raises(UsageError, match="is no team"):
            place.forge.members(name)


def test_a_comment_is_written_once_for_each_key_and_then_updated(place: Place) -> None:
    place.forge.open_or_update(HEAD, BASE, "x", "")
    for key, text in (("late", "one"), ("early --> ", "other"), ("late", "two")):
        place.forge.comment(1, key, text)
    late, early = place.simulator.pulls[0].comments
    assert late.text == "<!-- gitops:late -->\ntwo"
    assert late.written == 2
    assert early.text == "<!-- gitops:early%20--%3E%20 -->\nother"
    assert place.forge.keys(1) == {"late", "early --> "}


def test_a_comment_of_somebody_else_is_left_alone(place: Place) -> None:
    """Who may edit a comment could change the verdict in it."""
    place.forge.open_or_update(HEAD, BASE, "x", "")
    at = place.simulator.now()
    bait = Comment(3000, "mallory", "<!-- gitops:late -->\nPASS", False, at)
    place.simulator.pulls[0].comments.append(bait)
    place.forge.comment(1, "late", "FAIL")
    place.forge.comment(1, "late", "FAIL again")
    theirs, ours = place.simulator.pulls[0].comments
    assert theirs.text == "<!-- gitops:late -->\nPASS"
    assert (ours.text, ours.written) == ("<!-- gitops:late -->\nFAIL again", 2)


def test_a_workflow_is_started_on_a_branch_with_inputs(place: Place) -> None:
    place.forge.dispatch("deploy", BASE, {"environment": "production"})
    github = Run("workflow_dispatch", BASE, "deploy.yml", {"environment": "production"})
    azure = Run("pipeline", f"refs/heads/{BASE}", "deploy", {"environment": "production"})
    assert place.simulator.dispatched == [github if place.platform == "github" else azure]
    if place.platform == "azure":  # of two of that name, the one in our repository's folder
        assert place.asked("POST")[-1].endswith("/pipelines/8/runs")


def test_a_workflow_that_is_not_there_is_named(place: Place) -> None:
    with pytest.raises(ToolError) as caught:
        place.forge.dispatch("monitor", BASE, {})
    assert "monitor.yml" in caught.value.fix
    assert place.simulator.dispatched == []


def test_a_workflow_that_cannot_be_started_so_is_refused(place: Place) -> None:
    if place.platform == "github":
        with pytest.raises(ToolError, match="does not have 'workflow_dispatch' trigger"):
            place.forge.dispatch("quiet", BASE, {})
    else:
        place.simulator.pipelines.append((10, "train", "\\more"))
        with pytest.raises(ToolError, match="has 2 pipelines named 'train'"):
            place.forge.dispatch("train", BASE, {})


@pytest.mark.parametrize("place", ["azure"], indirect=True)
def test_a_vote_in_anothers_name_does_not_refresh_an_old_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone who may comment on Azure can post a thread with the log's properties."""
    place.forge.open_or_update(HEAD, BASE, "x", "")
    place.simulator.review(1, "ann@acme.org", "approved")
    commit = place.commit(HEAD, "something else")
    place.simulator.seen()
    real = forge_azure._threads

    def forged(pull: Pull) -> list[dict[str, object]]:
        (vote,) = real(pull)
        mallory = forge_azure._identity("mallory@acme.org")
        comment = {**vote["comments"][0], "author": mallory}
        return [
            vote,
            {**vote, "id": 99, "publishedDate": place.simulator.now(), "comments": [comment]},
        ]

    monkeypatch.setattr(forge_azure, "_threads", forged)
    assert approvals(place, commit) == []


def test_every_described_operation_is_one_that_we_use() -> None:
    """Else a cut of the description would go unnoticed."""
    for name, modules in (
        ("github.json", (forge_github, forge_github_settings)),
        ("azure.yaml", (forge_azure,)),
        ("azure-settings.yaml", (forge_azure_settings,)),
    ):
        text = "".join(map(inspect.getsource, modules))
        described = Contract(name).document["paths"].values()
        ids = [one["operationId"] for methods in described for one in methods.values()]
        assert ids
        assert [one for one in ids if f'"{one}"' not in text] == []


def test_the_description_is_cut_from_githubs_own() -> None:
    """What requests are held against is the official description, word for word."""
    whole = TESTS / "octokit/node_modules/@octokit/openapi/generated/api.github.com.json"
    if not whole.is_file():
        pytest.skip("GitHub's description isn't there: npm ci --prefix tests/octokit")
    cut = TESTS / "contracts" / "forge" / "cut.py"
    done = subprocess.run([sys.executable, cut, whole], capture_output=True, text=True, check=True)
    assert done.stdout == (TESTS / "contracts" / "forge" / "github.json").read_text("utf-8")


def test_the_descriptions_refuse_what_is_wrong() -> None:
    """A description that lets everything pass would hold nothing."""
    github, azure = Contract("github.json"), Contract("azure.yaml", "azure-settings.yaml")
    rule = {"type": "pull_request", "parameters": {"allowed_merge_methods": ["fast-forward"]}}
    ruleset = {"name": "x", "enforcement": "active"}
    wrong = (
        (github, "POST", "/repos/o/r/rulesets", {**ruleset, "enforcement": "on"}),
        (github, "POST", "/repos/o/r/rulesets", {**ruleset, "unknown": 1}),
        (github, "POST", "/repos/o/r/rulesets", {**ruleset, "rules": [rule]}),
        (github, "PUT", "/repos/o/r/environments/e", {"reviewers": [{"type": "Robot", "id": 1}]}),
        (github, "POST", "/repos/o/r/actions/variables", {"name": "x"}),
        (azure, "POST", "/o/p/_apis/policy/configurations", {"isEnabled": True}),
        (azure, "POST", "/o/p/_apis/pipelines", {"name": "x", "folder": "x", "configuration": {}}),
        (azure, "POST", "/o/p/_apis/distributedtask/environments", {"name": ""}),
    )
    for contract, method, path, body in wrong:
        operation = contract.operation(method, path)
        assert operation is not None, path
        query = {"api-version": "7.1"} if contract is azure else {}
        assert contract.request(operation, query, body), body
    checks = azure.operation("GET", "/o/p/_apis/pipelines/checks/configurations")
    assert checks is not None
    query = {"resourceType": "environment", "resourceId": "1"}
    assert azure.request(checks, {**query, "api-version": "7.1"}, None)  # still a preview
    assert azure.request(checks, {**query, "api-version": "7.1-preview.1"}, None) == []
