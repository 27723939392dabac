"""Names of tags: GTO reads ours, and we read GTO's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gto.tag import parse_name
from gto.versions import SemVer
from hypothesis import given
from hypothesis import strategies as st

from gitops.errors import UsageError
from gitops.promote import registry, tags, world
from gitops.version import Version
from tests.unit.promote.line import Line

NUMBERS = st.integers(0, 300)
VERSIONS = st.builds(
    Version, NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["", "rc.1", "rc.2", "rc.10", "alpha", "1"])
)


@given(VERSIONS)
def test_a_version_is_read_as_it_is_written(version: Version) -> None:
    assert Version.parse(str(version)) == version
    tag = tags.parse(tags.version_tag("late", version))
    assert tag is not None
    assert (tag.model, tag.action, tag.version, tag.counter) == ("late", "register", version, 0)


@given(VERSIONS, VERSIONS)
def test_versions_are_ordered_as_by_gto(one: Version, other: Version) -> None:
    assert (one < other) == (SemVer(str(one)) < SemVer(str(other)))


def test_the_order_of_the_specification() -> None:
    texts = [
        "1.0.0-1",
        "1.0.0-alpha",
        "1.0.0-rc.2",
        "1.0.0-rc.10",
        "1.0.0",
        "1.0.1",
        "1.1.0",
        "2.0.0",
    ]
    versions = [Version.parse(text) for text in texts]
    assert sorted(set(versions)) == versions


@pytest.mark.parametrize(
    "name",
    [
        *("late@v1.2.3", "late@v1.2.3!", "late@v1.2.3#4", "late@v1.2.3!#5", "late@deprecated"),
        *("late@deprecated#6", "late#production", "late#production#7", "late#production!#8"),
        *("models/a_b-c#staging#1", "dir=name@v0.0.1", "a@v1.0.0-rc.1", "a@v1.0.0+b.7"),
    ],
)
def test_every_form_is_read_as_gto_reads_it(name: str) -> None:
    theirs, ours = parse_name(name), tags.parse(name)
    assert ours is not None
    assert ours.action == theirs["action"].value
    assert ours.model == theirs["name"]
    assert (str(ours.version) if ours.version else None) == theirs.get("version")
    assert (ours.stage or None) == theirs.get("stage")
    assert (ours.counter or None) == theirs.get("counter")


@pytest.mark.parametrize(
    "name",
    [
        "v1.0.0",
        "late",
        "late@1.0.0",
        "late@v01.0.0",
        "late#",
        "-x@v1.0.0",
        "late#a#0",
        "a b@v1.0.0",
    ],
)
def test_other_tags_are_none(name: str) -> None:
    assert tags.parse(name) is None


@pytest.mark.parametrize("text", ["", "v1", "1.2", "v1.2.3.4", "latest", "v1.02.3"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no semantic version"):
        Version.parse(text)


def gto(root: Path, *words: str) -> str:
    program = shutil.which("gto", path=str(Path(sys.executable).parent))
    assert program
    done = subprocess.run(
        [program, *words], cwd=root, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_gto_reads_what_we_write(running: Line) -> None:
    shown = gto(running.root, "show", "demo", "--json")
    assert '"v1.0.0"' in shown
    assert '"staging"' in shown
    assert '"production"' in shown


def test_we_read_what_gto_writes(line: Line) -> None:
    """Its counters decide, whatever the clocks of the taggers say."""
    for words in (
        ("register", "demo", "--version", "v0.0.1"),
        ("assign", "demo", "--version", "v0.0.1", "--stage", "production"),
        ("register", "demo", "--version", "v0.0.2"),
        ("assign", "demo", "--version", "v0.0.2", "--stage", "production"),
        ("assign", "demo", "--version", "v0.0.2", "--stage", "old"),
        ("deprecate", "demo", "v0.0.2", "old"),
    ):
        line.repo.commit(" ".join(words))
        gto(line.root, *words)
    line.git("push", "-q", "origin", "--tags", "main")
    found = registry.read(world.read(line.root).refs)
    assert [str(one) for one in found.versions("demo")] == ["v0.0.2", "v0.0.1"]
    entry = found.assigned("demo", "production")
    assert entry is not None
    assert str(found.version_of(entry)) == "v0.0.2"
    assert found.assigned("demo", "old") is None
    numbers = [int(one.tag.counter) for one in found.entries["demo"]]
    assert found.next_counter("demo") == max(numbers) + 1
