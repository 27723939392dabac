"""Pages of the documentation, typed line by line into one shell, on repositories that fit them.

The quick start is typed in test_site.py, recipes are judged in test_docs_cookbook.py.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Repository, run
from tests.doc_blocks import ROOT, SHELLS, Block, blocks, script

pytestmark = pytest.mark.functional
GUIDES = ROOT / "docs" / "guides"


def shells(page: str) -> list[Block]:
    """The blocks of a guide that are typed."""
    return [block for block in blocks(GUIDES / page) if block.language in SHELLS]


def first(page: str, language: str) -> str:
    """The first block of a guide in that language."""
    return next(block.text for block in blocks(GUIDES / page) if block.language == language)


class Shell:
    """Types lines; the first that fails ends it."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def __call__(
        self, cwd: Path, *lines: str | Block, swap: Mapping[str, str] | None = None
    ) -> str:
        """Type them, with words of ours where the page's own don't fit; says what was said."""
        typed = [line for one in lines for line in ([one] if isinstance(one, str) else script(one))]
        text = "\n".join(typed)
        for word, ours in (swap or {}).items():
            assert word in text, f"no line has {word!r} any more"
            text = text.replace(word, ours)
        return run(["bash", "-c", f"exec 2>&1; set -eu\n{text}"], cwd, self.env)


@pytest.fixture
def shell(installed: Path, git_identity: dict[str, str], tmp_path: Path) -> Shell:
    path = os.pathsep.join([str(installed), git_identity["PATH"]])
    return Shell({**git_identity, "PATH": path, "GITOPS_STATE": str(tmp_path / "state")})


# ---------------------------------------------------------------- promotion, and the gate

CHANGE = 'sed -i \'s/"seed": [0-9]*/"seed": {}/\' settings.json'
CHANGED = "git commit --quiet --all --message 'Another seed'; gitops build"
ORIGIN = [
    "git init --quiet --bare --initial-branch main ../origin.git",
    "git remote add origin ../origin.git",
    "git push --quiet origin --all",
]


@pytest.mark.extended("some twenty commands; each has tests of its own")
def test_promotion_can_be_typed(light: Repository, shell: Shell) -> None:
    root = light.root
    promote, finish, forward = shells("promotion.md")
    shell(
        root,
        *ORIGIN,
        "gitops promote dev staging",
        "gitops promote staging production --reason 'the first'",
        CHANGE.format(2),
        CHANGED,
        "git push --quiet origin main",
    )
    said = shell(root, promote)
    assert "v1.0.0" in said and "v1.1.0" in said
    # As a pull request, which is merged by git: there's no forge.
    said = shell(
        root,
        CHANGE.format(3),
        CHANGED,
        "git push --quiet origin main",
        "gitops promote dev staging --pr",
        "git fetch --quiet",
        "git switch --quiet --create staging origin/release/staging",
        "git merge --quiet --no-ff origin/gitops/promote/staging --message Promote",
        "git push --quiet origin HEAD:release/staging",
        finish,
    )
    assert "v1.2.0" in said
    # A hotfix, after the hold of the rollback is lifted.
    said = shell(
        root,
        "gitops rollback production --release-hold --reason 'looked at'",
        "git fetch --quiet",
        "git switch --quiet --create hotfix origin/release/production",
        "echo 'Mind the holidays' > notes.md; git add notes.md; git commit -qm 'A word of warning'",
        "git push --quiet origin HEAD:release/production",
        "gitops promote --finish production",
        forward,
    )
    assert "notes.md" in shell(root, "git fetch -q; git diff --stat main origin/main")


def test_the_gate_can_be_typed(light: Repository, shell: Shell) -> None:
    (gate,) = shells("policies.md")
    prelude = [*ORIGIN, "git switch --quiet --create change", CHANGE.format(2), CHANGED]
    shell(light.root, *prelude)
    said = shell(light.root, gate, swap={"gitops gate late": "gitops gate left"})
    assert "roc_auc no worse" in said
    assert (light.root.parent / "report" / "report.html").is_file()


# ---------------------------------------------------------------- repositories


def test_adopting_can_be_typed(shell: Shell, tmp_path: Path) -> None:
    root = tmp_path / "your-repository"
    root.mkdir()
    (root / "train.py").write_text("from sklearn.linear_model import LogisticRegression\n")
    shell(root, "git init --quiet .; git add --all; git commit --quiet --message Start")
    shutil.copytree(root, tmp_path / "second")
    looked, asked = shells("adopt.md")
    said = shell(tmp_path, looked)
    assert "gitops.yaml" in said
    assert (root / "gitops.yaml").is_file()
    shell(tmp_path / "second", "git branch qa", asked)
    text = (tmp_path / "second" / "gitops.yaml").read_text()
    assert "task: regression" in text and "branch: qa" in text


def test_a_second_model_can_be_typed(repository: Repository, shell: Shell) -> None:
    drawn = random.Random(3)
    rows = [(drawn.choice("ns"), drawn.uniform(20, 200)) for _ in range(200)]
    lines = [f"{where},{size:.1f},{size * 30 + drawn.gauss(0, 60):.2f}" for where, size in rows]
    table = "\n".join(["district,size,price", *lines, ""])
    (repository.root / "houses.csv").write_text(table)
    (repository.root / ".git" / "info" / "exclude").write_text("houses.csv\n")
    (add,) = shells("monorepo.md")
    shell(repository.root, add)
    said = shell(repository.root, "gitops status")
    assert "price" in said and "left" in said


