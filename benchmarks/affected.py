"""Which models a change touches: 1,000 models that share code, 10,000 changed files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.cases import BIN, PROJECT, Case
from benchmarks.measure import Command
from gitops import git

MODELS, FILES = 1000, 10_000


def change(folder: Path, env: Mapping[str, str]) -> Case:
    """As `gitops add model` writes them, with locks as DVC writes them; a tenth is changed."""
    fleet = folder / "affected"
    line = (sys.executable, "-m", "benchmarks.monorepo", fleet, str(MODELS))
    subprocess.run(line, cwd=PROJECT, env=env, check=True, capture_output=True)
    base = git.commit(fleet, "Build", _locked(fleet))
    for number in range(FILES):
        model = f"models/model-{number % (MODELS // 10) + 1:04}"
        place = model if number % 2 else "docs"
        file = fleet / place / "changed" / f"file-{number}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number}\n")
    git.commit(fleet, "Change")
    command = Command("gitops", [str(BIN / "gitops"), "affected", "--base", base], fleet)
    work = f"affected: {MODELS:,} models, {FILES:,} changed files"
    return Case(work, 1.0, (command,), rounds=5)


def _locked(fleet: Path) -> list[str]:
    """A dvc.lock for each pipeline, with the dependencies and outputs that it declares."""
    paths = []
    for pipeline in sorted(fleet.glob("models/*/dvc.yaml")):
        lines = ["schema: '2.0'", "stages:"]
        for text in pipeline.read_text().partition("artifacts:")[0].splitlines():
            item = text.strip().removeprefix("- ").rstrip(":").strip('"')
            if text.startswith("      - "):
                lines += [f"    - path: {item}", "      hash: md5", f"      md5: {'0' * 32}"]
                lines += ["      size: 1234"]
            elif text.startswith("    params"):
                lines += ["    params:", "      params.yaml:", "        seed: 42"]
            elif text.startswith("    metrics"):
                continue  # among the outputs in a lock
            elif text.startswith("  ") and not text.startswith("      ") and ":" in text:
                lines.append(text)
        file = pipeline.with_name("dvc.lock")
        file.write_text("\n".join(lines) + "\n")
        paths.append(file.relative_to(fleet).as_posix())
    return paths
