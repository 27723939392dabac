"""Who signed a tag, by git's own means and a file of allowed signers from the base.

SSH: https://man.openbsd.org/ssh-keygen#ALLOWED_SIGNERS. GPG: the keyring of this machine, where a
key must be trusted fully.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gitops.git import write
from gitops.promote.registry import Entry, Series

State = Literal["good", "unsigned", "bad"]
_NAME = re.compile(r"^tag (?P<name>.+)$", re.MULTILINE)
_SSH = re.compile(r'Good "git" signature for (?P<principal>\S+) with')
_GPG = re.compile(r"\[GNUPG:\] GOODSIG \S+ (?P<uid>.*)")
_TRUSTED = re.compile(r"\[GNUPG:\] TRUST_(FULLY|ULTIMATE)")


@dataclass(frozen=True)
class Signature:
    """`principals`: all names that the allowed-signers file has for the key."""

    state: State
    principals: tuple[str, ...]
    why: str = ""


def of(root: Path, one: Entry | Series, allowed: bytes | None) -> Signature:
    """The signature of a tag of the registry, as `check` tells it."""
    text = write.tag_texts(root, [one.object]).get(one.object, "")
    return check(root, one.tag.name, one.object, text, allowed)


def counts(root: Path, one: Entry | Series, allowed: bytes | None) -> bool:
    """Whether a tag may be relied on; without allowed signers any may."""
    return allowed is None or of(root, one, allowed).state == "good"


def check(root: Path, name: str, object: str, text: str, allowed: bytes | None) -> Signature:
    """The signature of the tag `name`: its object, and that one's raw text.

    A signed object says which tag it is: under any other name (an approval for another environment,
    an old assignment with a new number) it was put by somebody else, and counts for nothing.
    `allowed` None: there's no file, so that no SSH signature can be good.
    """
    if "-----BEGIN SSH SIGNATURE-----" not in text and "-----BEGIN PGP SIGNATURE-----" not in text:
        return Signature("unsigned", (), "it is not signed")
    own = _NAME.search(text.partition("\n\n")[0])
    if own is None or own["name"] != name:
        return Signature("bad", (), f"what was signed is the tag {own['name'] if own else '?'}")
    said, code = write.verified(root, object, allowed or b"")
    if code == 0 and (found := _SSH.search(said)):
        names = tuple(one.strip() for one in found["principal"].split(","))
        return Signature("good", names)
    if code == 0 and _TRUSTED.search(said) and (found := _GPG.search(said)):
        mail = re.search(r"<([^>]+)>", found["uid"])
        return Signature("good", (mail[1],) if mail else (found["uid"].strip(),))
    lines = [line for line in said.splitlines() if line and not line.startswith("[GNUPG:]")]
    return Signature("bad", (), lines[-1] if lines else "its key is in no list of allowed signers")
