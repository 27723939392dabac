"""Models beside the first: what is written for them, and when a name is taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from gitops import config, dvc, git, uv
from gitops.errors import AnswerNo, ConfigError
from gitops.scaffold import generator, lock, models
from gitops.scaffold.render import render
from gitops.scaffold.roles import infer
from gitops.scaffold.table import read

SHARED: dict[str, object] = {"project": "shop", "package": "shop", "model": "late"}


def table(folder: Path, rows: int = 60, name: str = "Häuser 2024.csv") -> Path:
    file = folder / name
    lines = [
        f"{at},{at * 37 % 101 / 7:.3f},{'ab'[at % 2]},{at * 13 % 89 + at}" for at in range(rows)
    ]
    file.write_text("no,size,kind,price\n" + "\n".join(lines) + "\n")
    return file


def request(
    folder: Path, name: str = "price", target: str = "price", **said: str
) -> models.Request:
    read_ = read(table(folder))
    return models.Request(name, read_, infer(read_, target, overrides=said), tuple(said))


def added(folder: Path, name: str = "price") -> tuple[dict[str, object], config.Model]:
    one = request(folder, name)
    own = models.answers(name, one.table, one.roles)
    declared = config.Model(
        path=f"models/{name}", task=one.roles.task, data=models.data_path(one.table)
    )
    return own, declared


def test_an_added_model_has_its_own_files_on_the_shared_code(tmp_path: Path) -> None:
    own, _ = added(tmp_path)
    files = {
        str(one.path): one
        for one in models.rendered(SHARED, {"price": own}, {"price": "models/price"})
    }
    assert sorted(files) == [
        f"models/price/{name}" for name in (".gitignore", "dvc.yaml", "params.yaml")
    ]
    assert {one.model for one in files.values()} == {"price"}
    assert {one.owner for one in files.values()} == {"user"}
    stages = yaml.safe_load(files["models/price/dvc.yaml"].content)["stages"]
    assert list(stages) == ["prepare", "train", "package", "evaluate"]
    for name, stage in stages.items():
        assert stage["cmd"] == (
            f"PYTHONPATH=../../src uv run --locked --env-file ../../build.env python -m shop.{name}"
        )
        assert {"../../uv.lock", "../../build.env", f"../../src/shop/{name}.py"} <= set(
            stage["deps"]
        )
    assert "data/hauser-2024.csv" in stages["prepare"]["deps"]
    params = yaml.safe_load(files["models/price/params.yaml"].content)
    assert (params["model"], params["task"]) == ("price", "regression")
    assert "/data/hauser-2024.csv" in files["models/price/.gitignore"].content.decode().splitlines()


def test_the_first_model_differs_only_in_the_way_to_the_code(tmp_path: Path) -> None:
    own, _ = added(tmp_path)
    first = {
        str(one.path): one.content for one in render([generator.load("model")], {**SHARED, **own})
    }
    assert sorted(first) == ["dvc.yaml", "params.yaml"]
    more = {
        one.path.name: one.content
        for one in models.rendered(SHARED, {"price": own}, {"price": "models/price"})
    }
    assert first["params.yaml"] == more["params.yaml"]
    below = more["dvc.yaml"].decode().replace("PYTHONPATH=../../src ", "").replace('"../../', '"')
    assert yaml.safe_load(below.replace("../../", "")) == yaml.safe_load(first["dvc.yaml"])


def test_an_adopted_repository_may_have_no_model_at_the_top() -> None:
    assert render([generator.load("model")], {"project": "shop", "package": "shop"}) == ()


@pytest.mark.parametrize(("folder", "top"), [("price", "../"), ("a/b/c", "../../../")])
def test_a_moved_model_is_rendered_where_gitops_yaml_says(
    tmp_path: Path, folder: str, top: str
) -> None:
    own, _ = added(tmp_path)
    files = {
        str(one.path): one for one in models.rendered(SHARED, {"price": own}, {"price": folder})
    }
    assert f"--env-file {top}build.env" in files[f"{folder}/dvc.yaml"].content.decode()


def test_files_move_with_the_path_in_gitops_yaml(tmp_path: Path) -> None:
    old, new = PurePosixPath("models/price"), PurePosixPath("teams/x")
    made = lock.FileLock("user", "model", "0" * 40, model="price")
    files = {
        old / "dvc.yaml": made,
        old / "a/b": made,
        PurePosixPath("c"): replace(made, model="c"),
    }
    folders = {"price": "teams/x", "c": ".", "late": "."}
    migrated = {old / "a/b": old / "c/b"}
    found = models.moved(tmp_path, files, folders, migrated)
    assert found == {old / "dvc.yaml": new / "dvc.yaml", old / "a/b": new / "c/b"}
    assert models.moved(tmp_path, files, {"price": "models/price"}, {}) == {}


def test_a_model_whose_files_are_still_at_its_old_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "models/price").mkdir(parents=True)
    (tmp_path / "models/price/dvc.yaml").touch()
    (tmp_path / "gitops.yaml").write_text("models:\n  price:\n    path: teams/x\n")
    made = lock.FileLock("user", "model", "0" * 40, model="price")
    files = {PurePosixPath("models/price/dvc.yaml"): made}
    with pytest.raises(ConfigError, match="price is teams/x, but its files are in") as caught:
        models.moved(tmp_path, files, {"price": "teams/x"}, {})
    assert caught.value.fix == "mkdir -p teams && git mv models/price teams/x"
    assert caught.value.where is not None
    assert caught.value.where.line == 3


def test_a_model_that_gitops_yaml_dropped_is_not_rendered(tmp_path: Path) -> None:
    own, _ = added(tmp_path)
    assert list(models.rendered(SHARED, {"price": own}, {"late": "."})) == []


def test_each_of_many_models_has_its_own_answers(tmp_path: Path) -> None:
    own = {name: added(tmp_path, name)[0] for name in ("price", "rent", "size-class")}
    files = list(models.rendered(SHARED, own, {name: f"models/{name}" for name in own}))
    assert len(files) == 9
    for one in files:
        if one.path.name == "params.yaml":
            assert yaml.safe_load(one.content)["model"] == one.path.parent.name == one.model


def declared(**more: config.Model) -> config.Config:
    late = config.Model(path=".", task="binary", data="data/late.csv")
    return config.Config(version=1, project="shop", models={"late": late, **more})


def test_the_lock_gets_the_answers_and_the_files(tmp_path: Path) -> None:
    before = lock.Lock("0.1.0", (), SHARED, {})
    files, after = models.extended(tmp_path, before, declared(), {"price": added(tmp_path)})
    assert after.models == {"price": added(tmp_path)[0]}
    assert set(after.files) == {one.path for one in files}
    assert {one.model for one in after.files.values()} == {"price"}
    assert lock.parse(lock.dump(after), Path("lock.yaml")) == after


def test_what_gitops_yaml_says_is_what_was_meant(tmp_path: Path) -> None:
    _, model = added(tmp_path)
    assert config.Model.model_validate(models.declaration(model)) == model
    sensitive = model.model_copy(update={"sensitive": ("sex",)})
    assert models.declaration(sensitive)["sensitive"] == ["sex"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the model `price`, as far as `existing` and `preflight` look at it."""
    root = tmp_path / "shop"
    own, model = added(tmp_path)
    git.init(root, "main")
    (root / "src/shop/gitops_package").mkdir(parents=True)
    (root / "src/shop/train.py").touch()
    (root / ".gitops").mkdir()
    data = root / "models/price" / str(model.data)
    data.parent.mkdir(parents=True)
    text = f"outs:\n- md5: {dvc.file_md5(table(tmp_path))}\n  path: {data.name}\n"
    data.with_name(f"{data.name}.dvc").write_text(text)
    locked = lock.Lock("0.1.0", (), SHARED, {}, models={"price": own})
    (root / lock.PATH).write_bytes(lock.dump(locked))
    return root


