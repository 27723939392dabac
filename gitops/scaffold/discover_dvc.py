"""What the pipelines of DVC that are there say: stages, what they read and write, metrics."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gitops import dvc
from gitops.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([^{}]+)\}")
_MOST = 200  # stages that one `foreach` or `matrix` makes


@dataclass(frozen=True)
class Stage:
    """A stage of a dvc.yaml; all paths from the repository's top. It runs in `base`."""

    name: str
    file: str
    base: str
    commands: tuple[str, ...]
    deps: frozenset[str]
    outs: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def trains(self) -> bool:
        return bool(re.search(r"train|fit|model", self.name, re.IGNORECASE))


def stages(root: Path, file: str) -> list[Stage]:
    """The stages of the dvc.yaml `file`, those of `foreach` and `matrix` one by one.

    Raises:
        ConfigError: it can't be read.
    """
    data = dvc.read_yaml(root / file)
    folder = posixpath.dirname(file)
    known = _variables(root / folder, data)
    found = []
    declared = data.get("stages")
    for name, body in declared.items() if isinstance(declared, dict) else ():
        if isinstance(body, dict):
            found += [_stage(str(name), one, file, more) for one, more in _expanded(body, known)]
    extra = tuple(_paths(data.get("metrics"), folder, known))
    if extra and found:  # metrics of the whole pipeline: of whatever stage
        found[-1] = replace(found[-1], metrics=(*found[-1].metrics, *extra))
    return found


def _stage(name: str, body: Mapping[str, Any], file: str, known: Mapping[str, Any]) -> Stage:
    wdir = _filled(str(body.get("wdir") or "."), known) or "."
    base = posixpath.join(posixpath.dirname(file), wdir)
    command = body.get("cmd")
    commands = command if isinstance(command, list) else [command]
    suffix = f"@{known['item']}" if isinstance(known.get("item"), str) else ""
    return Stage(
        f"{name}{suffix}",
        file,
        base,
        tuple(filled for each in commands if (filled := _filled(str(each or ""), known))),
        frozenset(_paths(body.get("deps"), base, known)),
        tuple(_paths(body.get("outs"), base, known)),
        tuple(_paths(body.get("metrics"), base, known)),
    )


def _expanded(
    body: Mapping[str, Any], known: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The stage itself, or each that it stands for, with its variables."""
    loop, matrix = body.get("foreach"), body.get("matrix")
    if loop is not None:
        inner = body.get("do")
        loop = _looked_up(loop, known)
        pairs = loop.items() if isinstance(loop, dict) else [(None, item) for item in loop or ()]
        for key, item in itertools.islice(pairs, _MOST):
            if isinstance(inner, dict):
                yield inner, {**known, "item": item, "key": key}
    elif isinstance(matrix, dict):
        axes = {name: _looked_up(values, known) for name, values in matrix.items()}
        lists = [values if isinstance(values, list) else [] for values in axes.values()]
        for combination in itertools.islice(itertools.product(*lists), _MOST):
            yield body, {**known, "item": dict(zip(axes, combination, strict=True))}
    else:
        yield body, known


def _looked_up(value: object, known: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """A list or mapping, or what a `${name}` in its place stands for; else nothing."""
    if isinstance(value, str) and (found := _VARIABLE.fullmatch(value)):
        value = _value(found[1], known)
    return value if isinstance(value, list | dict) else []


def _variables(folder: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """What `${...}` can mean: params.yaml, and `vars`: mappings or files of YAML."""
    known: dict[str, Any] = {}
    listed = data.get("vars")
    for each in ["params.yaml", *(listed if isinstance(listed, list) else [])]:
        if isinstance(each, dict):
            known |= each
        elif (folder / str(each)).is_file() and str(each).endswith((".yaml", ".yml")):
            try:
                known |= dvc.read_yaml(folder / str(each))
            except ConfigError:
                continue
    return known


def _paths(listed: object, base: str, known: Mapping[str, Any]) -> Iterator[str]:
    """Paths of a list of paths, or of mappings from a path to its options."""
    for each in listed if isinstance(listed, list) else ():
        text = next(iter(each), "") if isinstance(each, dict) else each
        filled = _filled(str(text or ""), known)
        if filled and not filled.startswith("/") and "://" not in filled:
            path = posixpath.normpath(posixpath.join(base, filled))
            if path not in (".", "..") and not path.startswith("../"):
                yield path


def _filled(text: str, known: Mapping[str, Any]) -> str | None:
    """`text` with its variables; None if one isn't known, or is no plain value."""
    values = {name: _value(name, known) for name in _VARIABLE.findall(text)}
    if any(value is None or isinstance(value, dict | list) for value in values.values()):
        return None
    return _VARIABLE.sub(lambda found: str(values[found[1]]), text)


def _value(name: str, known: Mapping[str, Any]) -> Any:  # noqa: ANN401
    value: Any = known
    for step in re.split(r"[.\[\]]+", name.strip().rstrip("]")):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def scripts(stage: Stage, code: Collection[str]) -> list[str]:
    """Those of the files `code` that the stage runs or depends on by name."""
    said = " ".join(stage.commands)
    named = {*re.findall(r"[^\s'\";|&=]+", said)}
    for module in re.findall(r"-m\s+([\w.]+)", said):
        path = module.replace(".", "/")
        named |= {f"{top}{path}{end}" for top in ("", "src/") for end in (".py", "/__main__.py")}
    paths = {
        posixpath.normpath(posixpath.join(base, one)) for base in (stage.base, "") for one in named
    }
    return [path for path in code if path in paths or path in stage.deps]
