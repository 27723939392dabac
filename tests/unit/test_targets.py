"""What targets of models need in the repository: rendered by gitops.yaml, kept by sync."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops import config, yamlfile
from gitops.errors import AnswerNo, ConfigError, UsageError
from gitops.scaffold import provision, sync, targets
from tests.unit.scaffolds import Scaffold, git, scaffold

HEAD = "version: 1\nproject: flights\nmodels:\n"
HUBS = "targets: {iotedge: {hubs: {staging: flights-staging, production: flights-live}}}\n"


def files(text: str) -> set[str]:
    declared = config.parse((HEAD + text).encode(), Path("gitops.yaml"))
    return {str(one.path) for one in targets.rendered(declared)}


def changed(root: Path) -> set[str]:
    told = git(root, "status", "--porcelain", "--untracked-files=all", "-z")
    return {one[3:] for one in told.split("\0") if one}


def commit(made: Scaffold) -> None:
    git(made.root, "add", "--all")
    git(made.root, "commit", "--quiet", "--message", "more")


@pytest.fixture
def made(tmp_path: Path) -> Scaffold:
    return scaffold(tmp_path, {"a.txt": b"a\n"})


def test_machines_of_ones_own_need_no_files() -> None:
    assert files("  late: {task: binary}\n") == set()


def test_any_other_target_needs_the_image() -> None:
    text = "  late: {task: binary, deploy: {target: iotedge}}\n"
    assert "deploy/Containerfile" in files(text + HUBS)


def test_files_are_the_users() -> None:
    text = HEAD + "  late: {task: binary, deploy: {target: kubernetes}}\n"
    found = list(targets.rendered(config.parse(text.encode(), Path("gitops.yaml"))))
    assert found
    assert {one.owner for one in found} == {"user"}
    assert [one.path for one in found] == sorted({one.path for one in found})


def test_adding_a_target_changes_only_what_it_needs_and_then_nothing(made: Scaffold) -> None:
    (name,) = config.load(made.root).models
    done = provision.target(made.root, "kubernetes", None)
    assert done.files[0] == "gitops.yaml"
    assert config.load(made.root).models[name].deploy.target == "kubernetes"
    here = changed(made.root)
    assert {"gitops.yaml", ".gitops/lock.yaml", "deploy/Containerfile"} <= here
    assert all(one.startswith(("deploy/", "gitops.yaml", ".gitops/lock")) for one in here)
    commit(made)
    assert provision.target(made.root, "kubernetes", name).files == ()
    assert not sync.survey(made.root).changes
    assert changed(made.root) == set()


def test_an_edit_by_hand_and_sync_come_to_the_same_and_the_way_back_leaves_nothing(
    made: Scaffold,
) -> None:
    (name,) = config.load(made.root).models
    place = ("models", name, "deploy", "target")
    yamlfile.edit(made.root / config.FILE, {place: "kubernetes"})
    sync.sync(made.root)
    by_hand = changed(made.root)
    assert "deploy/Containerfile" in by_hand
    commit(made)
    provision.target(made.root, "local", None)
    assert not (made.root / "deploy").exists()


def test_what_the_user_changed_in_them_is_kept(made: Scaffold) -> None:
    provision.target(made.root, "kubernetes", None)
    file = made.root / "deploy" / "Containerfile"
    mine = file.read_text().replace("EXPOSE 8080", "EXPOSE 8080 9090")
    file.write_text(mine)
    with (made.root / config.FILE).open("a") as declared:
        declared.write(HUBS)
    commit(made)
    provision.target(made.root, "iotedge", None)
    assert file.read_text() == mine


def test_a_target_or_model_that_isnt_there_is_refused(made: Scaffold) -> None:
    before = (made.root / config.FILE).read_bytes()
    with pytest.raises(ConfigError, match="target"):
        provision.target(made.root, "mainframe", None)
    with pytest.raises(UsageError, match="no model"):
        provision.target(made.root, "kubernetes", "nobody")
    (made.root / ".gitops" / "lock.yaml").unlink()
    with pytest.raises((AnswerNo, ConfigError)):
        provision.target(made.root, "kubernetes", None)
    assert (made.root / config.FILE).read_bytes() == before
