"""A repository of many models, without their data: `python -m benchmarks.monorepo DIR COUNT`."""

from __future__ import annotations

import sys
from pathlib import Path

from gitops import config, git
from gitops.scaffold import lock, models, new, roles
from gitops.yamlfile import edits


def make(folder: Path, count: int) -> None:
    """What `gitops new` and `count` times `gitops add model` write, committed."""
    with new.opened(None) as (table, target):
        inferred = roles.infer(table, str(target), overrides={})
        given = {"storage": f"../{folder.name}-storage"}
        request = new.request(folder, "fleet", table, inferred, ("github",), given)
        new.create(request, lambda _: None)
        added = {
            name: (
                models.answers(name, table, inferred),
                config.Model(
                    path=f"{models.FOLDER}/{name}",
                    task=inferred.task,
                    data=models.data_path(table),
                ),
            )
            for name in (f"model-{number:04}" for number in range(1, count + 1))
        }
    extend(folder, added)
    git.commit(folder, f"Add {count} models")


def extend(folder: Path, added: dict[str, tuple[dict[str, object], config.Model]]) -> None:
    locked = folder / lock.PATH
    files, after = models.extended(folder, lock.read(locked), config.load(folder), added)
    for file in files:
        at = folder / file.path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(file.content)
    locked.write_bytes(lock.dump(after))
    # `models:` is the last section of a new gitops.yaml.
    entries = {name: models.declaration(model) for name, (_, model) in added.items()}
    lines = [f"  {line}\n" for line in edits.block(entries).splitlines()]
    with (folder / config.FILE).open("a") as out:
        out.writelines(lines)


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve(), int(sys.argv[2]))