def existing(root: Path, one: models.Request) -> str:
    price = config.Model(path="models/price", task="regression", data="data/hauser-2024.csv")
    return models.existing(root, declared(price=price), lock.read(root / lock.PATH), one)


def test_the_same_model_again_is_recognised(repository: Path, tmp_path: Path) -> None:
    assert existing(repository, request(tmp_path)) == "models/price"


@pytest.mark.parametrize(
    ("target", "said", "message"),
    [
        ("size", {}, "its target is 'price', not 'size'"),
        ("price", {"drop": "size"}, "dropped is .*'left out as asked'"),
    ],
)
def test_another_model_of_the_name_is_refused(
    repository: Path, tmp_path: Path, target: str, said: dict[str, str], message: str
) -> None:
    with pytest.raises(AnswerNo, match=message):
        existing(repository, request(tmp_path, target=target, **said))


def test_another_table_of_the_name_is_refused(repository: Path, tmp_path: Path) -> None:
    one = request(tmp_path)
    table(tmp_path, rows=61)
    with pytest.raises(AnswerNo, match=r"its data, data/hauser-2024.csv, isn't"):
        existing(repository, one)


def test_a_model_that_only_one_file_knows_is_refused(repository: Path, tmp_path: Path) -> None:
    one = request(tmp_path)
    with pytest.raises(AnswerNo, match=r"lock.yaml has a model price that gitops.yaml doesn't"):
        models.existing(repository, declared(), lock.read(repository / lock.PATH), one)
    late = request(tmp_path, name="churn")
    churn = declared(churn=config.Model(path="models/churn", task="binary"))
    with pytest.raises(AnswerNo, match=r"gitops.yaml has a model churn that .*lock.yaml doesn't"):
        models.existing(repository, churn, lock.read(repository / lock.PATH), late)


def test_preflight_passes_where_there_is_code_to_share(repository: Path) -> None:
    assert models.preflight(repository, "rent").models.keys() == {"price"}


@pytest.mark.parametrize("name", ["Price", "models", "test", "1st", "a--b", "con", ""])
def test_a_name_that_cannot_work_is_refused(repository: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="the model cannot be called"):
        models.preflight(repository, name)


def test_a_missing_lock_is_named(repository: Path) -> None:
    (repository / lock.PATH).unlink()
    with pytest.raises(ConfigError, match="no lock") as caught:
        models.preflight(repository, "rent")
    assert "git checkout" in caught.value.fix


def test_missing_code_is_named(repository: Path) -> None:
    (repository / "src/shop/train.py").unlink()
    with pytest.raises(ConfigError, match="shares the training code") as caught:
        models.preflight(repository, "rent")
    assert "gitops add packaging rent" in caught.value.fix


def test_a_commands_folder_sees_the_shared_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "build.env").write_text("PYTHONPATH=src\nPYTHONHASHSEED=0\n")
    seen: dict[str, Any] = {}
    monkeypatch.setattr("gitops.proc.run", lambda line, **more: seen.update(line=line, **more))
    uv.run_in(tmp_path, "models/price", ["python", "-V"])
    assert seen["cwd"] == tmp_path / "models/price"
    assert seen["env"]["PYTHONPATH"] == str(tmp_path / "src")
    assert seen["env"]["PYTHONHASHSEED"] is None
    assert str(tmp_path / "build.env") in seen["line"]
