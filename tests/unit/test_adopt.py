"""Adopting a repository: what is written, what is kept, what is refused, and being killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from gitops import config, doctor, git, pipelines
from gitops.errors import AnswerNo, ConfigError, ToolError, UsageError
from gitops.scaffold import adopt, desired, usable, vendor
from gitops.scaffold import lock as locks
from gitops.scaffold.reconcile import reconcile
from gitops.scaffold.render import tool_file
from tests.unit.scaffolds import contents

TRAIN = "from sklearn.svm import SVC\nSVC().fit(1, 2)\n"
BY_HAND = "on: push\njobs: {}\n"
GITOPS_YAML = "version: 1\nproject: mine\nmodels: {late: {task: regression}}\n"
# Where neither infrastructure nor a source of a table is declared.
WORKFLOWS = tuple(name for name in pipelines.names() if name not in ("infrastructure", "ingest"))


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "gitconfig"
    file.write_text("[user]\n\tname = Test\n\temail = test@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    packed = [tool_file(".gitops/tool/gitops_ml-0.whl", b"wheel")]
    monkeypatch.setattr(vendor, "vendored", lambda: packed)  # packing takes a second


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "acme"
    folder.mkdir()
    git.init(folder, "main")
    put(folder, {"train.py": TRAIN, "README.md": "ours\n"})
    git.commit(folder, "Start")
    return folder


def put(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def adopted(root: Path, **given: object) -> adopt.Adoption:
    """Adopt; nothing that was there has changed, and what was told was written."""
    before = contents(root)
    done = adopt.propose(root, given)
    assert contents(root) == before
    adopt.write(done)
    after = contents(root)
    assert {path: after[path] for path in before} == before
    assert sorted(after.keys() - before.keys()) == sorted(done.files)
    return done


def drift(root: Path) -> list[str]:
    """What `gitops sync` would do here."""
    before = locks.read(root / locks.PATH)
    wanted = desired.desired(root, before, config.load(root))
    plan = reconcile(root, wanted, before).plan
    return [
        f"{entry.state} {entry.file.path}" for entry in plan.entries if entry.state != "unchanged"
    ]


# ---------------------------------------------------------------- what is written


def test_new_files_only_and_nothing_to_sync(root: Path) -> None:
    done = adopted(root)
    assert set(done.files) == {
        *("gitops.yaml", ".dvc/config", ".dvc/.gitignore", ".dvcignore"),
        *(".gitops/.gitattributes", ".gitops/.gitignore", ".gitops/gitops.schema.json"),
        *(".gitops/lock.yaml", ".gitops/tool/gitops_ml-0.whl"),
    }
    assert dict(done.kept) == {"README.md": "yours; not generated here"}
    left = dict(done.left_out)
    assert set(left) == {f".github/workflows/{name}.yml" for name in WORKFLOWS}
    assert all("uv.lock, build.env, tests, dvc.yaml, dvc.lock" in why for why in left.values())
    declared = config.load(root)
    assert declared.models["acme"].task == "binary"
    assert drift(root) == []
    assert adopt.adopted(root)


def test_guesses_say_so_beside_the_value(root: Path) -> None:
    adopted(root)
    text = (root / "gitops.yaml").read_text()
    assert "    task: binary  # guessed (train.py: SVC): check\n" in text
    assert "ci: [github]  # guessed (no pipelines are there): check\n" in text
    assert "no such branch yet: check its name, or git branch release/staging" in text


def test_a_workflow_by_hand_stays_and_the_lock_knows(root: Path) -> None:
    path = ".github/workflows/pull-request.yml"
    put(root, {path: BY_HAND})
    done = adopted(root)
    assert path in dict(done.kept)
    assert path not in dict(done.left_out)
    assert locks.read(root / locks.PATH).files[PurePosixPath(path)].kept
    assert drift(root) == []
    said = [one for one in doctor.examine(root) if one.check == "workflows"]
    assert f"git mv {path} .github/workflows/own-pull-request.yml" in said[0].fix


def test_the_workflow_comes_once_it_would_work_and_then_stays(root: Path) -> None:
    adopted(root)
    needed = ("uv.lock", "build.env", "tests/test_a.py", "dvc.yaml", "dvc.lock")
    put(root, dict.fromkeys(needed, ""))
    assert usable.lacks(root, config.load(root)) == ()
    paths = [f".github/workflows/{name}.yml" for name in sorted(WORKFLOWS)]
    path = paths[0]
    assert drift(root) == [*(f"create {one}" for one in paths), "update .gitops/lock.yaml"]
    before = locks.read(root / locks.PATH)
    (root / "uv.lock").unlink()
    wanted = desired.desired(root, before, config.load(root))
    known = {**before.files, PurePosixPath(path): locks.FileLock("tool", "gitops", "0" * 40)}
    later = desired.desired(root, replace(before, files=known), config.load(root))
    assert PurePosixPath(path) not in wanted.lock.files
    assert PurePosixPath(path) in later.lock.files


def test_the_gitops_yaml_that_is_there_holds(root: Path) -> None:
    put(root, {"gitops.yaml": GITOPS_YAML})
    done = adopted(root)
    assert "gitops.yaml" in dict(done.kept)
    assert done.declared.project == "mine"
    assert drift(root) == []
    with pytest.raises(UsageError, match="ci would change nothing"):
        adopt.propose(root, {"ci": "azure"})


def test_a_broken_gitops_yaml_is_named_with_its_line(root: Path) -> None:
    put(root, {"gitops.yaml": GITOPS_YAML.replace("regression", "regresion")})
    with pytest.raises(ConfigError) as caught:
        adopt.propose(root, {})
    assert caught.value.where is not None and caught.value.where.line == 3
    assert not (root / ".gitops").exists()


def test_dvc_that_is_set_up_stays(root: Path) -> None:
    put(root, {".dvc/config": "", "dvc.yaml": "stages: {}\n"})
    done = adopted(root)
    assert not any(path.startswith(".dvc") for path in done.files)
    assert drift(root) == []


def test_answers_override_what_was_found(root: Path) -> None:
    git.create_branches(root, ["qa"])
    adopted(
        root,
        name="flights",
        ci="azure",
        models="churn,price",
        storage="s3://bucket/x",
        **{
            "churn.task": "multiclass",
            "price": {"task": "regression", "path": "price"},
            "branch.staging": "qa",
        },
    )
    declared = config.load(root)
    assert (declared.project, declared.ci) == ("flights", ("azure",))
    assert declared.storage.remote == "s3://bucket/x"
    assert declared.environment("staging").branch == "qa"
    text = (root / "gitops.yaml").read_text()
    assert "no such branch yet: check its name, or git branch qa" not in text
    assert {name: (one.task, one.path) for name, one in declared.models.items()} == {
        "churn": ("multiclass", "."),
        "price": ("regression", "price"),
    }
    assert drift(root) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"acme.taks": "binary"}, "did you mean 'acme.task'?"),
        ({"positive": "yes"}, "one of: name"),
        ({"models": "a,b", "task": "binary"}, "say of which model: a.task, b.task"),
        ({"task": "binry"}, "did you mean binary?"),
        ({"models": "A b"}, "call it 'a-b'"),
        ({"models": ""}, "call it 'project'"),
        ({"ci": "jenkins"}, "github, azure"),
        ({"name": "a/b"}, "call it 'a-b'"),
        ({"storage": "ftp://x"}, "write a folder"),
        ({"acme.path": "../x"}, "lies inside the repository"),
        ({"branch.staging": "main"}, "give each a branch of its own"),
    ],
)
def test_answers_that_cannot_be(root: Path, given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        adopt.propose(root, given)
    assert said in str(caught.value)


# ---------------------------------------------------------------- what is in the way


def test_names_that_differ_by_case_are_kept(root: Path) -> None:
    put(root, {"Readme.md": "", ".DVCIGNORE": "x"})
    done = adopted(root)
    assert ".DVCIGNORE is there" in dict(done.kept)[".dvcignore"]
    assert drift(root) == []


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({".gitops": ""}, ".gitops is no folder"),
        ({"gitops.yaml/x": ""}, "gitops.yaml: it is a folder"),
        ({"Gitops.yaml": ""}, "Gitops.yaml is there, one file where case is ignored"),
        ({".GITOPS/x": ""}, ".GITOPS is there"),
        ({"link": "gitops.yaml"}, "gitops.yaml: it is a symlink that leads nowhere"),
        ({".dvcignore/x": ""}, ".dvcignore: it is a folder"),
    ],
)
def test_what_is_in_the_way_is_named(root: Path, files: dict[str, str], named: str) -> None:
    put(root, files)
    if "link" in files:
        (root / "gitops.yaml").symlink_to("nowhere")
    before = contents(root)
    with pytest.raises((AnswerNo, ConfigError)) as caught:
        adopt.propose(root, {})
    assert named in caught.value.message
    assert contents(root) == before


def test_links_out_of_the_repository_are_refused_and_inside_followed(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / ".gitops").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="leads outside"):
        adopt.propose(root, {})
    (root / ".gitops").unlink()
    (root / "inner").mkdir()
    (root / ".gitops").symlink_to("inner")
    adopt.write(adopt.propose(root, {}))
    assert (root / "inner" / "lock.yaml").is_file()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_git_ignores_is_told(root: Path) -> None:
    put(root, {".gitignore": "*.yaml\n*.json\n*.whl\n"})
    done = adopted(root)
    assert done.ignored == ("gitops.yaml",)
    listed = git.files(root)
    assert ".gitops/lock.yaml" in listed and ".gitops/tool/gitops_ml-0.whl" in listed
    put(root, {".gitignore": ".*\n"})
    (root / "gitops.yaml").unlink()
    for folder in (".gitops", ".dvc"):
        shutil.rmtree(root / folder)
    hidden = (".gitops/", ".dvc/.gitignore", ".dvc/config")
    assert adopt.propose(root, {}).ignored == hidden


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(root: Path) -> None:
    root.chmod(0o500)
    try:
        with pytest.raises(ToolError, match="can't be written"):
            adopt.propose(root, {})
    finally:
        root.chmod(0o700)


# ---------------------------------------------------------------- which folder


def test_which_folders_are_repositories_to_adopt(root: Path, tmp_path: Path) -> None:
    assert adopt.top(root) == root
    assert adopt.top(tmp_path / "new") is None
    (root / "empty").mkdir()
    assert adopt.top(root / "empty") is None
    (tmp_path / "link").symlink_to(root)
    assert adopt.top(tmp_path / "link") is None
    put(root, {"sub/x": ""})
    with pytest.raises(UsageError) as caught:
        adopt.top(root / "sub")
    assert caught.value.fix.startswith(f"gitops new {root} ")
    for name in ("objects", "refs"):
        (tmp_path / "bare" / name).mkdir(parents=True)
    put(tmp_path, {"bare/HEAD": "ref: refs/heads/main\n"})
    with pytest.raises(UsageError, match="bare repository"):
        adopt.top(tmp_path / "bare")


def test_without_a_commit(tmp_path: Path) -> None:
    git.init(tmp_path / "empty", "trunk")
    done = adopted(tmp_path / "empty")
    assert done.declared.environments[0].branch == "trunk"
    assert drift(tmp_path / "empty") == []


def test_a_broken_lock_is_named(root: Path) -> None:
    put(root, {".gitops/lock.yaml": "version: 1\nfiles: 3\n"})
    with pytest.raises(Exception, match="lock"):
        adopt.adopted(root)


# ---------------------------------------------------------------- being stopped


def test_stopped_at_any_change_of_the_disk_it_leaves_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(root)
    done = adopt.propose(root, {})
    real, calls, stop = Path.rename, 0, 0

    def rename(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise OSError(5, "struck")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    for at in range(1, 50):
        stop, calls = at, 0
        try:
            adopt.write(done)
        except ToolError:
            assert contents(root) == before
        else:
            break
    assert 9 < stop < 49
    assert drift(root) == []


def test_what_came_to_lie_there_meanwhile_is_not_overwritten(root: Path) -> None:
    done = adopt.propose(root, {})
    put(root, {"gitops.yaml": "mine"})
    with pytest.raises(AnswerNo):
        adopt.write(done)
    assert contents(root) == {
        "README.md": b"ours\n",
        "gitops.yaml": b"mine",
        "train.py": TRAIN.encode(),
    }
