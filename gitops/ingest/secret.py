"""The URL of a database, which holds a password: read from the environment, and never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from gitops.errors import ConfigError, ToolError

if TYPE_CHECKING:
    from sqlalchemy import URL

_SECRET_NAMES = re.compile("pass|pwd|secret|token|key|sig", re.IGNORECASE)
_LONG = 8  # characters: a shorter setting of another name is no secret
_PASSWORDS = re.compile(r"((?:password|pwd|token|secret)\s*[=:]\s*)[^\s;,&'\"]+", re.IGNORECASE)


@dataclass(frozen=True)
class Secret:
    """A database's URL; `place` is what may be shown of it."""

    url: URL = field(repr=False)
    place: str
    hidden: tuple[str, ...] = field(repr=False)

    def scrubbed(self, said: str) -> str:
        """What a driver said, on one line, without anything that lets in."""
        for secret in self.hidden:
            said = said.replace(secret, "***")
        return " ".join(_PASSWORDS.sub(r"\1***", said).split())


def read(variable: str, env: Mapping[str, str] = os.environ) -> Secret:
    """The URL that an environment variable holds.

    Raises:
        ConfigError: it isn't set, or holds no URL; its value is in no message.
        ToolError: SQLAlchemy isn't installed.
    """
    try:
        from sqlalchemy import make_url
    except ModuleNotFoundError as error:
        raise ToolError(
            f"a database as source needs {error.name}, which is not installed",
            fix="install gitops-ml[sql]",
        ) from error
    text = env.get(variable, "").strip()
    if not text:
        raise ConfigError(
            f"the environment variable {variable}, which holds the database's URL, isn't set",
            fix=f"export {variable}='postgresql://USER:PASSWORD@HOST/DATABASE'",
        )
    none = ConfigError(
        f"what the environment variable {variable} holds is no URL of a database",
        fix="write DIALECT://USER:PASSWORD@HOST:PORT/DATABASE, with signs in the password"
        " as in a web address (@ is %40)",
    )
    try:
        url = make_url(text)
    except Exception:  # whatever it is, its text has the URL in it
        raise none from None
    if url.get_backend_name() != "sqlite" and "@" in f"{url.host}{url.database}":
        raise none  # a password's @ as it is: what follows it would be shown as the host
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    return Secret(url, _place(url), _hidden(text, url))


def _place(url: URL) -> str:
    """Dialect, host, port and database: no user, no password, no settings."""
    host = f"[{url.host}]" if ":" in (url.host or "") else (url.host or "")
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{host}{port}/{url.database or ''}"


def _hidden(text: str, url: URL) -> tuple[str, ...]:
    """Every form of the secrets that a message may have, the longest first."""
    secrets = {str(url.password)} if url.password else set()
    for name, several in url.query.items():
        for value in (several,) if isinstance(several, str) else several:
            if _SECRET_NAMES.search(name) or len(value) >= _LONG:
                secrets |= {value, *re.findall(r"pwd=([^;]+)", value, re.IGNORECASE)}
    forms = {text, url.render_as_string(hide_password=False)}
    for one in secrets:
        forms |= {one, quote(one), quote(one, safe=""), quote_plus(one), repr(one)[1:-1]}
    return tuple(sorted(forms - {""}, key=len, reverse=True))
