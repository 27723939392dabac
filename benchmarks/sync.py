"""One change of a template of 60 files, brought into a project that was edited; many models."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks import templates
from benchmarks.cases import BIN, PROJECT, Case
from benchmarks.measure import Command
from gitops import config
from gitops.scaffold import desired, generator, journal, lock

MODELS = 1000
_PROJECT = str(templates.ANSWERS["project"])
_CONFIG = f"""\
version: 1
project: {_PROJECT}
storage: {{remote: {templates.ANSWERS["storage"]}}}
models:
  late: {{task: binary}}
"""
_FILE = f"{templates.ANSWERS['package']}/part_0/module_0.py"
_TEMPLATE, _EDIT = (b"# line 3 of plain text", b"# changed"), (b"# line 9 of plain text", b"# mine")


def update(folder: Path, env: Mapping[str, str]) -> Case:
    """Project and template both changed one file, on different lines; all processes count.

    cookiecutter can't update: it renders all files over what is there, and the edit is lost.
    """
    top, commands = folder / "updated", []
    for name, (write, make, line) in _TOOLS.items():
        source, project = top / name / "template", top / name / "out" / _PROJECT
        source.mkdir(parents=True)
        write(source)
        _commit(source, env, "v1")
        make(source, project, env)
        _commit(project, env, "v0")
        _replace(project / _FILE, *_EDIT)
        _commit(project, env, "v1")
        _replace(next(path for path in source.rglob("*module_0.py*")), *_TEMPLATE)
        _commit(source, env, "v2")
        paths = {"source": source, "out": project.parent}
        arguments = [str(BIN / line[0]), *(part.format_map(paths) for part in line[1:])]
        commands.append(Command(name, arguments, project, partial(_reset, project, env)))
    work = f"sync after one template change, {templates.FILES} files (cookiecutter: rendered anew)"
    return Case(work, 0.8, tuple(commands), check=same_files)


def same_files(folder: Path) -> None:
    """Raise RuntimeError unless the change has come to the edit, in the same way everywhere."""
    found = {tool: (folder / "updated" / tool / "out" / _PROJECT / _FILE) for tool in _TOOLS}
    merged = {tool: file.read_bytes() for tool, file in found.items() if tool != "cookiecutter"}
    ours = merged["gitops"]
    if set(merged.values()) != {ours} or not all(new in ours for _, new in (_TEMPLATE, _EDIT)):
        raise RuntimeError(f"the merged files differ: {', '.join(map(str, found.values()))}")


def many_models(folder: Path, env: Mapping[str, str]) -> Case:
    """`gitops sync --check` where nothing is to be done."""
    fleet = folder / "fleet"
    line = (sys.executable, "-m", "benchmarks.monorepo", fleet, str(MODELS))
    _run(*line, cwd=PROJECT, env=env)
    command = Command("gitops", [str(BIN / "gitops"), "sync", "--check"], fleet)
    return Case(f"sync --check, {MODELS} models", 3.0, (command,), rounds=3)


def _ours(source: Path, project: Path, env: Mapping[str, str]) -> None:
    """As `gitops new` leaves a project of this generator."""
    project.mkdir(parents=True)
    (project / config.FILE).write_text(_CONFIG)
    answers = json.loads((source / "answers.json").read_bytes()) | {"storage_url": "/storage"}
    made = desired.build(project, config.load(project), generator.compose([source]), answers)
    files = [(file.path, file.content) for file in made.files]
    changes = [journal.Change(path, text) for path, text in files]
    changes.append(journal.Change(lock.PATH, lock.dump(made.lock)))
    journal.write(changes, project, project.parent / "work")


def _copier(source: Path, project: Path, env: Mapping[str, str]) -> None:
    _run(BIN / "copier", "copy", "--defaults", "--quiet", source, project, cwd=source, env=env)


def _cruft(source: Path, project: Path, env: Mapping[str, str]) -> None:
    _run(BIN / "cruft", "create", *_NO_INPUT, project.parent, source, cwd=source, env=env)


def _cookiecutter(source: Path, project: Path, env: Mapping[str, str]) -> None:
    _run(BIN / "cookiecutter", *_NO_INPUT, project.parent, source, cwd=source, env=env)


def _write_copier(folder: Path) -> None:
    """What `copier update` needs: its own answers in the project."""
    templates.write_copier(folder)
    text = "{{ _copier_answers|to_nice_yaml }}"
    (folder / "template" / "{{ _copier_conf.answers_file }}.jinja").write_text(text)


_Write = Callable[[Path], None]
_Make = Callable[[Path, Path, Mapping[str, str]], None]
_NO_INPUT = ("--no-input", "--output-dir")
_AGAIN = ["--overwrite-if-exists", *_NO_INPUT, "{out}", "{source}"]
_TOOLS: dict[str, tuple[_Write, _Make, list[str]]] = {
    "gitops": (templates.write_ours, _ours, ["gitops", "sync"]),
    "copier": (_write_copier, _copier, ["copier", "update", "--defaults", "--quiet"]),
    "cruft": (templates.write_cookiecutter, _cruft, ["cruft", "update", "--skip-apply-ask"]),
    "cookiecutter": (templates.write_cookiecutter, _cookiecutter, ["cookiecutter", *_AGAIN]),
}


def _commit(folder: Path, env: Mapping[str, str], tag: str) -> None:
    for line in (["init"], ["add", "--all"], ["commit", "--quiet", "-m", tag], ["tag", tag]):
        _run("git", *line, cwd=folder, env=env)


def _reset(project: Path, env: Mapping[str, str]) -> None:
    """As it was before the change came."""
    _run("git", "reset", "--quiet", "--hard", "v1", cwd=project, env=env)
    _run("git", "clean", "--quiet", "-fdx", cwd=project, env=env)
    shutil.rmtree(project / ".git" / "gitops", ignore_errors=True)


def _replace(file: Path, old: bytes, new: bytes) -> None:
    text = file.read_bytes()
    if text.count(old + b"\n") != 1:
        raise RuntimeError(f"{file} hasn't just one line {old!r}")
    file.write_bytes(text.replace(old + b"\n", new + b"\n"))


def _run(*words: str | Path, cwd: Path, env: Mapping[str, str]) -> None:
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        line = " ".join(map(str, words))
        raise RuntimeError(f"`{line}` failed:\n{done.stdout}{done.stderr}")
