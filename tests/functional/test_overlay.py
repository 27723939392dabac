"""Overlays: added with trust, pinned, vendored, merged on; and refused where they aren't safe."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pexpect
import pytest

from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional

SETTINGS = """\
version: 1
name: acme
description: House rules
answers: {team: platform}
overrides: [README.md]
files:
  - {path: ".github/workflows/**", owner: tool}
"""
README = "# @{ project }@ of @{ team }@\n\none\n\ntwo\n"
WORKFLOW = "name: scan\non: push\njobs: {}\n"


@pytest.fixture
def overlay(tmp_path: Path, git: Command) -> Path:
    """A git repository with an overlay, tagged v1."""
    folder = tmp_path / "overlay"
    (folder / "template" / ".github" / "workflows").mkdir(parents=True)
    (folder / "generator.yaml").write_text(SETTINGS)
    (folder / "template" / "README.md.j2").write_text(
        "# @{ project }@ of @{ team }@\n\none\n\ntwo\n"
    )
    (folder / "template" / ".github" / "workflows" / "scan.yml").write_text(WORKFLOW)
    git(folder, "init", "--quiet", "--initial-branch=main")
    save(folder, git)
    git(folder, "tag", "v1")
    return folder


def save(folder: Path, git: Command) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "save")


def test_an_overlay_is_added_with_trust_and_lives_on(
    repository: Repository, overlay: Path, gitops: Gitops, git: Command
) -> None:
    root = repository.root
    url = f"file://{overlay}"
    asked = gitops(root, "add", "generator", url, "--revision", "v1")
    assert asked.code == 2
    assert "--trust" in asked.err
    assert "README.md" in asked.out
    assert "may run later: .github/workflows/scan.yml" in asked.out
    assert git(root, "status", "--porcelain") == ""

    options = ["--revision", "v1", "--set", "team=risk"]
    added = gitops(root, "add", "generator", url, *options, "--trust")
    assert added.code == 0, added.err
    assert (root / "README.md").read_text().startswith("# churn of risk\n")
    assert (root / ".gitops/generators/acme/template/.github/workflows/scan.yml").is_file()
    save(root, git)
    assert gitops(root, "sync", "--check").code == 0
    again = gitops(root, "add", "generator", url, *options)
    assert (again.code, "nothing to do" in again.out) == (0, True)

    # The user edits the one line, the overlay the other: an upgrade brings both.
    readme = (root / "README.md").read_text()
    (root / "README.md").write_text(readme.replace("two", "two, and mine"))
    save(root, git)
    (overlay / "template" / "README.md.j2").write_text(
        "# @{ project }@ of @{ team }@\n\nONE\n\ntwo\n"
    )
    save(overlay, git)
    assert gitops(root, "sync", "--check").code == 0  # nothing is fetched unasked
    git(overlay, "tag", "--force", "v1")
    moved = gitops(root, "upgrade")
    assert moved.code == 1
    assert "tag v1" in moved.err and "has moved" in moved.err
    done = gitops(root, "upgrade", "--accept-moved-tags", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["commit"] == git(root, "rev-parse", "HEAD")
    assert "acme from file://" in git(root, "log", "-1", "--format=%B")
    assert (root / "README.md").read_text() == "# churn of risk\n\nONE\n\ntwo, and mine\n"
    assert git(root, "status", "--porcelain") == ""
    assert gitops(root, "sync", "--check").code == 0
    assert "nothing to do" in gitops(root, "upgrade").out


def test_a_conflict_of_an_upgrade_is_not_committed(
    repository: Repository, overlay: Path, gitops: Gitops, git: Command
) -> None:
    root = repository.root
    assert gitops(root, "add", "generator", str(overlay), "--revision", "main", "--trust").code == 0
    (root / "README.md").write_text("# mine\n\none\n\ntwo\n")
    save(root, git)
    before = git(root, "rev-parse", "HEAD")
    (overlay / "template" / "README.md.j2").write_text("# theirs\n\none\n\ntwo\n")
    save(overlay, git)
    done = gitops(root, "upgrade")
    assert done.code == 1
    assert "<<<<<<< yours" in (root / "README.md").read_text()
    assert git(root, "rev-parse", "HEAD") == before
    assert gitops(root, "sync", "--abort").code == 0
    assert git(root, "status", "--porcelain") == ""


def test_trust_is_asked_for_on_a_terminal(
    repository: Repository, overlay: Path, installed: Path, git_identity: dict[str, str]
) -> None:
    said = ["add", "generator", str(overlay)]
    for answer, code, there in (("n", 1, False), ("y", 0, True)):
        terminal = pexpect.spawn(
            str(installed / "gitops"), said, cwd=repository.root, env=git_identity, encoding="utf-8"
        )
        terminal.expect("Trust acme")
        terminal.sendline(answer)
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == code
        assert (repository.root / ".github/workflows/scan.yml").exists() is there


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("template/@{ up }@.j2", "x", "cannot be a path"),
        ("template/.git/hooks/pre-commit", "#!/bin/sh\n", "belongs to git"),
        ("template/a.txt.j2", "line\n@{ teem }@\n", "a.txt.j2:2: `teem` is undefined"),
        ("template/b.txt.j2", "@% if %@", "template syntax"),
        ("template/gitops.yaml.j2", "x", "both write gitops.yaml"),
    ],
)
def test_an_unsafe_or_broken_overlay_changes_nothing(
    repository: Repository,
    overlay: Path,
    gitops: Gitops,
    git: Command,
    path: str,
    text: str,
    says: str,
) -> None:
    settings = overlay / "generator.yaml"
    settings.write_text(SETTINGS.replace("team: platform", "team: platform, up: '..'"))
    (overlay / path).parent.mkdir(parents=True, exist_ok=True)
    (overlay / path).write_text(text)
    done = gitops(repository.root, "add", "generator", str(overlay), "--trust")
    assert done.code == 3
    assert says in done.err
    assert git(repository.root, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (SETTINGS + "hooks: {after: rm}\n", "unknown key 'hooks'"),
        (SETTINGS.replace("acme", "core"), "has the name of a generator of gitops"),
        (SETTINGS.replace("[README.md]", "README.md"), "`overrides` is 'README.md'"),
    ],
)
def test_wrong_settings_of_an_overlay_are_named(
    repository: Repository, overlay: Path, gitops: Gitops, settings: str, says: str
) -> None:
    (overlay / "generator.yaml").write_text(settings)
    done = gitops(repository.root, "add", "generator", str(overlay), "--trust")
    assert done.code == 3
    assert says in done.err


def test_links_and_places_that_are_none_are_refused(
    repository: Repository, overlay: Path, gitops: Gitops, git: Command
) -> None:
    root = repository.root
    (overlay / "template" / "link").symlink_to("/etc/hostname")
    save(overlay, git)
    for source, revision, code, says in (
        (str(overlay), "main", 3, "symlink"),
        (str(overlay), "v9", 2, "no revision 'v9'"),
        (f"{overlay}//nowhere", "v1", 3, "holds no generator.yaml"),
        (f"file://{overlay}-gone", None, 4, "overlay-gone"),
        ("https://me:secret@example.org/x.git", None, 2, "password"),
        ("nothing-there", None, 2, "no generator of gitops"),
    ):
        options = ["--revision", revision] if revision else []
        done = gitops(root, "add", "generator", source, *options, "--trust")
        assert done.code == code, (source, done.err)
        assert says in done.err
        assert "secret" not in done.err
    assert git(root, "status", "--porcelain") == ""


def test_a_tampered_copy_is_refused(
    repository: Repository, overlay: Path, gitops: Gitops, git: Command
) -> None:
    root = repository.root
    assert gitops(root, "add", "generator", str(overlay), "--trust").code == 0
    save(root, git)
    copy = root / ".gitops/generators/acme/template/README.md.j2"
    copy.write_text("# other\n")
    for arguments in (["sync"], ["sync", "--check"]):
        done = gitops(root, *arguments)
        assert done.code == 3
        assert "not as it was pinned" in done.err
    git(root, "checkout", "HEAD", "--", ".gitops/generators/acme")
    assert gitops(root, "sync", "--check").code == 0


def test_upgrade_needs_a_clean_tree_and_a_wheel_of_ours(
    repository: Repository, gitops: Gitops, tmp_path: Path
) -> None:
    (repository.root / "notes.txt").write_text("mine\n")
    done = gitops(repository.root, "upgrade")
    assert (done.code, "notes.txt" in done.err) == (1, True)
    other = tmp_path / "other-1.0-py3-none-any.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other.py", "")
    assert gitops(repository.root, "upgrade", "--to", str(other)).code == 2


def test_upgrade_by_a_wheel_moves_the_tool(
    repository: Repository, gitops: Gitops, git: Command, wheel: Path, tmp_path: Path
) -> None:
    newer = tmp_path / "gitops_ml-0.1.99-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(newer, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "gitops/__init__.py":
                data = data.replace(b'"0.1.0"', b'"0.1.99"')
            if name.endswith(".dist-info/METADATA"):
                data = data.replace(b"Version: 0.1.0", b"Version: 0.1.99")
            if name.endswith("/RECORD"):
                data = record(new)
            new.writestr(name.replace("-0.1.0.dist-info", "-0.1.99.dist-info"), data)
    done = gitops(repository.root, "upgrade", "--to", str(newer), timeout=600)
    assert done.code == 0, done.err
    assert "gitops 0.1.0 -> 0.1.99" in git(repository.root, "log", "-1", "--format=%B")
    names = sorted(path.name for path in (repository.root / ".gitops/tool").glob("*.whl"))
    assert names == ["gitops_ml-0.1.99-py3-none-any.whl"]
    older = gitops(repository.root, "sync", "--check")
    assert older.code == 3
    assert "newer than this one" in older.err


def record(archive: zipfile.ZipFile) -> bytes:
    """The RECORD of what is in a wheel so far."""
    from base64 import urlsafe_b64encode
    from hashlib import sha256

    lines = []
    for name in archive.namelist():
        data = archive.read(name)
        digest = urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}")
    return "\n".join([*lines, "gitops_ml-0.1.99.dist-info/RECORD,,", ""]).encode()


def test_what_is_left_after_eject_works_without_the_tool(
    repository: Repository, gitops: Gitops, git: Command, dvc: Command
) -> None:
    root = repository.root
    readme = root / "README.md"
    readme.write_text(readme.read_text().replace("# churn\n", "# churn\n\nMine.\n"))
    save(root, git)
    assert gitops(root, "eject").code == 2  # there is no terminal to ask on
    shown = gitops(root, "eject", "--dry-run", "--json")
    assert shown.code == 0
    assert git(root, "status", "--porcelain") == ""
    done = gitops(root, "eject", "--yes")
    assert done.code == 0, done.err
    assert not (root / ".gitops").exists()
    assert not (root / "gitops.yaml").exists()
    assert "Mine." in readme.read_text()
    assert "gitops build" not in readme.read_text()
    workflow = (root / ".github/workflows/pull-request.yml").read_text()
    assert "pytest" in workflow
    assert "gitops" not in workflow
    left = [line.split(":")[0] for line in json.loads(shown.out)["mentions"]]
    assert all("/gitops_package/" in path for path in left)
    assert "up to date" in dvc(root, "repro")
    assert gitops(root, "sync", "--check").code == 3
