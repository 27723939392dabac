"""API keys: a file has their SHA-256, a request has the key itself."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

from gitops.errors import ConfigError, Where
from gitops.serve.http import Headers
from gitops.serve.refusal import Refusal

_HASH = re.compile(r"[0-9a-f]{64}")


class Keys:
    """The keys that are let in; without a file everybody is."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._hashes: tuple[bytes, ...] = ()
        self.needed = path is not None
        if path is not None:
            self.follow()

    def follow(self) -> None:
        """Read the file again if it has changed.

        Raises:
            ConfigError: it can't be read, a line is no hash, or there is none; the old keys stay.
        """
        if self._path is None:
            return
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp == self._stamp:
                return
            lines = self._path.read_text("utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            message = f"the API keys can't be read: {error}"
            raise ConfigError(
                message, fix="give a file of SHA-256 hashes", where=Where(self._path)
            ) from error
        found = []
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip().lower()
            if text and not _HASH.fullmatch(text):
                raise ConfigError(
                    "not a SHA-256 hash of 64 hexadecimal digits",
                    fix="write the key's hash, as `printf %s KEY | sha256sum` says it",
                    where=Where(self._path, number),
                )
            if text:
                found.append(bytes.fromhex(text))
        if not found:
            fix = "write one hash a line; without --api-keys everybody is let in"
            raise ConfigError("no API key is in the file", fix=fix, where=Where(self._path))
        self._stamp, self._hashes = stamp, tuple(found)

    def check(self, headers: Headers) -> None:
        """Raises Refusal, 401, unless the request has one of the keys."""
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        right = False
        for known in self._hashes:  # all of them, so that time tells nothing
            right |= hmac.compare_digest(digest, known)
        if scheme.lower() != b"bearer" or not right:
            fix = "send the header `authorization: Bearer KEY`"
            raise Refusal(401, "no valid key was sent", fix=fix)
