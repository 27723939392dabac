"""HTTP to a forge: one token, bounded patience, and errors that say what is missing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from gitops import loopback
from gitops.errors import ConfigError, ToolError

T = TypeVar("T")

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
PATIENCE_SECONDS = 60.0  # all waits of one request together; GitHub asks for up to a minute
TRIES = 4
PAGE = 100  # the most that either forge gives at once

_OVERLOADED = (502, 503, 504)


@dataclass(frozen=True)
class Token:
    """A secret and the variable that held it. `header`: the value of Authorization."""

    variable: str
    secret: str = field(repr=False)
    header: str = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """A status that was asked for, the JSON document (None: no content), and if more follows."""

    status: int
    data: Any
    more: bool


class Refused(ToolError):
    """The forge answered no. `status` is that of HTTP."""

    def __init__(self, message: str, *, fix: str, status: int) -> None:
        super().__init__(message, fix=fix)
        self.status = status


class Unavailable(Refused):
    """The forge has it, but not for this repository: its plan doesn't include it."""


class Unsure(ToolError):
    """A request that must not be sent twice broke off: it may have been carried out."""


@dataclass(frozen=True)
class Client:
    """A forge's REST API.

    `variables` are the environment variables that a token is taken from, `always` goes into every
    query that doesn't say otherwise, `unsigned` are statuses by which the forge says that it took
    no notice of the token.
    """

    forge: str
    base: str
    token: Token | None
    variables: tuple[str, ...]
    headers: Mapping[str, str]
    always: Mapping[str, str] = field(default_factory=dict)
    unsigned: tuple[int, ...] = (401,)
    pause: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        url = urlsplit(self.base)
        if url.scheme != "https" and url.hostname not in loopback.HOSTS:
            raise ConfigError(
                f"the API of {self.forge} at {url.scheme}://{url.hostname} is not encrypted: the"
                " token would be sent for everybody to read",
                fix="set its address (GITHUB_API_URL, SYSTEM_COLLECTIONURI) to one with https://",
            )

    def send(
        self,
        method: str,
        path: str,
        *,
        needs: str,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send one request, again where that is safe and the forge is overloaded.

        `needs` names the token's permission for it.

        Raises:
            Refused: the forge answered no.
            Unsure: a POST broke off.
            ToolError: there's no token, or the forge can't be reached.
        """
        waited = 0.0
        for tried in itertools.count(1):
            error: ToolError
            wait: float | None
            try:
                response = self._once(method, path, {**self.always, **(query or {})}, body)
            except requests.exceptions.RequestException as cause:
                error, wait = self._broken(method, path, cause), 2.0 ** (tried - 1)
                if isinstance(cause, requests.exceptions.SSLError):
                    raise error from cause
            else:
                if 200 <= response.status_code < 300 and response.status_code not in self.unsigned:
                    return self._answer(method, path, response)
                error = self._refused(method, path, response, needs)
                wait = _wait(response, tried)
            if isinstance(error, Unsure) or wait is None:
                raise error
            waited += wait
            if tried == TRIES or waited > PATIENCE_SECONDS:
                raise error
            self.pause(wait)
        raise AssertionError("unreachable")

    def pages(
        self, path: str, *, needs: str, query: Mapping[str, str | int], most: int = 100
    ) -> list[dict[str, Any]]:
        """All items of a list that comes in pages of GitHub's kind (`most`: pages read)."""
        found: list[dict[str, Any]] = []
        for page in range(1, most + 1):
            asked = {**query, "per_page": PAGE, "page": page}
            answer = self.send("GET", path, needs=needs, query=asked)
            found += objects(answer.data)
            if not answer.more:
                break
        return found

    def settled(self, action: Callable[[], T]) -> T:
        """Run an action that first looks whether it is done already; again if it broke off."""
        for tried in range(TRIES - 2):
            try:
                return action()
            except Unsure:
                self.pause(2.0**tried)
        return action()

    def _once(
        self, method: str, path: str, query: Mapping[str, str | int], body: Mapping[str, Any] | None
    ) -> requests.Response:
        token = self.token
        if token is None:
            raise ToolError(
                f"{self.forge} needs a token: {' and '.join(self.variables)} are not set",
                fix=f"export {self.variables[0]}=... (permissions: docs/guides/forges.md)",
            )

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = token.header
            return request

        # As `auth`, for a plain header would give way to an entry in ~/.netrc. Redirects are not
        # followed: they turn a POST into a GET, and may lead to another host.
        return requests.request(
            method,
            f"{self.base}/{path}",
            params=dict(query),
            json=body,
            headers=dict(self.headers),
            auth=sign,
            timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
            allow_redirects=False,
        )

    def _answer(self, method: str, path: str, response: requests.Response) -> Answer:
        if not response.content:
            return Answer(response.status_code, None, False)
        try:
            data = response.json()
        except (ValueError, RecursionError) as error:
            raise ToolError(
                f"{method} /{path}: {self.forge} answered {response.status_code}, but no JSON",
                fix="is something else (a proxy, a sign-in page) answering in its place?",
            ) from error
        return Answer(response.status_code, data, "next" in response.links)

    def _refused(
        self, method: str, path: str, response: requests.Response, needs: str
    ) -> ToolError:
        status = response.status_code
        said = self._clean(_said(response))
        message = f"{method} /{path}: {self.forge} answered {status}{f': {said}' if said else ''}"
        if method == "POST" and status in _OVERLOADED:
            return Unsure(message, fix="it may have been carried out: look before trying again")
        return Refused(message, fix=self._fix(response, needs), status=status)

    def _fix(self, response: requests.Response, needs: str) -> str:
        status = response.status_code
        variable = self.token.variable if self.token else self.variables[0]
        # GitHub says itself what would have been enough.
        needs = response.headers.get("X-Accepted-GitHub-Permissions") or needs
        if status in self.unsigned:
            return f"the token in {variable} is unknown or has expired: make a new one"
        if status == 429 or "Retry-After" in response.headers:
            return "the forge asks to slow down: try again later"
        if "not permitted to create or approve pull requests" in _said(response):
            return "allow it: Settings, Actions, General, Workflow permissions of the repository"
        if status == 403:
            return f"give the token in {variable} the permission `{needs}`"
        if status == 404:
            return f"is it there, and may the token in {variable} see it (`{needs}`)?"
        if 300 <= status < 400:
            return "it has moved: git remote set-url origin NEW-URL"
        return "try again later" if status >= 500 else "change what the forge names"

    def _broken(self, method: str, path: str, cause: Exception) -> ToolError:
        failures = requests.exceptions
        place = f"{method} /{path}: {self.forge} at {urlsplit(self.base).netloc}"
        if isinstance(cause, failures.SSLError):
            return ToolError(
                f"{place} shows a TLS certificate that isn't trusted",
                fix="name your organization's certificates: export REQUESTS_CA_BUNDLE=FILE",
            )
        if isinstance(cause, failures.ProxyError):
            text, fix = f"{place}: the proxy refused or can't be reached", "look at HTTPS_PROXY"
        elif isinstance(cause, failures.ConnectTimeout):
            text, fix = f"{place} can't be reached within {CONNECT_SECONDS:g} seconds", ""
        elif isinstance(cause, failures.Timeout):
            text, fix = f"{place} gave no answer within {ANSWER_SECONDS:g} seconds", ""
        else:
            text, fix = f"{place} can't be reached, or broke off", ""
        unsent = isinstance(cause, failures.ConnectTimeout)
        kind = Unsure if method == "POST" and not unsent else ToolError
        return kind(text, fix=fix or "is there a network, and is the address right?")

    def _clean(self, text: str) -> str:
        """What the forge said, without the token should it be in there, on one short line."""
        if self.token:
            text = text.replace(self.token.header, "***").replace(self.token.secret, "***")
        line = " ".join(text.split())
        return line if len(line) <= 500 else f"{line[:497]}..."


def _said(response: requests.Response) -> str:
    """The forge's message, with what it says of single fields."""
    try:
        data = response.json()
    except (ValueError, RecursionError):
        return ""
    if not isinstance(data, dict):
        return ""
    said = [str(data.get("message", ""))]
    for one in data.get("errors") or ():
        said.append(str(one.get("message") or one) if isinstance(one, dict) else str(one))
    return "; ".join(part for part in said if part)


def _wait(response: requests.Response, tried: int) -> float | None:
    """Seconds until the same request may be sent again; None: it would be answered the same."""
    status, headers = response.status_code, response.headers
    spent = headers.get("X-RateLimit-Remaining") == "0"
    limited = status == 429 or (
        status == 403
        and (spent or "Retry-After" in headers or "secondary rate limit" in _said(response).lower())
    )
    if not limited and status not in _OVERLOADED:
        return None
    if "Retry-After" in headers:
        return _seconds(headers["Retry-After"], headers.get("Date", ""))
    if spent:
        return _seconds(f"@{headers.get('X-RateLimit-Reset', '')}", headers.get("Date", ""))
    # Without a word on how long, GitHub's secondary limits ask for a minute.
    return PATIENCE_SECONDS if limited and status == 403 else 2.0 ** (tried - 1)


def _seconds(until: str, now: str) -> float:
    """`until` (seconds, an HTTP date, `@` and a Unix time) after `now`, by the forge's clock."""
    try:
        if until.isdecimal():
            return float(until)
        then = float(until[1:]) if until[:1] == "@" else parsedate_to_datetime(until).timestamp()
        return max(0.0, then - parsedate_to_datetime(now).timestamp())
    except (ValueError, TypeError):
        return PATIENCE_SECONDS


def pick(data: object, kind: type[T], *keys: str) -> T:
    """The value of an answer at `keys`.

    Raises:
        ToolError: it's missing, or of another kind.
    """
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise ToolError(
            f"the forge's answer has no {kind.__name__} at {'.'.join(keys) or 'its top'}",
            fix="is something else (a proxy) answering in its place?",
        )
    return data


def objects(data: object, *keys: str) -> list[dict[str, Any]]:
    """The list of objects at `keys` of an answer; ToolError as for `pick`."""
    return [pick(one, dict) for one in pick(data, list, *keys)]


def part(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object within an answer that may be missing or null."""
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def moment(text: str) -> datetime:
    """A time of an answer: RFC 3339, of which Azure writes seven digits of a second.

    Raises:
        ToolError: it's something else.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ToolError(f"the forge gave {text[:50]!r} where a time belongs") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
