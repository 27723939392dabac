"""Render one generator into a new folder, as `gitops new` does: GENERATOR TARGET."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gitops.scaffold import apply, generator, lock, render


def main(folder: Path, target: Path) -> None:
    answers = json.loads((folder / "answers.json").read_bytes())
    generators = generator.compose([folder])
    rendered = list(render.render(generators, answers))
    made = lock.dump(lock.of(generators, answers, rendered))
    rendered.append(render.tool_file(".gitops/lock.yaml", made))
    with apply.staging(target) as staged:
        apply.stage(rendered, staged)
        apply.install(staged, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
