"""`gitops add model`: one repository, several models, each built and judged by itself."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional


def houses(folder: Path, rows: int = 200) -> Path:
    """A regression: the price follows size and district."""
    drawn = random.Random(3)
    lines = ["district,size,rooms,price"]
    for _ in range(rows):
        district, size = drawn.choice(["north", "south"]), round(drawn.uniform(20, 200), 1)
        price = size * (31.7 if district == "north" else 24.3) + drawn.gauss(0, 60)
        lines.append(f"{district},{size},{int(size // 30) + 1},{price:.2f}")
    file = folder / "houses.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def flowers(folder: Path, rows: int = 180) -> Path:
    """Three classes."""
    drawn = random.Random(4)
    lines = ["petal,sepal,kind"]
    for at in range(rows):
        lines.append(f"{drawn.gauss(at % 3, 0.4):.3f},{drawn.gauss(5, 1):.3f},{'abc'[at % 3]}")
    file = folder / "flowers.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def answered(gitops: Gitops, root: Path, *arguments: str) -> dict[str, Any]:
    done = gitops(root, *arguments, "--json")
    assert done.code == 0, done.err
    answer: dict[str, Any] = json.loads(done.out)
    return answer


def states(answer: dict[str, Any]) -> dict[str, str]:
    return {one["model"]: one["state"] for one in answer["models"]}


@pytest.mark.extended("real training of three models; each of its steps has tests of its own")
def test_three_models_of_three_tasks_live_in_one_repository(
    repository: Repository, gitops: Gitops, git: Command, dvc: Command, tmp_path: Path
) -> None:
    root = repository.root
    text = (root / "gitops.yaml").read_text()
    (root / "gitops.yaml").write_text("# ours: keep\n" + text)
    git(root, "commit", "--quiet", "-am", "A comment")

    added = answered(
        gitops, root, "add", "model", "price", "--data", str(houses(tmp_path)), "--target", "price"
    )
    assert (added["state"], added["path"], added["roles"]["task"]) == (
        "added",
        "models/price",
        "regression",
    )
    assert added["commit"] == git(root, "rev-parse", "HEAD")
    assert git(root, "status", "--porcelain") == ""
    changed = git(root, "show", "--name-only", "--format=", "HEAD").splitlines()
    assert changed == added["files"]
    assert changed == [
        ".github/workflows/build.yml",  # jobs for each group of models
        ".github/workflows/pull-request.yml",
        ".gitops/lock.yaml",
        "gitops.yaml",
        *[
            f"models/price/{name}"
            for name in (".gitignore", "data/houses.csv.dvc", "dvc.yaml", "params.yaml")
        ],
    ]
    assert (root / "gitops.yaml").read_text().startswith("# ours: keep\n" + text.rstrip("\n"))
    answered(
        gitops, root, "add", "model", "kind", "--data", str(flowers(tmp_path)), "--target", "kind"
    )
    assert gitops(root, "sync", "--check").code == 0

    built = answered(gitops, root, "build")
    assert states(built) == {"left": "unchanged", "price": "built", "kind": "built"}
    assert git(root, "show", "--name-only", "--format=", "HEAD").splitlines() == [
        f"models/{name}"
        for name in ("kind/dvc.lock", "kind/metrics.json", "price/dvc.lock", "price/metrics.json")
    ]
    assert git(root, "status", "--porcelain") == ""
    assert dvc(root, "status") == "Data and pipelines are up to date."
    assert set(states(answered(gitops, root, "build")).values()) == {"unchanged"}
    predicted = answered(gitops, root, "predict", str(tmp_path / "flowers.csv"), "kind")
    assert predicted["rows"] == 180

    params = root / "models" / "price" / "params.yaml"
    params.write_text(params.read_text().replace("max_iter: 150", "max_iter: 60"))
    rows = answered(gitops, root, "status")["rows"]
    here = {row["model"]: row["state"] for row in rows if row["environment"] == "work tree"}
    assert here == {"left": "built", "price": "stale: train", "kind": "built"}
    stale = gitops(root, "build", "--check")
    assert stale.code == 1
    assert "price: train would run" in stale.err
    assert "kind" not in stale.err
    assert states(answered(gitops, root, "build")) == {
        "left": "unchanged",
        "price": "built",
        "kind": "unchanged",
    }
    git(root, "commit", "--quiet", "-am", "Fewer trees")

    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(root), str(clone))
    assert gitops(clone, "build", "--check").code == 0
    verified = answered(gitops, root, "verify", "--model", "price")
    assert [(one["model"], one["reproducible"]) for one in verified["models"]] == [("price", True)]


def test_the_generated_tests_cover_every_model_and_new_data_finds_its_place(
    repository: Repository,
    gitops: Gitops,
    git: Command,
    installed: Path,
    tmp_path: Path,
    git_identity: dict[str, str],
) -> None:
    from tests.conftest import UV, run

    root, file = repository.root, houses(tmp_path)
    answered(gitops, root, "add", "model", "price", "--data", str(file), "--target", "price")
    line: list[str | Path] = [
        UV,
        "run",
        "--locked",
        "--env-file",
        "build.env",
        "pytest",
        "-q",
        "-k",
        "package or split",
    ]
    run(line, root, git_identity)
    listed = run([*line, "--collect-only"], root, git_identity)
    assert "[params.yaml]" in listed
    assert "[models/price/params.yaml]" in listed

    houses(tmp_path, rows=220)
    updated = answered(gitops, root, "data", "update", str(file), "price")
    assert (updated["path"], updated["changed"]) == ("models/price/data/houses.csv", True)
    assert git(root, "diff", "--name-only") == "models/price/data/houses.csv.dvc"


def test_said_again_it_changes_nothing_and_otherwise_it_is_refused(
    repository: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    root, file = repository.root, houses(tmp_path)
    (root / "notes.txt").write_text("mine")
    line = ["add", "model", "price", "--data", str(file), "--target", "price"]
    first = answered(gitops, root, *line)
    assert first["commit"] is None
    assert first["to_commit"] == first["files"]
    assert "other changes" in first["note"]
    assert git(root, "diff", "--cached", "--name-only") == ""
    before = git(root, "status", "--porcelain", "--untracked-files=all")

    again = answered(gitops, root, *line)
    assert (again["state"], again["files"], again["path"]) == ("unchanged", [], "models/price")
    no: list[tuple[int, str, list[str]]] = [
        (1, "its target is 'price', not 'size'", [*line[:-1], "size"]),
        (
            1,
            "isn't",
            ["add", "model", "price", "--data", str(flowers(tmp_path)), "--target", "kind"],
        ),
        (1, "its data", ["add", "model", "left", "--data", str(file), "--target", "price"]),
        (1, "models/package", ["add", "model", "package", *line[3:]]),
        (3, "lower-case", ["add", "model", "Price", *line[3:]]),
        (3, "nowhere.csv", ["add", "model", "rent", "--data", "nowhere.csv", "--target", "x"]),
        (3, "'cost'", ["add", "model", "rent", "--data", str(file), "--target", "cost"]),
        (2, "--data FILE", ["add", "model", "rent"]),
        (2, "--target COLUMN", ["add", "model", "rent", "--data", str(file)]),
        (3, "no answer named 'storage'", ["add", "model", "rent", *line[3:], "--set", "storage=x"]),
    ]
    for code, message, arguments in no:
        done = gitops(root, *arguments, "--no-input")
        assert (done.code, message in done.err) == (code, True), (arguments, done.err)
        assert "fix:" in done.err
    assert git(root, "status", "--porcelain", "--untracked-files=all") == before

    outside = gitops(tmp_path, "add", "model", "rent", *line[3:])
    assert outside.code == 3
    assert "gitops new" in outside.err


def test_what_is_in_the_models_place_is_never_touched(
    repository: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    root, file = repository.root, houses(tmp_path)
    line = ["add", "model", "price", "--data", str(file), "--target", "price"]
    mine = {"dvc.yaml": "stages: {}\n", "data/houses.csv": "mine\n"}
    for name, text in mine.items():
        place = root / "models" / "price" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        done = gitops(root, *line)
        assert done.code == 1
        assert f"models/price/{name}" in done.err
        assert place.read_text() == text
        place.unlink()
    shutil.rmtree(root / "models" / "price")
    (root / "models" / "Price").mkdir()
    done = gitops(root, *line)
    assert done.code == 3
    assert "models/Price" in done.err
    assert git(root, "status", "--porcelain") == ""


def test_a_model_that_is_taken_away_leaves_its_name(
    repository: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    root, file = repository.root, houses(tmp_path)
    line = ["add", "model", "price", "--data", str(file), "--target", "price"]
    before = (root / "gitops.yaml").read_text()
    answered(gitops, root, *line)
    shutil.rmtree(root / "models" / "price")
    (root / "gitops.yaml").write_text(before)
    half = gitops(root, *line)
    assert half.code == 1
    assert "`gitops sync`, and it is taken out" in half.err
    assert gitops(root, "sync").code == 0
    assert gitops(root, "sync", "--check").code == 0
    git(root, "commit", "--quiet", "-am", "Take it away")
    assert answered(gitops, root, *line)["state"] == "added"


def test_a_model_moves_to_another_depth(
    repository: Repository, gitops: Gitops, git: Command, tmp_path: Path
) -> None:
    root = repository.root
    line = ["--data", str(houses(tmp_path)), "--target", "price"]
    answered(gitops, root, "add", "model", "price", *line)
    stages = root / "models/price/dvc.yaml"
    stages.write_text(stages.read_text() + "# mine\n")
    config = (root / "gitops.yaml").read_text()
    (root / "gitops.yaml").write_text(config.replace("models/price", "teams/x/price"))
    git(root, "commit", "--quiet", "--all", "-m", "Edit")
    early = gitops(root, "sync")
    assert early.code == 3
    assert "fix: mkdir -p teams/x && git mv models/price teams/x/price" in early.err
    (root / "teams/x").mkdir(parents=True)
    git(root, "mv", "models/price", "teams/x/price")
    git(root, "commit", "--quiet", "--all", "-m", "Move")
    done = answered(gitops, root, "sync")
    changed = [one["path"] for one in done["files"] if one["state"] != "unchanged"]
    assert changed[1:] == [".gitops/lock.yaml", "teams/x/price/dvc.yaml"]
    text = (root / "teams/x/price/dvc.yaml").read_text()
    assert "--env-file ../../../build.env" in text
    assert text.endswith("# mine\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Sync")
    assert gitops(root, "sync", "--check").code == 0
    assert gitops(root, "build", "price").code == 0
