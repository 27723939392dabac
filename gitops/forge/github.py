"""GitHub, github.com and Enterprise: https://docs.github.com/en/rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from gitops.errors import ToolError, UsageError
from gitops.forge.address import OnGitHub
from gitops.forge.client import Client, Refused, Token, moment, part, pick
from gitops.forge.model import PullRequest, Review, fit, key_of, marker

_TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
_BODY = 65_536  # characters of a description or a comment
_TITLE = 256
_RECENT_PAGES = 3  # of pull requests into a branch, the last touched first
_OURS = ("OWNER", "MEMBER", "COLLABORATOR")


def connect(place: OnGitHub, env: Mapping[str, str]) -> GitHub:
    """The forge at `place`, with the token of the environment."""
    token = next(
        (Token(name, env[name], f"Bearer {env[name]}") for name in _TOKENS if env.get(name)), None
    )
    headers = {
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
        "User-Agent": "gitops-ml",
    }
    client = Client("GitHub", place.api, token, _TOKENS, headers)
    return GitHub(client, place.owner, place.repository)


@dataclass(frozen=True)
class GitHub:
    """One repository on GitHub."""

    client: Client
    owner: str
    repository: str
    name: str = "GitHub"

    @property
    def path(self) -> str:
        """The repository's place in the API."""
        return f"repos/{quote(self.owner, safe='')}/{quote(self.repository, safe='')}"

    def open_or_update(
        self, head_branch: str, base_branch: str, title: str, body: str
    ) -> PullRequest:
        texts = {"title": title[:_TITLE], "body": fit(body, _BODY)}

        def settle() -> PullRequest:
            if found := self._open(head_branch, base_branch):
                return self._update(found, texts)
            try:
                answer = self.client.send(
                    "POST",
                    f"{self.path}/pulls",
                    needs="pull_requests=write",
                    body={"head": head_branch, "base": base_branch, **texts},
                )
            except Refused as error:
                # Somebody opened it between our two requests.
                if error.status == 422 and (found := self._open(head_branch, base_branch)):
                    return self._update(found, texts)
                raise
            return _pull_request(answer.data, created=True)

        return self.client.settled(settle)

    def _open(self, head: str, base: str) -> Mapping[str, Any] | None:
        query = {"state": "open", "head": f"{self.owner}:{head}", "base": base}
        found = self.client.pages(f"{self.path}/pulls", needs="pull_requests=read", query=query)
        ours = f"{self.owner}/{self.repository}".lower()
        for one in found:
            home = part(part(one, "head"), "repo")  # null: the fork is gone
            if (
                pick(one, str, "head", "ref") == head
                and pick(one, str, "base", "ref") == base
                and str(home.get("full_name")).lower() == ours
            ):
                return one
        return None

    def _update(self, found: object, texts: Mapping[str, str]) -> PullRequest:
        number = pick(found, int, "number")
        path = f"{self.path}/pulls/{number}"
        answer = self.client.send("PATCH", path, needs="pull_requests=write", body=texts)
        return _pull_request(answer.data, created=False)

    def reviews(self, commit: str, base_branch: str) -> tuple[Review, ...]:
        latest: dict[str, Review | None] = {}
        for number in self._numbers(commit, base_branch):
            path = f"{self.path}/pulls/{number}/reviews"
            said = self.client.pages(path, needs="pull_requests=read", query={})
            since = self._retargeted(number) if said else None
            for one in said:
                state, user = pick(one, str, "state"), part(one, "user")
                # A comment takes no approval back; a user of null has left GitHub.
                if state not in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED") or not user:
                    continue
                login, at = pick(user, str, "login"), pick(one, str, "submitted_at")
                counts = state == "APPROVED" and one.get("commit_id") == commit
                latest[login.lower()] = None
                if counts and (since is None or moment(at) > since):
                    latest[login.lower()] = Review(login, None, "approved", commit, at)
        return tuple(review for _, review in sorted(latest.items()) if review)

    def _numbers(self, commit: str, base: str) -> tuple[int, ...]:
        """Pull requests of head `commit` into `base` that are open or were merged, oldest first."""
        query = {"state": "all", "base": base, "sort": "updated", "direction": "desc"}
        found = self.client.pages(
            f"{self.path}/pulls", needs="pull_requests=read", query=query, most=_RECENT_PAGES
        )
        return tuple(
            sorted(
                pick(one, int, "number")
                for one in found
                if pick(one, str, "head", "sha") == commit
                and pick(one, str, "base", "ref") == base
                and (pick(one, str, "state") == "open" or one.get("merged_at"))
            )
        )

    def _retargeted(self, number: int) -> datetime | None:
        """When a pull request was last aimed at another branch; what was approved was not this."""
        path = f"{self.path}/issues/{number}/events"
        events = self.client.pages(path, needs="pull_requests=read", query={})
        changes = [one for one in events if one.get("event") == "base_ref_changed"]
        return max((moment(pick(one, str, "created_at")) for one in changes), default=None)

    def members(self, team: str) -> tuple[str, ...]:
        organization, _, slug = team.removeprefix("@").partition("/")
        if not organization or not slug or "/" in slug:
            raise UsageError(f"{team!r} is no team of GitHub", fix="write it as @organization/team")
        path = f"orgs/{quote(organization, safe='')}/teams/{quote(slug, safe='')}/members"
        found = self.client.pages(path, needs="members=read (of the organization)", query={})
        return tuple(sorted(pick(one, str, "login") for one in found))

    def dispatch(self, workflow: str, ref: str, inputs: Mapping[str, str]) -> None:
        path = f"{self.path}/actions/workflows/{quote(workflow, safe='')}.yml/dispatches"
        try:
            self.client.send(
                "POST", path, needs="actions=write", body={"ref": ref, "inputs": dict(inputs)}
            )
        except Refused as error:
            if error.status != 404:
                raise
            raise ToolError(
                error.message,
                fix=f".github/workflows/{workflow}.yml must be on the default branch, and the token"
                " needs the permission `actions=write`",
            ) from error

    def comment(self, number: int, key: str, body: str) -> None:
        text = fit(f"{marker(key)}\n{body}", _BODY)
        self.client.settled(lambda: self._comment(number, key, text))

    def _comment(self, number: int, key: str, text: str) -> None:
        for one in self._comments(number):
            if key_of(one.get("body")) == key:
                path = f"{self.path}/issues/comments/{pick(one, int, 'id')}"
                self.client.send("PATCH", path, needs="pull_requests=write", body={"body": text})
                return
        path = f"{self.path}/issues/{number}/comments"
        self.client.send("POST", path, needs="pull_requests=write", body={"body": text})

    def keys(self, number: int) -> frozenset[str]:
        return frozenset(filter(None, (key_of(one.get("body")) for one in self._comments(number))))

    def _comments(self, number: int) -> Iterator[dict[str, Any]]:
        """Anyone may write our marker into a comment of theirs, and edit it after us."""
        path = f"{self.path}/issues/{number}/comments"
        for one in self.client.pages(path, needs="pull_requests=read", query={}):
            bot = part(one, "user").get("type") == "Bot"
            if bot or one.get("author_association") in _OURS:
                yield one


def _pull_request(data: object, *, created: bool) -> PullRequest:
    return PullRequest(pick(data, int, "number"), pick(data, str, "html_url"), created)
