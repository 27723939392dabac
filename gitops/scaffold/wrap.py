"""Existing training code, made first class: a stage that packages what it wrote.

Nothing of the user's code is rewritten. `wrap:` in gitops.yaml says what the training reads and
writes; from that come the vendored packaging module and stages of dvc.yaml.
"""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gitops import dvc, git, names, uv, yamlfile
from gitops.errors import AnswerNo, ConfigError, UsageError, Where
from gitops.scaffold import apply, generator, lock
from gitops.scaffold.plan import plan
from gitops.scaffold.render import Rendered, render, tool_file

if TYPE_CHECKING:
    from gitops.config import Config, Model, Wrap

_NEEDED = ("scikit-learn", "pandas", "pyarrow", "skl2onnx", "onnx", "onnxruntime", "pyyaml")
_RUN = "uv run --locked --env-file build.env"
_ENVIRONMENT = ("uv.lock", ".python-version", "build.env")
_EXAMPLE = """\
describe the training under models: {name}: in gitops.yaml, for example
    wrap:
      command: python train.py
      deps: [train.py, data/train.csv]
      model: model.joblib
      train: data/train.csv
      test: data/test.csv
      target: label"""


@dataclass(frozen=True)
class Wrapped:
    """What was done: files written, stages added to dvc.yaml, packages added to the environment."""

    model: str
    files: tuple[str, ...]
    stages: tuple[str, ...]
    packages: tuple[str, ...]


def wrap(root: Path, config: Config, name: str | None, say: Callable[[str], None]) -> Wrapped:
    """Wrap the training of a model that gitops.yaml describes.

    Raises:
        UsageError: the model has no `wrap:`, or its environment can't be locked yet.
        AnswerNo: a file that we would write is there already, and is another.
        ConfigError: dvc.yaml can't be read, or has stages that write the same outputs.
    """
    known, model = config.model(name)
    if model.wrap is None:
        raise UsageError(f"model {known} has no `wrap:`", fix=_EXAMPLE.format(name=known))
    if model.path != ".":
        raise UsageError(
            f"model {known} is in {model.path}",
            fix="wrapping works for a model at the top (path: .)",
        )
    work = git.private_to_tree(root) / "apply"
    apply.recover(root, work)  # of a run that was killed: plan from the state before it
    _require_project(root)
    stages = _stages(root, config, known, model, model.wrap)
    if in_git := [out for out in _outputs(stages) if git.is_tracked(root, out)]:
        raise UsageError(
            f"git tracks what DVC is to keep: {', '.join(in_git)}",
            fix=f"git rm -r --cached {' '.join(in_git)} && git commit -m 'Leave outputs to DVC'",
        )
    packages = _missing_packages(root)
    rendered = _files(root, config)
    proposed = plan(rendered, root, None)
    if proposed.conflicts:
        raise AnswerNo(
            "these files are there already, and are others:\n  "
            + "\n  ".join(str(entry.file.path) for entry in proposed.conflicts),
            fix="move them away, then say it again",
        )
    if packages:
        say(f"adding {', '.join(packages)} to the project's environment")
        uv.add(root, list(packages))
    apply.apply(proposed, root, work)
    _add_stages(root, stages)
    _ignore(root, _outputs(stages))
    written = tuple(str(entry.file.path) for entry in proposed.changes)
    return Wrapped(known, written, tuple(stages), packages)


def _require_project(root: Path) -> None:
    if not (root / "pyproject.toml").is_file():
        raise UsageError(
            "there's no pyproject.toml: the training's environment isn't described",
            fix="uv init --bare, then uv add with the packages that the training imports",
            where=Where(root / "pyproject.toml"),
        )
    if not (root / ".dvc" / "config").is_file():
        raise UsageError(
            "DVC isn't set up here",
            fix="dvc init && dvc remote add -d storage FOLDER-OR-URL"
            " && dvc remote modify storage verify true",
        )


def _missing_packages(root: Path) -> tuple[str, ...]:
    file = root / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text("utf-8")).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}", fix="mend the file", where=Where(file)) from error
    named = {_bare(text) for text in project.get("dependencies", [])}
    return tuple(package for package in _NEEDED if package not in named)


