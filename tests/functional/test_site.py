"""The site builds without a warning, and its quick start is what one can type."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import UV, Table, run
from tests.doc_blocks import blocks

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
QUICKSTART = ROOT / "docs" / "quickstart.md"

REFERENCE = [
    f"reference/{name}"
    for name in ("commands", "gitops-yaml", "policy", "policies", "contracts", "contracts/verdict")
]

pytestmark = pytest.mark.functional


def typed(page: Path) -> list[str]:
    """The lines of a page's console blocks."""
    found = [block for block in blocks(page) if block.language == "console"]
    return [
        line[2:].partition("   #")[0].rstrip() for one in found for line in one.text.splitlines()
    ]


def test_what_the_readme_says_of_a_table_of_yours_is_the_beginning_of_the_quick_start() -> None:
    """So that it is typed whenever that one is."""
    readme, quickstart = typed(README), iter(typed(QUICKSTART))
    own = readme[readme.index("gitops new churn --data customers.csv --target left") :]
    assert own[-1].startswith("gitops gate")
    assert not [line for line in own if line not in quickstart]


@pytest.mark.extended("downloads and installs all that the tool needs once more")
def test_the_wheel_is_installed_as_the_readme_says(
    wheel: Path, git_identity: dict[str, str], tmp_path: Path
) -> None:
    (line,) = (one for one in typed(README) if "tool install" in one)
    (tmp_path / "dist").mkdir()
    shutil.copy(wheel, tmp_path / "dist")
    env = {**git_identity, "UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path)}
    run(["bash", "-c", line.replace(".bootstrap/bin/uv", str(UV))], tmp_path, env)
    assert run([tmp_path / "gitops", "--version"], tmp_path, env).startswith("gitops ")


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    command += [str(ROOT / "docs"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("index", "quickstart", *REFERENCE):
        page = (tmp_path / f"{name}.html").read_text("utf-8")
        # Nothing is asked of anybody else.
        assert not re.findall(r'(?:src|href)="(?:https?:)?//[^"]+\.(?:js|css|woff2?)', page), name


def test_a_page_that_leads_nowhere_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text('extensions = ["myst_parser"]\n')
    (tmp_path / "index.md").write_text("# One\n\n[two](two.md)\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html"]
    command += [str(tmp_path), str(tmp_path / "out")]
    assert subprocess.run(command, capture_output=True).returncode != 0


@pytest.mark.extended("real training twice over; each command has tests of its own")
def test_the_quick_start_can_be_typed(
    churn: Table, installed: Path, git_identity: dict[str, str], tmp_path: Path
) -> None:
    """Every line of its console blocks, in one shell, on a table that it doesn't know."""
    lines = typed(QUICKSTART)
    work = tmp_path / "work"
    work.mkdir()
    (work / "customers.csv").write_text(churn(rows=600, seed=11))
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    # Nobody is there to answer, and other tests may have the port.
    lines = [f"{line} --no-input" if line.startswith("gitops new") else line for line in lines]
    at = lines.index("cd churn") + 1
    lines.insert(
        at,
        f"perl -pi -e 's/policy: strict}}/policy: strict, listen: \"127.0.0.1:{port}\"}}/'"
        " gitops.yaml && git commit --quiet --all --message 'Another port'",
    )
    script = "\n".join(["set -eux", *lines]).replace(":8082", f":{port}")
    path = os.pathsep.join([str(installed), git_identity["PATH"]])
    env = {**git_identity, "PATH": path, "GITOPS_STATE": str(tmp_path / "state")}
    try:
        said = run(["bash", "-c", script], work, env)
    finally:
        stop = [str(installed / "gitops"), "deploy", "production", "--stop"]
        subprocess.run(stop, cwd=work / "churn", env=env, capture_output=True)
    assert f"production answers at http://127.0.0.1:{port}" in said
    assert (work / "report" / "report.html").is_file()
