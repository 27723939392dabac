"""A repository with a long past: `python -m benchmarks.registry DIR [--models N] [--versions N]`.

`DIR/remote.git` is bare, `DIR/clone` a clone of it. 200 models of 10 versions each, of which 8 went
to staging and 7 to production, are 5,000 annotated tags; five models wait at each step.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cases import BIN, Case
from benchmarks.measure import Command
from gitops import config, git
from gitops.promote import statement
from gitops.promote.closure import of as closure_of
from gitops.promote.statement import Revision
from gitops.version import Version

WAITING = 5  # models that the next environment has in an earlier version
_WHEN = 1_700_000_000
_WHO = "Bench <bench@example.org>"
_STAGES = ("prepare", "train", "package", "evaluate")
_OUTS = {
    "prepare": ["data/prepared/train.parquet", "data/prepared/test.parquet"],
    "train": ["models/model.joblib"],
    "package": ["models/package"],
    "evaluate": ["evaluation"],
}


@dataclass
class Stream:
    """The input of `git fast-import`."""

    lines: list[bytes] = field(default_factory=list)
    marks: int = 0

    def text(self, *words: str) -> None:
        self.lines.append((" ".join(words) + "\n").encode())

    def data(self, raw: bytes) -> None:
        self.lines.append(b"data %d\n%s\n" % (len(raw), raw))

    def commit(self, branch: str, message: str, files: dict[str, str], onto: str = "") -> str:
        self.marks += 1
        self.text("commit", f"refs/heads/{branch}")
        self.text("mark", f":{self.marks}")
        self.text("committer", f"{_WHO} {_WHEN + 60 * self.marks} +0000")
        self.data(message.encode())
        if onto:
            self.text("from", onto)
        for path, content in files.items():
            self.text("M 100644 inline", path)
            self.data(content.encode())
        return f":{self.marks}"

    def tag(self, name: str, target: str, message: str) -> None:
        self.text("tag", name)
        self.text("from", target)
        self.text("tagger", f"{_WHO} {_WHEN} +0000")
        self.data(message.encode())

    def send(self, store: Path) -> dict[str, str]:
        """Import it all; commit ids by mark."""
        marks = store / "bench-marks"
        command = ["git", "fast-import", "--quiet", f"--export-marks={marks}"]
        subprocess.run(command, cwd=store, input=b"".join(self.lines), check=True)
        lines = marks.read_text().splitlines()
        marks.unlink()
        return dict(line.split(" ", 1) for line in lines)


def show(folder: Path) -> Case:
    """What runs where: ours asks the remote, and shows the metrics too."""
    clone = _once(folder)
    commands = (
        Command("gitops", [str(BIN / "gitops"), "status"], clone),
        Command("gto", [str(BIN / "gto"), "show"], clone),
    )
    return Case("5,000 tags, 200 models: what runs where", 0.4, commands, rounds=3)


def plan(folder: Path) -> Case:
    """Ours plans a promotion of all models by the remote; the peer makes one tag in the clone."""
    clone, tag = _once(folder), "model-001@v9.0.0"
    forget = partial(subprocess.run, ["git", "tag", "-d", tag], cwd=clone, capture_output=True)
    theirs = [str(BIN / "gto"), "register", "model-001", "--version", "v9.0.0"]
    ours = [str(BIN / "gitops"), "promote", "dev", "staging", "--dry-run"]
    commands = (
        Command("gitops", ours, clone),
        Command("gto", theirs, clone, forget),
    )
    return Case("5,000 tags, 200 models: promote or register", 0.4, commands, rounds=3)


def _once(folder: Path) -> Path:
    place = folder / "registry"
    if not place.is_dir():
        place.mkdir()
        make(place)
    return place / "clone"


def make(folder: Path, models: int = 200, versions: int = 10) -> Path:
    """Make both repositories; the clone's folder."""
    remote, clone = folder / "remote.git", folder / "clone"
    _run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(remote)], folder)
    names = [f"model-{number:03}" for number in range(1, models + 1)]
    past = _commits(remote, names, versions)
    tips = {
        "main": past.order[-1],
        "release/staging": past.order[-1 - WAITING],
        "release/production": past.order[-1 - 2 * WAITING],
    }
    for branch, commit in tips.items():
        _run(["git", "update-ref", f"refs/heads/{branch}", commit], remote)
    _tags(remote, past, tips)
    _records(remote, past, tips)
    _run(["git", "pack-refs", "--all"], remote)
    _run(["git", "repack", "-adq"], remote)
    _run(["git", "clone", "--quiet", str(remote), str(clone)], folder)
    return clone


