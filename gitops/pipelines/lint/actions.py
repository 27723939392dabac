"""Rules about actions: a commit is what runs, and the tag beside it is for people."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gitops.pipelines.lint.model import Hit, Known, Pin, Source
from gitops.yamlfile import Place

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TAG = re.compile(r"v?\d+\.\d+\.\d+\S*")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def pins(source: Source) -> Iterator[Pin]:
    """Every action and reusable workflow of another repository."""
    for place, uses in _uses(source):
        name, _, ref = uses.partition("@")
        if uses.startswith(("./", "docker://")) or "/" not in name:
            continue
        where = source.document.where(place)
        rest = source.lines[(where.line or 1) - 1][(where.column or 1) - 1 :]
        comment = rest[rest.find(uses) + len(uses) :].strip("\"' ")
        yield Pin(name, ref, place, comment.removeprefix("#").strip())


def _uses(source: Source) -> Iterator[tuple[Place, str]]:
    for job in source.jobs if source.platform == "github" else ():
        for held, place in ((job.data, job.place), *((one.data, one.place) for one in job.steps)):
            if isinstance(held.get("uses"), str):
                yield (*place, "uses"), held["uses"]


def pin(source: Source, known: Known) -> Iterator[Hit]:
    for one in pins(source):
        if not _COMMIT.fullmatch(one.ref):
            message = f"{one.name} runs what {one.ref or 'its default branch'} points to today"
            there = known.pins.get(one.repository)
            fix = "write a full commit, and its tag as a comment"
            if there is not None:
                fix = f"write {one.name}@{there[1]}  # {there[0]}"
            yield Hit(one.place, message, fix)
    for place, uses in _uses(source):
        if uses.startswith("docker://") and not _DIGEST.search(uses):
            yield Hit(place, f"{uses} is whatever its tag points to today", "add @sha256:<digest>")


def pin_tag(source: Source, known: Known) -> Iterator[Hit]:
    for one in pins(source):
        if not _COMMIT.fullmatch(one.ref):
            continue
        said = one.comment.split()[0] if one.comment else ""
        table = known.pins.get(one.repository)
        tags = dict(known.tags(one.repository)) if known.tags is not None else {}
        if table is not None:
            tags = {table[0]: table[1], **tags}
        right = sorted((tag for tag, at in tags.items() if at == one.ref), key=len, reverse=True)
        fix = f"write # {right[0]}" if right else "write its exact tag, as # v1.2.3"
        if not _TAG.fullmatch(said):
            what = f"{said!r} is no exact tag" if said else "no tag is written beside the commit"
            yield Hit(one.place, f"{one.name}: {what}", fix)
        elif said in tags and tags[said] != one.ref:
            message = f"{one.name}: this commit isn't {said}, which is {tags[said]}"
            yield Hit(one.place, message, fix if right else f"write @{tags[said]}")
        elif right and said not in right:
            yield Hit(one.place, f"{one.name}: this commit is {right[0]}, not {said}", fix)
        elif known.tags is not None and said not in tags:
            yield Hit(one.place, f"{one.name} has no tag {said}", fix)
