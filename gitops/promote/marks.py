"""Holds and approvals: tags whose message says who, why, and about what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitops import git
from gitops.config import Environment
from gitops.errors import AnswerNo, ConfigError
from gitops.git import program, write
from gitops.git import remote as gitremote
from gitops.git.remote import Update
from gitops.promote import signatures, statement
from gitops.promote.world import SIGNERS, World


@dataclass(frozen=True)
class Mark:
    """What a hold, its release or an approval says."""

    name: str
    kind: str
    who: str
    why: str
    at: str
    tree: str = ""


def hold(world: World, environment: str, allowed: bytes | None) -> Mark | None:
    """The hold that is in force; None if there's none, or it was released.

    A hold tag that can't be read is one. Where the base has allowed signers, only one of them
    releases: tags that nobody of them signed lift nothing.
    """
    for series in world.registry.series("hold", environment):
        text = write.tag_texts(world.root, [series.object]).get(series.object, "")
        mark = _mark(series.tag.name, text)
        if mark is None or mark.kind not in ("hold", "release"):
            return Mark(series.tag.name, "hold", "unknown", "its tag can't be read", "unknown")
        if mark.kind == "hold":
            return mark
        if signatures.counts(world.root, series, allowed):
            return None
    return None


def approvals(
    world: World,
    environment: Environment,
    at: git.Snapshot,
    allowed: bytes | None,
    promoter: str,
) -> tuple[list[str], list[str]]:
    """Who approved this tree by a signed tag, and why other tags about it don't count.

    An approver is a principal of the base's allowed signers whom the environment names, and not
    the promoter.
    """
    found, faults = [], []
    for series in world.registry.series("approval", environment.name):
        if series.commit != at.commit:
            continue
        text = write.tag_texts(world.root, [series.object]).get(series.object, "")
        mark = _mark(series.tag.name, text)
        name = series.tag.name
        if mark is None or mark.kind != "approval" or mark.tree != at.tree:
            faults.append(f"{name} doesn't approve this tree")
            continue
        signed = signatures.of(world.root, series, allowed)
        known = [one for one in signed.principals if one in environment.approvers]
        if signed.state != "good":
            reason = f"there's no {SIGNERS} at the base" if allowed is None else signed.why
            faults.append(f"{name} doesn't count: {reason}")
        elif _mail(promoter) in [one.lower() for one in signed.principals]:
            faults.append(f"{name} doesn't count: {signed.principals[0]} is the promoter")
        elif not known:
            faults.append(f"{name} doesn't count: {signed.principals[0]} may not approve")
        else:
            found.append(known[0])
    return list(dict.fromkeys(found)), faults


def approve(
    world: World, at: git.Snapshot, environment: Environment, base: git.Snapshot, why: str
) -> str:
    """Approve a commit for an environment by a signed tag; the tag's name.

    Raises:
        ConfigError: git has no key to sign with, or nobody could tell whose key it is.
        AnswerNo: it's the key of nobody who may; or as `remote.push`.
        ToolError: as `remote.push`.
    """
    if world.signers(base) is None:
        raise ConfigError(
            f"{environment.branch} has no {SIGNERS}: nobody could tell whose approval this is",
            fix=f"merge a {SIGNERS} with a line `you@example.org ssh-ed25519 AAAA...` per approver",
        )
    require_signing(world, b"", "an approval")
    document = statement.mark("approval", environment.name, world.root, why, tree=at.tree)
    update = next_mark(world, "approval", environment.name, at.commit, document)
    signer = require_counting(world, [update], world.signers(base))
    if not set(signer) & set(environment.approvers):
        raise AnswerNo(
            f"{', '.join(signer)} may not approve for {environment.name}",
            fix=f"its `approvers` are: {', '.join(environment.approvers) or 'none'}",
        )
    return put(world, update)


def put(world: World, update: Update) -> str:
    """Push a tag of its own, and keep it here; its name. Raises as `remote.push`."""
    gitremote.push(world.root, world.refs, [update])
    write.keep_tags(world.root, {update.name: update.new})
    return update.name


def next_mark(
    world: World, kind: str, environment: str, target: str, document: Mapping[str, Any]
) -> Update:
    """A new tag of a series (`hold` or `approval`), as an update to push."""
    program.require_identity(world.root)
    name = world.registry.next_mark(kind, environment)
    subject = f"{document['kind']} {environment}: {document['why']}"
    text = statement.message(subject.splitlines()[0][:200], document)
    sign = write.signs(world.root)
    made = write.tag(world.root, name, target, text, sign=sign)
    return Update(f"refs/tags/{name}", None, made)


def require_signing(world: World, allowed: bytes | None, what: str) -> None:
    """Raise ConfigError where signatures are required and git isn't set up to sign."""
    if allowed is not None and not write.signs(world.root):
        raise ConfigError(
            f"{what} must be signed, and git has no key to sign with ({SIGNERS} is there)",
            fix="git config gpg.format ssh && git config user.signingKey ~/.ssh/id_ed25519.pub",
        )


def require_counting(
    world: World, updates: Sequence[Update], allowed: bytes | None
) -> tuple[str, ...]:
    """Whose key has signed the tags that are about to be pushed.

    Raises:
        ConfigError: it is in no list of the `allowed` signers, so that the tags would not count.
    """
    found: dict[str, None] = {}
    for one in updates if allowed is not None else ():
        name = one.name
        text = write.tag_texts(world.root, [one.new]).get(one.new, "")
        signed = signatures.check(world.root, name, one.new, text, allowed)
        if signed.state != "good":
            raise ConfigError(
                f"the tag {name} would not count, so nothing was pushed: {signed.why}",
                fix=f"sign with a key of {SIGNERS} (git config user.signingKey), or have yours"
                " merged into it",
            )
        found |= dict.fromkeys(signed.principals)
    return tuple(found)


def _mark(name: str, text: str) -> Mark | None:
    found = statement.parse(text)
    if found is None or found.get("version") != 1:
        return None
    parts = [str(found.get(key, "")) for key in ("kind", "who", "why", "at", "tree")]
    return Mark(name, *parts)


def _mail(who: str) -> str:
    found = re.search(r"<([^>]+)>", who)
    return (found[1] if found else who).lower()
