"""Existing training code, made first class: a stage that packages what it wrote.

Nothing of the user's code is rewritten. `wrap:` in gitops.yaml says what the training reads and
writes; from that come the vendored packaging module and stages of dvc.yaml.
"""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from gitops import dvc, git, names, uv, yamlfile
from gitops.config import FILE
from gitops.errors import AnswerNo, ConfigError, UsageError, Where
from gitops.scaffold import apply, generator, lock
from gitops.scaffold.plan import Entry, Plan, State, plan
from gitops.scaffold.render import render, tool_file

if TYPE_CHECKING:
    from gitops.config import Config, Model
    from gitops.config.wrap import Wrap

_NEEDED = ("scikit-learn", "pandas", "pyarrow", "skl2onnx", "onnx", "onnxruntime", "pyyaml")
_GENERATORS = ("packaging", "environment")
_ENVIRONMENT = ("uv.lock", ".python-version", "build.env")
_EXAMPLE = """\
describe the training under models: {name}: in gitops.yaml, for example
    wrap:{command}
      model: model.joblib     # the fitted estimator that it writes
      train: data/train.csv   # the rows that it learnt from, and others to judge it by
      test: data/test.csv
      target: label"""
# Left out where dvc.yaml runs the training already.
_COMMAND = """
      command: python train.py
      deps: [train.py, {data}]"""


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
        command = _COMMAND.format(data=model.data or "data/table.csv")
        if (root / model.path / "dvc.yaml").is_file():
            command = ""
        fix = _EXAMPLE.format(name=known, command=command)
        raise UsageError(f"model {known} has no `wrap:`", fix=fix)
    work = git.private_to_tree(root) / "apply"
    apply.recover(root, work)  # of a run that was killed: plan from the state before it
    _require_project(root)
    base = root / model.path
    described = model.wrap
    model, moved = _own_metrics(base, known, model)
    stages = _stages(base, config, known, model, described)
    outs = [(PurePosixPath(model.path) / out).as_posix() for out in _outputs(stages)]
    if in_git := [out for out in outs if git.is_tracked(root, out)]:
        raise UsageError(
            f"git tracks what DVC is to keep: {', '.join(in_git)}",
            fix=f"git rm -r --cached {' '.join(in_git)} && git commit -m 'Leave outputs to DVC'",
        )
    packages = _missing_packages(root)
    proposed = _planned(root, config)
    if packages:
        say(f"adding {', '.join(packages)} to the project's environment")
        uv.add(root, list(packages))
    apply.apply(proposed, root, work)
    if moved:
        say(f"gitops.yaml says metrics: {model.metrics} now, since a stage of yours writes {moved}")
        yamlfile.edit(root / FILE, {("models", known, "metrics"): model.metrics})
    _add_stages(base, stages)
    _ignore(root, base, _outputs(stages))
    written = tuple(str(entry.file.path) for entry in proposed.changes)
    return Wrapped(known, written, tuple(stages), packages)


def _require_project(root: Path) -> None:
    file = root / "pyproject.toml"
    if not file.is_file() or "project" not in _described(file):
        raise UsageError(
            "no [project] in pyproject.toml describes the training's environment",
            fix=uv.to_lock(root),
            where=Where(file),
        )
    if not (root / ".dvc" / "config").is_file():
        raise UsageError(
            "DVC isn't set up here",
            fix="dvc init && dvc remote add -d storage FOLDER-OR-URL"
            " && dvc remote modify storage verify true",
        )


def _missing_packages(root: Path) -> tuple[str, ...]:
    project = _described(root / "pyproject.toml")["project"]
    named = {_bare(text) for text in project.get("dependencies", [])}
    return tuple(package for package in _NEEDED if package not in named)


def _described(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}", fix="mend the file", where=Where(file)) from error


def _bare(requirement: str) -> str:
    name = requirement.strip()
    for at, letter in enumerate(name):
        if not (letter.isalnum() or letter in "-_."):
            name = name[:at]
            break
    return name.lower().replace("_", "-")


def _planned(root: Path, config: Config) -> Plan:
    """The vendored module, what fixes the environment where the project doesn't yet, and the lock.

    Raises:
        AnswerNo: another file lies where one of the module has to be.
    """
    file = root / lock.PATH
    before = lock.read(file) if file.is_file() else None
    answers: dict[str, object] = dict(before.answers) if before else {"adopted": {"has_dvc": True}}
    answers |= {"project": config.project, "package": names.package_name(config.project)}
    answers |= {"wrapped": True, "python": answers.get("python", platform.python_version())}
    generators = generator.compose(_GENERATORS)
    rendered = render(generators, answers)
    proposed = plan(rendered, root)
    there = {e.file.path: e.file for e in proposed.conflicts}
    kept = {path for path, one in there.items() if one.generator == "environment"}
    known = set(before.files) if before else set()  # whatever became of those: sync's business
    if blocked := [str(path) for path in there if path not in kept | known]:
        raise AnswerNo(
            "\n  ".join(["these files are there already, and are others:", *blocked]),
            fix="move them away, then say it again",
        )
    made = lock.of(generators, answers, rendered)
    files = {path: replace(one, kept=path in kept) for path, one in made.files.items()}
    if before:
        used = {one.name for one in before.generators}
        more = tuple(one for one in made.generators if one.name not in used)
        files = {**files, **before.files}
        made = replace(before, generators=(*before.generators, *more), answers=answers)
    entry = tool_file(str(lock.PATH), lock.dump(replace(made, files=files)))
    mark = lock.blob(file.read_bytes()) if before else None
    state: State = "unchanged" if mark == lock.blob(entry.content) else "update"
    changed = Entry(state if before else "create", "records this", entry, mark)
    return Plan((*(e for e in proposed.entries if e.file.path not in there), changed))