@dataclass(frozen=True)
class Past:
    """Commits of the integration branch in order, and each model's versions, the oldest first."""

    order: list[str]
    versions: dict[str, list[tuple[Version, str]]]


def _commits(remote: Path, names: list[str], versions: int) -> Past:
    """Every commit builds one model again: round by round, model by model."""
    out = Stream()
    start = {
        "gitops.yaml": _settings(names),
        "src/fleet/__init__.py": "",
        "uv.lock": "version = 1\n",
    }
    start |= {".python-version": "3.12\n", "build.env": "PYTHONHASHSEED=0\n"}
    for name in names:
        start |= _model(name, 0)
    out.commit("main", "Start", start)
    built: dict[str, list[tuple[Version, str]]] = {name: [] for name in names}
    for number in range(versions):
        for name in names:
            mark = out.commit("main", f"Build {name}", _built(name, number))
            built[name].append((Version(1, number, 0), mark))
    ids = out.send(remote)
    each = {name: [(one, ids[mark]) for one, mark in several] for name, several in built.items()}
    return Past([ids[f":{number}"] for number in range(1, out.marks + 1)], each)


def _tags(remote: Path, past: Past, tips: dict[str, str]) -> None:
    place = {commit: at for at, commit in enumerate(past.order)}
    trees = _trees(remote, past.order[-1])
    digests = _closures(remote, past, tips)
    out = Stream()
    one = next(iter(past.versions))
    version_text = _provenance(one, trees, past)
    stage_text = _summary(one, trees, past)
    for name, several in past.versions.items():
        counter = 0
        for version, commit in several:
            closure = digests.get((name, commit), _sha(f"{name}{version}"))
            told = _filled(version_text, name, version, commit, trees[commit], closure)
            out.tag(f"{name}@{version}", commit, told)
        for environment, most in (("staging", 8), ("production", 7)):
            tip = place[tips[f"release/{environment}"]]
            there = [item for item in several if place[item[1]] <= tip][-most:]
            for version, commit in there:
                counter += 1
                told = _filled(stage_text, name, version, commit, trees[commit], "")
                told = told.replace("#ENV", environment).replace('"#N"', str(counter))
                out.tag(f"{name}#{environment}#{counter}", commit, told.replace("#N", str(counter)))
    out.send(remote)


def _closures(remote: Path, past: Past, tips: dict[str, str]) -> dict[tuple[str, str], str]:
    """The digest of the versions that the branches have."""
    place = {commit: at for at, commit in enumerate(past.order)}
    found: dict[tuple[str, str], str] = {}
    for tip in tips.values():
        at, settings = git.snapshot(remote, tip), config.load_at(remote, tip)
        for name, several in past.versions.items():
            commit = [item[1] for item in several if place[item[1]] <= place[tip]][-1]
            if (name, commit) not in found:
                found[name, commit] = closure_of(at, settings, name).digest
    return found


def _records(remote: Path, past: Past, tips: dict[str, str]) -> None:
    trees = _trees(remote, past.order[-1])
    files = {}
    for name, several in past.versions.items():
        for _, commit in several:
            files[f"builds/{trees[commit]}/{name}.json"] = '{"version": 1}\n'
            files[f"verdicts/{trees[commit]}/{name}/staging-{commit[:16]}.json"] = "{}\n"
    for branch, commit in tips.items():
        environment = branch.rpartition("/")[2]
        if environment != "main":
            path = f"promotions/{trees[commit]}/{environment}-{commit[:16]}.json"
            files[path] = '{"version": 1}\n'
    out = Stream()
    out.commit("gitops/records", "Record what was done", files)
    out.send(remote)


# ---------------------------------------------------------------- content


def _settings(names: list[str]) -> str:
    lines = [f"  {name}: {{path: models/{name}, task: binary}}\n" for name in names]
    return "version: 1\nproject: fleet\nstorage: {remote: ../storage}\nmodels:\n" + "".join(lines)


def _model(name: str, number: int) -> dict[str, str]:
    at = f"models/{name}"
    stages = "".join(
        f"  {stage}:\n    cmd: python -m fleet.{stage}\n    deps:\n"
        + "".join(f"      - {dep}\n" for dep in _deps(stage))
        + "    params: [seed, task]\n    outs:\n"
        + "".join(f"      - {out}\n" for out in _OUTS[stage])
        for stage in _STAGES
    )
    table = f"outs:\n- md5: {_md5(name)}\n  size: 1000\n  hash: md5\n  path: table.csv\n"
    return {
        f"{at}/dvc.yaml": f"stages:\n{stages}",
        f"{at}/params.yaml": "seed: 1\ntask: binary\n",
        f"{at}/data/table.csv.dvc": table,
        **{f"{at}/src/{stage}.py": f'"""{stage}"""\n' for stage in _STAGES},
        **_built(name, number),
    }


