"""What forges have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class PullRequest:
    """An open pull request: its number, its page, and whether this call opened it."""

    number: int
    url: str
    created: bool


@dataclass(frozen=True)
class Review:
    """An approval that counts, of the bytes of `commit`.

    `login` is the forge's name of the reviewer, `email` an address that the forge vouches for,
    `state` the forge's word for the approval, `at` the forge's clock (RFC 3339).
    """

    login: str
    email: str | None
    state: str
    commit: str
    at: str


class Forge(Protocol):
    """Every operation raises ToolError: no token, no network, or the forge refused."""

    @property
    def name(self) -> str:
        """The product: `GitHub` or `Azure DevOps`."""

    def open_or_update(
        self, head_branch: str, base_branch: str, title: str, body: str
    ) -> PullRequest:
        """Open the pull request of these branches, or give the open one this title and body."""

    def reviews(self, commit: str, base_branch: str) -> tuple[Review, ...]:
        """Approvals of the pull requests, open or merged, of head `commit` into `base_branch`.

        The latest word of each reviewer, if that is an approval of this very commit which nobody
        has dismissed. Sorted by login.
        """

    def members(self, team: str) -> tuple[str, ...]:
        """Logins of a team: `org/team` on GitHub, `project/team` on Azure DevOps (`@` allowed)."""

    def dispatch(self, workflow: str, ref: str, inputs: Mapping[str, str]) -> None:
        """Start a workflow (`deploy`) on a branch, or on a full ref as `refs/tags/v1`."""

    def comment(self, number: int, key: str, body: str) -> None:
        """The pull request's one comment for `key`: written, or updated in place."""

    def keys(self, number: int) -> frozenset[str]:
        """The keys of all such comments that the pull request has."""


def fit(text: str, longest: int) -> str:
    """`text` within what a forge takes; what is cut off is cut at a line, and said."""
    if len(text) <= longest:
        return text
    note = "\n\n(cut: this forge takes no longer text)"
    kept = text[: longest - len(note)]
    return (kept.rpartition("\n")[0] or kept) + note


def marker(key: str) -> str:
    """The first line of the comment for `key`; Markdown shows nothing of it."""
    from urllib.parse import quote

    return f"<!-- gitops:{quote(key)} -->"


def key_of(text: object) -> str | None:
    """The key that a comment's text begins with; None: it isn't ours."""
    from urllib.parse import unquote

    first = text.lstrip().split("\n", 1)[0].strip() if isinstance(text, str) else ""
    key = unquote(first.removeprefix("<!-- gitops:").removesuffix(" -->"))
    return key if first == marker(key) else None
