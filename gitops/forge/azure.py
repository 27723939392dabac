"""Azure DevOps Services and Server: https://learn.microsoft.com/en-us/rest/api/azure/devops."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from gitops.errors import ToolError, UsageError
from gitops.forge.address import OnAzure
from gitops.forge.client import PAGE, Client, Refused, Token, moment, objects, part, pick
from gitops.forge.model import PullRequest, Review, fit, key_of, marker

_TOKENS = ("SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT")
_DESCRIPTION = 4_000
_TITLE = 400
_COMMENT = 150_000
_RECENT_PAGES = 3  # of pull requests into a branch, the newest first
_APPROVALS = {10: "approved", 5: "approved with suggestions"}
_CODE = "vso.code_write: Code (read and write), Contribute to pull requests"


def connect(place: OnAzure, env: Mapping[str, str]) -> Azure:
    """The forge at `place`, with the token of the environment."""
    token = None
    if secret := env.get("SYSTEM_ACCESSTOKEN"):
        token = Token("SYSTEM_ACCESSTOKEN", secret, f"Bearer {secret}")
    elif secret := env.get("AZURE_DEVOPS_EXT_PAT"):
        basic = base64.b64encode(f":{secret}".encode()).decode()
        token = Token("AZURE_DEVOPS_EXT_PAT", secret, f"Basic {basic}")
    client = Client(
        "Azure DevOps",
        place.collection,
        token,
        _TOKENS,
        {"Accept": "application/json", "User-Agent": "gitops-ml"},
        always={"api-version": "7.1"},
        unsigned=(401, 203, 302),  # the sign-in page
    )
    return Azure(client, place.project, place.repository)


@dataclass(frozen=True)
class Azure:
    """One repository of a project on Azure DevOps."""

    client: Client
    project: str
    repository: str
    name: str = "Azure DevOps"

    @property
    def _git(self) -> str:
        project, repository = quote(self.project, safe=""), quote(self.repository, safe="")
        return f"{project}/_apis/git/repositories/{repository}/pullrequests"

    def open_or_update(
        self, head_branch: str, base_branch: str, title: str, body: str
    ) -> PullRequest:
        texts = {"title": title[:_TITLE], "description": fit(body, _DESCRIPTION)}

        def settle() -> PullRequest:
            if found := self._active(head_branch, base_branch):
                return self._update(found, texts)
            branches = {"sourceRefName": _ref(head_branch), "targetRefName": _ref(base_branch)}
            try:
                answer = self.client.send(
                    "POST", self._git, needs=_CODE, body={**branches, **texts}
                )
            except Refused as error:
                # Somebody opened it between our two requests.
                if error.status == 409 and (found := self._active(head_branch, base_branch)):
                    return self._update(found, texts)
                raise
            return self._pull_request(answer.data, created=True)

        return self.client.settled(settle)

    def _active(self, head: str, base: str) -> Mapping[str, Any] | None:
        asked = {"searchCriteria.status": "active", "searchCriteria.sourceRefName": _ref(head)}
        for one in self._pull_requests(base, asked, 1):
            if pick(one, str, "sourceRefName") == _ref(head) and not one.get("forkSource"):
                return one
        return None

    def _pull_requests(
        self, base: str, asked: Mapping[str, str], most: int
    ) -> list[dict[str, Any]]:
        query = {**asked, "searchCriteria.targetRefName": _ref(base)}
        found = self._pages(self._git, query, "vso.code: Code (read)", most)
        return [one for one in found if pick(one, str, "targetRefName") == _ref(base)]

    def _pages(
        self, path: str, query: Mapping[str, str], needs: str, most: int
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in range(most):
            asked: dict[str, str | int] = {**query, "$top": PAGE, "$skip": page * PAGE}
            answer = self.client.send("GET", path, needs=needs, query=asked)
            some = objects(answer.data, "value")
            found += some
            if len(some) < PAGE:
                break
        return found

    def _update(self, found: object, texts: Mapping[str, str]) -> PullRequest:
        path = f"{self._git}/{pick(found, int, 'pullRequestId')}"
        answer = self.client.send("PATCH", path, needs=_CODE, body=texts)
        return self._pull_request(answer.data, created=False)

    def _pull_request(self, data: object, *, created: bool) -> PullRequest:
        number = pick(data, int, "pullRequestId")
        project, repository = quote(self.project, safe=""), quote(self.repository, safe="")
        page = f"{self.client.base}/{project}/_git/{repository}/pullrequest/{number}"
        return PullRequest(number, page, created)

    def reviews(self, commit: str, base_branch: str) -> tuple[Review, ...]:
        latest: dict[str, Review | None] = {}
        asked = {"searchCriteria.status": "all"}
        for one in reversed(self._pull_requests(base_branch, asked, _RECENT_PAGES)):
            head = part(one, "lastMergeSourceCommit").get("commitId")
            if head == commit and pick(one, str, "status") in ("active", "completed"):
                latest.update(self._verdicts(one, commit))
        return tuple(review for _, review in sorted(latest.items()) if review)

    def _verdicts(self, pull_request: Mapping[str, Any], commit: str) -> dict[str, Review | None]:
        """By reviewer: the approval that stands and was cast after `commit` became the head.

        A vote has neither a commit nor a time; the pull request's own log has the times of both.
        """
        path = f"{self._git}/{pick(pull_request, int, 'pullRequestId')}"
        pushes = self._list(f"{path}/iterations")
        last = max(pushes, key=lambda one: pick(one, int, "id"), default=None)
        if last is None or pick(last, str, "sourceRefCommit", "commitId") != commit:
            return {}
        since = moment(pick(last, str, "createdDate"))
        votes = _votes(self._list(f"{path}/threads"))
        found: dict[str, Review | None] = {}
        for one in objects(pull_request, "reviewers"):
            vote = pick(one, int, "vote")
            # A team's vote is that of a member, who is a reviewer too.
            if not vote or one.get("isContainer"):
                continue
            login = pick(one, str, "uniqueName")
            result, at = votes.get(_identity(one.get("id")), (0, ""))
            counts = vote in _APPROVALS and result in _APPROVALS and moment(at) > since
            found[login.lower()] = (
                Review(login, _email(login), _APPROVALS[vote], commit, at) if counts else None
            )
        return found

    def _list(self, path: str) -> list[dict[str, Any]]:
        answer = self.client.send("GET", path, needs="vso.code: Code (read)")
        return objects(answer.data, "value")

    def members(self, team: str) -> tuple[str, ...]:
        project, _, name = team.removeprefix("@").partition("/")
        if not project or not name or "/" in name:
            raise UsageError(
                f"{team!r} is no team of Azure DevOps", fix="write it as @project/team"
            )
        path = f"_apis/projects/{quote(project, safe='')}/teams/{quote(name, safe='')}/members"
        found = self._pages(path, {}, "vso.project: Project and team (read)", 100)
        people = [one for one in found if not part(one, "identity").get("isContainer")]
        return tuple(sorted(pick(one, str, "identity", "uniqueName") for one in people))

    def dispatch(self, workflow: str, ref: str, inputs: Mapping[str, str]) -> None:
        path = f"{quote(self.project, safe='')}/_apis/pipelines"
        body = {
            "resources": {"repositories": {"self": {"refName": _ref(ref)}}},
            "templateParameters": dict(inputs),
        }
        needs = "vso.build_execute: Build (read and execute), Queue builds"
        self.client.send("POST", f"{path}/{self._pipeline(workflow)}/runs", needs=needs, body=body)

    def _pipeline(self, name: str) -> int:
        """The pipeline of that name; of several, the one in the folder named as the repository."""
        path = f"{quote(self.project, safe='')}/_apis/pipelines"
        # This list's pages follow a token in a header; one page is more than a project has.
        answer = self.client.send(
            "GET", path, needs="vso.build: Build (read)", query={"$top": 10_000}
        )
        found = [one for one in objects(answer.data, "value") if one.get("name") == name]
        if len(found) > 1:
            folder = f"\\{self.repository}"
            found = [one for one in found if pick(one, str, "folder") == folder] or found
        if len(found) != 1:
            raise ToolError(
                f"the project {self.project!r} has {len(found) or 'no'} pipelines named {name!r}",
                fix=f"make one from .azure-pipelines/{name}.yml, name it {name!r}, and put it into"
                f" the folder {self.repository!r} if other repositories have one of that name",
            )
        return pick(found[0], int, "id")

    def comment(self, number: int, key: str, body: str) -> None:
        text = fit(f"{marker(key)}\n{body}", _COMMENT)
        self.client.settled(lambda: self._comment(number, key, text))

    def _comment(self, number: int, key: str, text: str) -> None:
        path = f"{self._git}/{number}/threads"
        for thread in self._list(path):
            first = _first(thread)
            if thread.get("isDeleted") or key_of(first.get("content")) != key:
                continue
            place = f"{path}/{pick(thread, int, 'id')}/comments/{pick(first, int, 'id')}"
            try:
                self.client.send("PATCH", place, needs=_CODE, body={"content": text})
            except Refused as error:
                if error.status != 403:  # somebody else's comment: only its author may edit it
                    raise
            else:
                return
        report = {"parentCommentId": 0, "content": text, "commentType": "text"}
        # Closed: a report isn't a question that must be resolved before the merge.
        thread = {"comments": [report], "status": "closed"}
        self.client.send("POST", path, needs=_CODE, body=thread)

    def keys(self, number: int) -> frozenset[str]:
        threads = self._list(f"{self._git}/{number}/threads")
        texts = (_first(one).get("content") for one in threads if not one.get("isDeleted"))
        return frozenset(filter(None, map(key_of, texts)))


def _ref(name: str) -> str:
    return name if name.startswith("refs/") else f"refs/heads/{name}"


def _email(login: str) -> str | None:
    return login if "@" in login and "\\" not in login else None


def _identity(value: object) -> str:
    """An id as both of Azure's spellings agree on it (with dashes and without)."""
    return str(value).replace("-", "").lower()


def _votes(threads: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, str]]:
    """The last vote by the voter's identity, with its time, from the log of a pull request."""
    found: dict[str, tuple[int, str]] = {}
    for thread in sorted(threads, key=lambda one: pick(one, int, "id")):
        if _property(thread, "CodeReviewThreadType") != "VoteUpdate":
            continue
        key = _property(thread, "CodeReviewVotedByIdentity")
        named = part(part(thread, "identities"), key).get("id")
        voter = _identity(named or _property(thread, "CodeReviewVotedByTfId"))
        first = _first(thread)
        author = part(first, "author")
        # Anyone may post a thread with these properties; nobody in another's name.
        if first.get("commentType") != "system" or (
            not author.get("isContainer") and _identity(author.get("id")) != voter
        ):
            continue
        try:
            result = int(_property(thread, "CodeReviewVoteResult"))
        except ValueError:
            continue
        found[voter] = (result, pick(thread, str, "publishedDate"))
    return found


def _property(thread: Mapping[str, Any], name: str) -> str:
    return str(part(part(thread, "properties"), name).get("$value", ""))


def _first(thread: Mapping[str, Any]) -> Mapping[str, Any]:
    comments = objects(thread, "comments") if thread.get("comments") else []
    return comments[0] if comments else {}