def _deps(stage: str) -> list[str]:
    shared = ["../../uv.lock", "../../.python-version", "../../build.env", "../../src/fleet"]
    own = {
        "prepare": ["data/table.csv"],
        "train": ["data/prepared/train.parquet"],
        "package": ["data/prepared/train.parquet", "models/model.joblib"],
        "evaluate": ["data/prepared/test.parquet", "models/package"],
    }
    return [*shared, f"src/{stage}.py", *own[stage]]


def _built(name: str, number: int) -> dict[str, str]:
    def item(path: str) -> str:
        folder = ".dir" if path in ("models/package", "evaluation") else ""
        return (
            f"    - path: {path}\n      hash: md5\n"
            f"      md5: {_md5(f'{name}{number}{path}')}{folder}\n      size: 1234\n"
        )

    text = "schema: '2.0'\nstages:\n"
    for stage in _STAGES:
        text += f"  {stage}:\n    cmd: python -m fleet.{stage}\n    deps:\n"
        text += "".join(item(dep) for dep in _deps(stage))
        text += (
            "    params:\n      params.yaml:\n        seed: 1\n        task: binary\n    outs:\n"
        )
        text += "".join(item(out) for out in _OUTS[stage])
    metrics = json.dumps({"rows": 1000, "accuracy": 0.8 + number / 1000})
    return {f"models/{name}/dvc.lock": text, f"models/{name}/metrics.json": f"{metrics}\n"}


def _provenance(name: str, trees: dict[str, str], past: Past) -> str:
    version, commit = past.versions[name][0]
    build: dict[str, Any] = {
        "inputs": [{"path": f"models/{name}/data/table.csv", "md5": _md5(name)}],
        "fingerprint": {"env_lock": "0" * 64, "python": "3.12.1", "cpu": "x86_64"},
        "lock": "0" * 64,
        "builder": {"kind": "ci", "id": "ci"},
        "tool": {"version": "0.0.0"},
        "started": "2026-01-31T12:00:00Z",
        "finished": "2026-01-31T12:01:00Z",
        "metrics": {"rows": 1000, "accuracy": 0.8},
        "test_set": "0" * 64,
    }
    document = statement.provenance(
        model=name,
        version=version,
        at=Revision(commit, trees[commit]),
        repository="git+https://example.org/fleet.git",
        build=build,
        package="1" * 64,
        closure="2" * 64,
        schema="3" * 64,
        bump="minor: models changed",
        record=f"builds/{trees[commit]}/{name}.json",
    )
    return _blank(statement.message(f"{name} {version}: minor", document), name, trees, past)


def _summary(name: str, trees: dict[str, str], past: Past) -> str:
    version, commit = past.versions[name][0]
    at = Revision(commit, trees[commit])
    document = statement.summary(
        kind="promotion",
        model=name,
        version=version,
        at=at,
        tip=at,
        source="dev",
        target="ENV",
        counter=1,
        repository="git+https://example.org/fleet.git",
        package="1" * 64,
        policy=("baseline", "4" * 64),
        verdict="5" * 64,
        approvers=[],
        actor=(_WHO, "mailto:bench@example.org"),
        why="weekly",
        builder="ci",
    )
    document["predicate"]["gitops"]["counter"] = "#N"
    document["predicate"]["gitops"]["target"] = "#ENV"
    uri = f"git+https://example.org/fleet.git#{name}%23#ENV%23#N"
    document["predicate"]["resourceUri"] = uri
    return _blank(statement.message(f"{name} {version}", document), name, trees, past)


def _blank(text: str, name: str, trees: dict[str, str], past: Past) -> str:
    version, commit = past.versions[name][0]
    words = {str(version): "#VERSION", name: "#MODEL", commit: "#COMMIT", trees[commit]: "#TREE"}
    for word, hole in {**words, "2" * 64: "#CLOSURE"}.items():
        text = text.replace(word, hole)
    return text


def _filled(text: str, name: str, version: Version, commit: str, tree: str, closure: str) -> str:
    words = {"#VERSION": str(version), "#MODEL": name, "#COMMIT": commit, "#TREE": tree}
    for hole, word in {**words, "#CLOSURE": closure}.items():
        text = text.replace(hole, word)
    return text


def _trees(remote: Path, tip: str) -> dict[str, str]:
    return dict(_lines(_run(["git", "log", "--format=%H %T", tip], remote)))


def _lines(text: str) -> Iterator[list[str]]:
    return (line.split(" ") for line in text.splitlines())


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _run(command: list[str], cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--versions", type=int, default=10)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True)
    print(make(chosen.folder.resolve(), chosen.models, chosen.versions))
