"""Who answers a request: the assignment of units to variants."""

from __future__ import annotations

from hashlib import blake2b


def place(salt: str, key: str) -> float:
    """Where a unit lies between 0 and 100, the same for ever: uniform over keys.

    BLAKE2b of 8 bytes over the UTF-8 of salt, a zero byte, and key; read as a little-endian number,
    times 100 / 2**64.
    """
    digest = blake2b(f"{salt}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") * 100 / 2**64


def is_challengers(salt: str, key: str, share: float) -> bool:
    """Whether the challenger answers the unit; with a growing share, who is in stays in."""
    return place(salt, key) < share