def test_syncing_can_be_typed(repository: Repository, shell: Shell) -> None:
    sync, commit = shells("sync.md")
    workflow = repository.root / ".github" / "workflows" / "build.yml"
    ours = workflow.read_text()
    mine = ours.replace("timeout-minutes", "timeout_minutes")
    workflow.write_text(mine)
    said = shell(repository.root, sync)  # the last of its lines takes the first one back
    assert "build.yml" in said and workflow.read_text() == mine
    shell(repository.root, "gitops sync", "echo >> README.md", commit)
    assert workflow.read_text() == ours


def test_an_overlay_can_be_typed(repository: Repository, shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "ml-overlays" / "security"
    (folder / "template").mkdir(parents=True)
    (folder / "generator.yaml").write_text(first("overlays.md", "yaml"))
    (folder / "template" / "README.md.j2").write_text("# By @{ team }@\n")
    top = folder.parent
    shell(top, "git init --quiet .; git add --all; git commit --quiet --message One; git tag v2")
    (add,) = shells("overlays.md")
    address = "https://example.org/org/ml-overlays.git"
    shell(
        repository.root,
        add,
        swap={address: f"file://{top}", "--revision v2": "--revision v2 --trust"},
    )
    assert (repository.root / "README.md").read_text() == "# By platform\n"


def test_infrastructure_and_a_target_can_be_typed(repository: Repository, shell: Shell) -> None:
    declare = shells("azure.md")[1]
    (answer,) = (block for block in shells("azure.md") if "gitops add target" in block.text)
    component = "gitops add infrastructure --set azureml="
    shell(
        repository.root, *ORIGIN, declare, component, "git add -A; git commit -qm Component", answer
    )
    root = repository.root
    assert (root / "infrastructure" / "bootstrap.sh").is_file()
    assert (root / "deploy" / "azureml" / "production" / "left" / "endpoint.yaml").is_file()
    assert shell(root, "gitops sync --check", "git status --short") == "in sync\n"


# ---------------------------------------------------------------- what the pages show


def test_a_finding_is_told_as_the_page_shows_it(
    shell: Shell, installed: Path, tmp_path: Path
) -> None:
    (block,) = shells("lint.md")
    path = tmp_path / ".github" / "workflows" / "train.yml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "name: train\non: push\npermissions: {contents: read}\njobs:\n  train:\n"
        "    runs-on: ubuntu-latest\n    timeout-minutes: 5\n"
        "    steps: [{name: Install, run: pip install scikit-learn}]\n"
    )
    done = subprocess.run(
        [installed / "gitops", "lint"], cwd=tmp_path, env=shell.env, capture_output=True, text=True
    )
    shown = [line for line in block.text.splitlines() if not line.startswith("$ ")]
    told = [re.sub(r":\d+:\d+:", ":8:14:", line) for line in done.stdout.splitlines() if line]
    assert (done.returncode, told) == (1, shown)


def test_the_picture_of_the_infrastructure_is_what_is_printed(shell: Shell, tmp_path: Path) -> None:
    head = "version: 1\nproject: flights\nci: [github]\nmodels: {late: {task: binary}}\n"
    head += "storage: {remote: azure://dvc/flights, account: flightsdvc}\n"
    (tmp_path / "gitops.yaml").write_text(head + first("azure.md", "yaml"))
    shell(tmp_path, "git init --quiet .")
    assert shell(tmp_path, "gitops infra diagram production") == first("azure.md", "mermaid")


# ---------------------------------------------------------------- answering


def test_the_script_of_the_page_does_what_it_says() -> None:
    found: dict[str, Any] = {}
    exec(compile(first("predictions.md", "python"), "scoring.py", "exec"), found)
    rows = [{"carrier": "AA", "distance": 9000}, {"carrier": None, "distance": 10}]
    assert [row["distance"] for row in found["before"](rows)] == [5000, 10]
    answers = [{"prediction": "true", "score": 0.7}] * 2
    assert [one["prediction"] for one in found["after"](rows, answers)] == ["true", "false"]


def test_a_server_can_be_asked_and_told_as_the_pages_say(
    repository: Repository, shell: Shell, tmp_path: Path
) -> None:
    serve, labels = shells("serving.md")[0], shells("predictions.md")
    answered, posted = labels[1], script(serve)
    state, log = tmp_path / "kept", tmp_path / "server.log"
    options = f" --listen 127.0.0.1:0 --state {state}"
    assert posted[0] == "gitops serve models/package"
    with log.open("wb") as file:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {posted[0]}{options}"],
            cwd=repository.root,
            env=shell.env,
            stdout=file,
            stderr=file,
        )
    try:
        deadline = time.monotonic() + 120
        while not (port := re.search(r"127\.0\.0\.1:(\d+)", log.read_text())):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        ours = {"127.0.0.1:8080": f"127.0.0.1:{port[1]}", "/models/late/": "/models/left/"}
        row = '"plan": "basic", "months": 3, "fee": 80.5, "calls": 2'
        ours |= {re.search(r"\[\{(.*)\}\]", posted[1])[1]: row}  # type: ignore[index]
        said = shell(repository.root, posted[1], swap=ours)
        answer, shown = (re.search(r"^\{.*\}$", one, re.MULTILINE) for one in (said, serve.text))
        assert answer and shown
        assert json.loads(answer[0]).keys() == json.loads(shown[0]).keys()
        assert json.loads(answer[0])["predictions"] == ["yes"]
        address = {"http://127.0.0.1:8080": f"--include http://127.0.0.1:{port[1]}"}
        assert " 202 " in shell(repository.root, answered, swap=address)
    finally:
        server.terminate()
        server.wait(60)
