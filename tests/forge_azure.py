"""Azure DevOps' answers to the requests that we make, from what the simulated forge knows."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

from tests import forge_azure_settings
from tests.forge_contract import Contract, Reply, Request
from tests.forge_simulator import OWNER, REPOSITORY, Comment, Pull, Run, Said, Simulator

_VOTES = {"approved": 10, "changes requested": -10, "dismissed": 0}
_STATUSES = {"open": "active", "closed": "abandoned", "merged": "completed"}
# Who writes the log of a pull request.
_SERVICE = {"id": str(uuid.UUID(int=1)), "displayName": "Service Accounts", "isContainer": True}
ROBOT = "Project Collection Build Service"


def answer(
    simulator: Simulator, root: str, contract: Contract, request: Request, values: Mapping[str, str]
) -> Reply:
    """The reply to a request that the description allows."""
    home = (values["organization"], values.get("project", REPOSITORY))
    if home != (OWNER, REPOSITORY) or values.get("repositoryId", REPOSITORY) != REPOSITORY:
        return _error(404, "TF401019: The Git repository does not exist")
    pulls = simulator.seen()
    number = int(values.get("pullRequestId", 0))
    if number > len(pulls):
        return _error(404, f"TF401180: The requested pull request {number} was not found.")
    body = request.body or {}
    match request.operation:
        case "list pull requests":
            found = [_pull(one) for one in reversed(pulls) if _matches(one, request.query)]
            return _page(request, found)
        case "create pull request":
            head, base = (_branch(body[f"{end}RefName"]) for end in ("source", "target"))
            if any((one.state, one.head, one.base) == ("open", head, base) for one in pulls):
                return _error(409, "TF401179: An active pull request already exists")
            if not simulator.tip(head) or not simulator.tip(base):
                return _error(404, f"TF401398: The branch {head} or {base} does not exist")
            made = simulator.open(head, base, body["title"], body.get("description", ""))
            return Reply(201, _pull(made))
        case "update pull request":
            pull = pulls[number - 1]
            pull.title = body.get("title", pull.title)
            pull.body = body.get("description", pull.body)
            return Reply(200, _pull(pull))
        case "list iterations":
            return _all(_iterations(pulls[number - 1]))
        case "list threads":
            return _all(_threads(pulls[number - 1]))
        case "create thread":
            text, at = body["comments"][0]["content"], simulator.now()
            comment = Comment(1000 + len(pulls[number - 1].comments), ROBOT, text, True, at)
            pulls[number - 1].comments.append(comment)
            return Reply(200, _thread(comment))
        case "update comment":
            thread = int(values["threadId"])
            found_comment = next(o for o in pulls[number - 1].comments if o.number == thread)
            if found_comment.author != ROBOT:
                return _error(403, "Only the author may edit a comment")
            found_comment.text = body["content"]
            found_comment.written += 1
            return Reply(200, _thread(found_comment)["comments"][0])
        case "list pipelines":
            pipelines = simulator.pipelines
            return _all([{"id": n, "name": name, "folder": at} for n, name, at in pipelines])
        case "run pipeline":
            return _run(simulator, int(values["pipelineId"]), body)
        case "list team members":
            team = f"{values['projectId']}/{values['teamId']}"
            if team not in simulator.teams:
                return _error(404, "The team does not exist")
            people = [{"identity": _identity(one)} for one in simulator.teams[team]]
            return _page(request, people)
    return forge_azure_settings.answer(simulator.project, request, values)


def _error(status: int, message: str) -> Reply:
    return Reply(status, {"message": message, "typeKey": "Exception", "errorCode": 0})


def _all(found: list[Any]) -> Reply:
    return Reply(200, {"count": len(found), "value": found})


def _page(request: Request, found: list[Any]) -> Reply:
    skip, top = int(request.query.get("$skip", 0)), int(request.query.get("$top", 101))
    return _all(found[skip : skip + top])


def _branch(ref: str) -> str:
    return ref.removeprefix("refs/heads/")


def _matches(pull: Pull, query: Mapping[str, str]) -> bool:
    status = query.get("searchCriteria.status", "active")
    source = query.get("searchCriteria.sourceRefName", f"refs/heads/{pull.head}")
    target = query.get("searchCriteria.targetRefName", f"refs/heads/{pull.base}")
    ends = (_branch(source), _branch(target)) == (pull.head, pull.base)
    return ends and status in ("all", _STATUSES[pull.state])


def _identity(login: str) -> dict[str, Any]:
    number = str(uuid.UUID(bytes=hashlib.md5(login.encode()).digest()))
    return {"id": number, "displayName": login.partition("@")[0], "uniqueName": login}


def _pull(pull: Pull) -> dict[str, Any]:
    votes = {one.login: _VOTES[one.state] for one in pull.said if one.state in _VOTES}
    return {
        "pullRequestId": pull.number,
        "status": _STATUSES[pull.state],
        "title": pull.title,
        "description": pull.body,
        "sourceRefName": f"refs/heads/{pull.head}",
        "targetRefName": f"refs/heads/{pull.base}",
        "lastMergeSourceCommit": {"commitId": pull.heads[-1][0]},
        "reviewers": [{**_identity(login), "vote": vote} for login, vote in votes.items()],
    }


def _iterations(pull: Pull) -> list[dict[str, Any]]:
    """One for each push, and one for each change of the target."""
    aimed = [(at, [c for c, pushed in pull.heads if pushed < at][-1]) for at in pull.retargeted]
    found = sorted([(at, commit) for commit, at in pull.heads] + aimed)
    return [
        {"id": number, "createdDate": at, "sourceRefCommit": {"commitId": commit}}
        for number, (at, commit) in enumerate(found, 1)
    ]


def _threads(pull: Pull) -> list[dict[str, Any]]:
    votes = [_vote(at + 1, one) for at, one in enumerate(pull.said) if one.state in _VOTES]
    return votes + [_thread(one) for one in pull.comments]


def _vote(number: int, said: Said) -> dict[str, Any]:
    result = _VOTES[said.state]
    text = {"$type": "System.String"}
    comment = {"id": 1, "author": _SERVICE, "commentType": "system"}
    return {
        "id": number,
        "publishedDate": said.at,
        "comments": [{**comment, "content": f"{said.login} voted {result}"}],
        "identities": {"1": _identity(said.login)},
        "properties": {
            "CodeReviewThreadType": {**text, "$value": "VoteUpdate"},
            "CodeReviewVoteResult": {**text, "$value": str(result)},
            "CodeReviewVotedByIdentity": {**text, "$value": "1"},
        },
    }


def _thread(comment: Comment) -> dict[str, Any]:
    text = {"id": 1, "author": _identity(comment.author), "commentType": "text"}
    return {
        "id": comment.number,
        "publishedDate": comment.at,
        "status": "closed",
        "properties": None,
        "identities": None,
        "comments": [{**text, "parentCommentId": 0, "content": comment.text}],
    }


def _run(simulator: Simulator, number: int, body: Mapping[str, Any]) -> Reply:
    name = next((name for one, name, _ in simulator.pipelines if one == number), None)
    if name is None:
        return _error(404, f"Pipeline {number} does not exist")
    ref = body.get("resources", {}).get("repositories", {}).get("self", {}).get("refName", "")
    if not simulator.tip(_branch(ref)):
        return _error(400, f"The ref {ref} does not exist")
    inputs = dict(body.get("templateParameters", {}))
    simulator.dispatched.append(Run("pipeline", ref, name, inputs))
    return Reply(200, {"id": len(simulator.dispatched), "name": "1", "state": "inProgress"})
