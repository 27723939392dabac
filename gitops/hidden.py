"""What lets in somewhere, taken out of text on its way to people, logs and records.

Messages are made without secrets where we know of one. This is for what others say (programs,
stores, servers, tracebacks), who may repeat what they were given.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote

_NAMES = re.compile(
    r"(SECRET|TOKEN|KEY|KEY_ID|PASSWORD|PASSWD|_PAT|_PWD|_SAS|STRING|CREDENTIALS)$", re.IGNORECASE
)
_SHORT = 8  # characters: less is as likely a word of the text
# user:password@, or a token alone: of ssh://git@ the name is no secret.
_USERINFO = re.compile(
    r"(?:(?<=://)(?!USER:PASSWORD@)[^/\s:@'\"]*:|(?<=https://)|(?<=http://))([^/\s:@'\"]+)@"
)
_PARAMETERS = re.compile(
    r"((?:sig|AccountKey|SharedAccessKey|SharedAccessSignature|X-Amz-Signature|"
    r"X-Amz-Security-Token)=)[^&;\s'\"]+",
    re.IGNORECASE,
)


def masked(said: str, secrets: Sequence[str] = ()) -> str:
    """`said` without `secrets`, those of the environment, and credentials in URLs."""
    for secret in (*_forms(secrets), *_of(tuple(os.environ.items()))):
        if secret in said:
            said = said.replace(secret, "***")
    return _PARAMETERS.sub(r"\1***", bare(said))


def bare(text: str) -> str:
    """`text`, whose URLs have no user and password."""
    return _USERINFO.sub("", text)


@lru_cache(maxsize=1)
def _of(environment: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return _forms(list(_secrets(dict(environment))))


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if _NAMES.search(name):
            yield value
        # A database's URL stands in a variable of any name.
        yield from (unquote(password) for password in _USERINFO.findall(value))


def _forms(secrets: Sequence[str]) -> tuple[str, ...]:
    """Each as it is, as a web address has it, and as a header does; the longest first."""
    found: set[str] = set()
    for one in secrets:
        if len(one) >= _SHORT:
            found |= {one, quote(one), quote(one, safe=""), quote_plus(one)}
            found |= {base64.b64encode(f"{who}{one}".encode()).decode() for who in _USERS}
    return tuple(sorted(found, key=len, reverse=True))


_USERS = ("", ":", "x-access-token:")  # before a token in a header of basic authentication
