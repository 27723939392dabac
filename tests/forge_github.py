"""GitHub's answers to the requests that we make, from what the simulated forge knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from tests import forge_github_settings
from tests.forge_contract import Contract, Reply, Request
from tests.forge_simulator import OWNER, REPOSITORY, Comment, Pull, Run, Said, Simulator

_STATES = {
    "approved": "APPROVED",
    "changes requested": "CHANGES_REQUESTED",
    "commented": "COMMENTED",
    "dismissed": "DISMISSED",
}
_MISSING = Reply(404, {"message": "Not Found", "documentation_url": "https://docs.github.com"})


def answer(
    simulator: Simulator, root: str, contract: Contract, request: Request, values: Mapping[str, str]
) -> Reply:
    """The reply to a request that the description allows."""
    if "owner" in values and (values["owner"], values["repo"]) != (OWNER, REPOSITORY):
        return _MISSING
    pulls = simulator.seen()
    number = int(values.get("pull_number") or values.get("issue_number") or 0)
    if number > len(pulls):
        return _MISSING
    body = request.body or {}
    match request.operation:
        case "pulls/list":
            found = [_pull(contract, root, one) for one in _chosen(pulls, request.query)]
            return page(root, request, found)
        case "pulls/create":
            if why := _refusal(simulator, pulls, body):
                return _invalid(why)
            made = simulator.open(body["head"], body["base"], body["title"], body.get("body", ""))
            return Reply(201, _pull(contract, root, made, schema="pull-request"))
        case "pulls/update":
            pull = pulls[number - 1]
            pull.title, pull.body = body.get("title", pull.title), body.get("body", pull.body)
            return Reply(200, _pull(contract, root, pull, schema="pull-request"))
        case "pulls/list-reviews":
            said = [_review(contract, at + 1, one) for at, one in enumerate(pulls[number - 1].said)]
            return page(root, request, said)
        case "teams/list-members-in-org":
            team = f"{values['org']}/{values['team_slug']}"
            if team not in simulator.teams:
                return _MISSING
            people = [_user(contract, login) for login in simulator.teams[team]]
            return page(root, request, people)
        case "actions/create-workflow-dispatch":
            return _dispatch(simulator, values["workflow_id"], body)
        case "issues/list-events":
            return page(root, request, _events(contract, pulls[number - 1]))
        case "issues/list-comments":
            comments = [_comment(contract, one) for one in pulls[number - 1].comments]
            return page(root, request, comments)
        case "issues/create-comment":
            taken = sum(len(one.comments) for one in pulls)
            at = simulator.now()
            made_comment = Comment(taken + 1, "github-actions[bot]", body["body"], True, at)
            pulls[number - 1].comments.append(made_comment)
            return Reply(201, _comment(contract, made_comment))
        case "issues/update-comment":
            for one in (comment for pull in pulls for comment in pull.comments):
                if one.number == int(values["comment_id"]):
                    one.text, one.written = body["body"], one.written + 1
                    return Reply(200, _comment(contract, one))
            return _MISSING
    return forge_github_settings.answer(simulator.settings, root, contract, request, values)


def _chosen(pulls: Sequence[Pull], query: Mapping[str, str]) -> list[Pull]:
    state, head = query.get("state", "open"), query.get("head", "")
    found = [
        one
        for one in pulls
        if (state == "all" or (one.state == "open") == (state == "open"))
        and query.get("base", one.base) == one.base
        and (not head or head == f"{OWNER}:{one.head}")
    ]
    if query.get("sort") == "updated":
        found.sort(key=lambda one: one.changed, reverse=query.get("direction") == "desc")
    return found


def page(root: str, request: Request, found: list[Any]) -> Reply:
    """One page of a list, and where the next is."""
    size, page = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
    headers = {}
    if len(found) > size * page:
        following = urlencode({**request.query, "page": page + 1})
        headers["Link"] = f'<{root}/api/v3{request.path}?{following}>; rel="next"'
    return Reply(200, found[size * (page - 1) : size * page], headers)


def _refusal(simulator: Simulator, pulls: Sequence[Pull], body: Mapping[str, str]) -> str:
    head, base = simulator.tip(body["head"]), simulator.tip(body["base"])
    if not head or not base:
        return f"{'head' if not head else 'base'} is invalid"
    if any(
        (one.state, one.head, one.base) == ("open", body["head"], body["base"]) for one in pulls
    ):
        return f"A pull request already exists for {OWNER}:{body['head']}."
    if simulator.git("rev-list", "--count", head, f"^{base}") == "0":
        return f"No commits between {body['base']} and {body['head']}"
    return ""


def _invalid(why: str) -> Reply:
    error = {"resource": "PullRequest", "code": "custom", "message": why}
    body = {"message": "Validation Failed", "errors": [error]}
    return Reply(422, {**body, "documentation_url": "https://docs.github.com/rest"})


def _dispatch(simulator: Simulator, workflow: str, body: Mapping[str, Any]) -> Reply:
    path = f".github/workflows/{workflow}"
    if not simulator.git("ls-tree", "main", path):
        return _MISSING
    if "workflow_dispatch" not in simulator.git("show", f"main:{path}"):
        return _invalid("Workflow does not have 'workflow_dispatch' trigger")
    if not simulator.tip(body["ref"]):
        return _invalid(f"No ref found for: {body['ref']}")
    simulator.dispatched.append(
        Run("workflow_dispatch", body["ref"], workflow, dict(body.get("inputs", {})))
    )
    return Reply(204)


def _user(contract: Contract, login: str) -> Any:
    kind = "Bot" if login.endswith("[bot]") else "User"
    return contract.sample("simple-user", login=login, type=kind)


def _pull(contract: Contract, root: str, pull: Pull, schema: str = "pull-request-simple") -> Any:
    home = {"full_name": f"{OWNER}/{REPOSITORY}", "name": REPOSITORY}
    merged = pull.changed if pull.state == "merged" else None
    return contract.sample(
        schema,
        number=pull.number,
        html_url=f"{root}/{OWNER}/{REPOSITORY}/pull/{pull.number}",
        title=pull.title,
        body=pull.body,
        state="open" if pull.state == "open" else "closed",
        merged_at=merged,
        head={"ref": pull.head, "sha": pull.heads[-1][0], "repo": home},
        base={"ref": pull.base, "repo": home},
    )


def _review(contract: Contract, number: int, said: Said) -> Any:
    return contract.sample(
        "pull-request-review",
        id=number,
        user=_user(contract, said.login),
        state=_STATES[said.state],
        commit_id=said.commit,
        submitted_at=said.at,
    )


def _events(contract: Contract, pull: Pull) -> list[Any]:
    """Of the kind with the common properties only: the description has none by these names."""
    told = [("labeled", pull.heads[0][1])] + [("base_ref_changed", at) for at in pull.retargeted]
    return [
        contract.sample("removed-from-project-issue-event", event=event, created_at=at)
        for event, at in told
    ]


def _comment(contract: Contract, comment: Comment) -> Any:
    return contract.sample(
        "issue-comment",
        id=comment.number,
        body=comment.text,
        user=_user(contract, comment.author),
        author_association="MEMBER"
        if comment.trusted and not comment.author.endswith("[bot]")
        else "NONE",
        created_at=comment.at,
    )