def _bare(requirement: str) -> str:
    name = requirement.strip()
    for at, letter in enumerate(name):
        if not (letter.isalnum() or letter in "-_."):
            name = name[:at]
            break
    return name.lower().replace("_", "-")


def _files(root: Path, config: Config) -> list[Rendered]:
    """The vendored module, and what fixes the environment where the project doesn't yet."""
    generators = generator.compose(["packaging"])
    package = names.package_name(config.project)
    answers: dict[str, object] = {"project": config.project, "package": package, "wrapped": True}
    rendered = list(render(generators, answers))
    fixed = generator.compose(["environment"])
    for file in render(fixed, {"python": platform.python_version()}):
        if not (root / file.path).exists():
            rendered.append(file)
    if not (root / lock.PATH).exists():
        rendered.append(tool_file(str(lock.PATH), lock.write(generators, answers, rendered)))
    return rendered


def _stages(
    root: Path, config: Config, name: str, model: Model, described: Wrap
) -> dict[str, dict[str, object]]:
    """The stages to add: the training, if `command` says so, and the packaging."""
    existing = dvc.read_yaml(root / "dvc.yaml") if (root / "dvc.yaml").is_file() else {}
    taken = existing.get("stages") or {}
    package = names.package_name(config.project)
    found: dict[str, dict[str, object]] = {}
    if described.command:
        written = [path for path in (described.train, described.test) if _is_written(root, path)]
        found["train"] = {
            "cmd": f"{_RUN} {described.command}",
            "deps": [*described.deps, *_ENVIRONMENT],
            "outs": [described.model, *written],
        }
    found["package"] = {
        "cmd": f"{_RUN} python -m {package}.gitops_package.wrap {name}",
        "deps": [
            *dict.fromkeys([described.model, described.train, described.test]),
            f"src/{package}/gitops_package",
            *_ENVIRONMENT,
        ],
        "params": [{"gitops.yaml": ["project", f"models.{name}"]}],
        "outs": [model.package, model.evaluation],
        "metrics": [{model.metrics: {"cache": False}}],
    }
    for stage in found:
        if stage in taken and taken[stage] != found[stage]:
            raise ConfigError(
                f"dvc.yaml has a stage {stage!r} already, and it is another",
                fix=f"rename it; if it trains the model, leave `command:` out of `wrap:` of {name}",
                where=Where(root / "dvc.yaml"),
            )
    return {stage: found[stage] for stage in found if stage not in taken}


def _is_written(root: Path, path: str) -> bool:
    """Whether the training makes this table: nobody tracks it."""
    return not git.is_tracked(root, path) and not (root / f"{path}.dvc").is_file()


def _add_stages(root: Path, stages: dict[str, dict[str, object]]) -> None:
    file = root / "dvc.yaml"
    if not file.is_file():
        file.write_text(yamlfile.dump({"stages": stages}), "utf-8")
    elif stages:
        yamlfile.edit(file, {("stages", name): stage for name, stage in stages.items()})


def _outputs(stages: dict[str, dict[str, object]]) -> list[str]:
    outs: list[str] = []
    for stage in stages.values():
        listed = stage["outs"]
        outs += [str(out) for out in listed] if isinstance(listed, list) else []
    return outs


def _ignore(root: Path, outs: list[str]) -> None:
    """What DVC would write at the first build, leaving the tree dirty; and compiled modules."""
    compiled = [] if git.is_ignored(root, "src/__pycache__/x.pyc") else ["__pycache__/"]
    outputs = [f"/{PurePosixPath(out)}" for out in outs if not git.is_ignored(root, out)]
    _append(root / ".gitignore", [*compiled, *outputs])
    _append(root / ".dvcignore", ["__pycache__"])


def _append(file: Path, lines: list[str]) -> None:
    before = file.read_text("utf-8") if file.is_file() else ""
    new = [line for line in lines if line not in before.splitlines()]
    if new:
        gap = "\n" if before and not before.endswith("\n") else ""
        file.write_text(before + gap + "\n".join(new) + "\n", "utf-8")