def _own_metrics(base: Path, name: str, model: Model) -> tuple[Model, str]:
    """The model with a file of metrics that only the packaging writes, and the file before, if any.

    Training code often writes `metrics.json` itself, and two stages can't write one file.
    """
    file = base / "dvc.yaml"
    taken = dvc.read_yaml(file).get("stages") or {} if file.is_file() else {}
    packaging = (f"package-{name}", "package")
    others = _written({stage: body for stage, body in taken.items() if stage not in packaging})
    if model.metrics not in others:
        return model, ""
    tried = (f"metrics/{name}.json", f"metrics/{name}-package.json")
    free = next(path for path in tried if path not in others)
    return model.model_copy(update={"metrics": free}), model.metrics


def _stages(
    base: Path, config: Config, name: str, model: Model, described: Wrap
) -> dict[str, dict[str, object]]:
    """The stages to add to dvc.yaml: the training, if `command` says so, and the packaging."""
    file = base / "dvc.yaml"
    existing = dvc.read_yaml(file) if file.is_file() else {}
    taken = existing.get("stages") or {}
    package = names.package_name(config.project)
    top = "../" * len(PurePosixPath(model.path).parts)
    python = f"PYTHONPATH={top}src " if top else ""
    run = f"{python}uv run --locked --env-file {top}build.env"
    environment = [f"{top}{one}" for one in _ENVIRONMENT]
    # Models that share a folder share its dvc.yaml.
    shared = [one for one in config.models.values() if one.path == model.path]
    end = f"-{name}" if len(shared) > 1 else ""
    found: dict[str, dict[str, object]] = {}
    if described.command:
        written = [path for path in (described.train, described.test) if _is_written(base, path)]
        found[f"train{end}"] = {
            "cmd": f"{run} {described.command}",
            "deps": [*described.deps, *environment],
            "outs": [described.model, *written],
        }
    found[f"package{end}"] = {
        "cmd": f"{run} python -m {package}.gitops_package.wrap {name}",
        "deps": [
            *dict.fromkeys([described.model, described.train, described.test]),
            f"{top}src/{package}/gitops_package",
            *environment,
        ],
        "params": [{f"{top}gitops.yaml": ["project", f"models.{name}"]}],
        "outs": [model.package, model.evaluation],
        "metrics": [{model.metrics: {"cache": False}}],
    }
    for stage in found:
        if stage in taken and taken[stage] != found[stage]:
            raise ConfigError(
                f"dvc.yaml has a stage {stage!r} already, and it is another",
                fix=f"rename it; if it trains the model, leave `command:` out of `wrap:` of {name}",
                where=Where(file),
            )
    return {stage: found[stage] for stage in found if stage not in taken}


def _written(stages: dict[str, dict[str, object]]) -> set[str]:
    """Outputs and metrics of stages, each a path or a mapping from it."""
    found = set()
    for stage in stages.values():
        for key in ("outs", "metrics", "plots"):
            listed = stage.get(key) if isinstance(stage, dict) else None
            for one in listed if isinstance(listed, list) else ():
                found |= set(one) if isinstance(one, dict) else {str(one)}
    return found


def _is_written(base: Path, path: str) -> bool:
    """Whether the training makes this table: nobody tracks it."""
    return not git.is_tracked(base, path) and not (base / f"{path}.dvc").is_file()


def _add_stages(base: Path, stages: dict[str, dict[str, object]]) -> None:
    file = base / "dvc.yaml"
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


def _ignore(root: Path, base: Path, outs: list[str]) -> None:
    """What DVC would write at the first build, leaving the tree dirty; and compiled modules."""
    compiled = [] if git.is_ignored(root, "src/__pycache__/x.pyc") else ["__pycache__/"]
    _append(root / ".gitignore", compiled)
    outputs = [f"/{PurePosixPath(out)}" for out in outs if not git.is_ignored(base, out)]
    _append(base / ".gitignore", outputs)
    _append(root / ".dvcignore", ["__pycache__"])


def _append(file: Path, lines: list[str]) -> None:
    before = file.read_text("utf-8") if file.is_file() else ""
    new = [line for line in lines if line not in before.splitlines()]
    if new:
        gap = "\n" if before and not before.endswith("\n") else ""
        file.write_text(before + gap + "\n".join(new) + "\n", "utf-8")
