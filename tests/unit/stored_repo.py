"""A repository of one model whose objects lie in a remote of any kind, written by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gitops import config, dvc, dvcstore, git, storage

SETTINGS = "version: 1\nproject: demo\nmodels:\n  demo: {task: binary}\n"
PIPELINE = """\
stages:
  prepare: {cmd: prepare, deps: [data.csv], outs: [prepared]}
  package: {cmd: train, deps: [prepared], outs: [models/package]}
  evaluate:
    cmd: evaluate
    deps: [prepared, models/package]
    outs: [evaluation]
    metrics: [{metrics.json: {cache: false}}]
"""
# Files by their path in what is tracked; "" is a tracked file itself.
FILES = {
    "data.csv": {"": b"a,b\n1,2\n"},
    "prepared": {"train.csv": b"1\n", "test.csv": b"2\n"},
    "models/package": {"model.onnx": b"onnx" * 99, "docs/card.md": b"# Card\n"},
    "evaluation": {"predictions.parquet": b"rows"},
}


def md5_of(raw: bytes) -> str:
    return hashlib.md5(raw).hexdigest()


@dataclass(frozen=True)
class StoredRepo:
    """`url` and `options` are those of the default remote."""

    root: Path
    url: str
    options: Mapping[str, str]

    def start(self) -> StoredRepo:
        """An empty repository that has the remote."""
        (self.root / ".dvc").mkdir(parents=True)
        section = "['remote \"storage\"']\n"
        self.write(".dvc/config", f"[core]\n    remote = storage\n{section}    url = {self.url}\n")
        lines = "".join(f"    {name} = {value}\n" for name, value in self.options.items())
        self.write(".dvc/config.local", section + lines)
        self.write(".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
        self.write("gitops.yaml", SETTINGS)
        self.write("dvc.yaml", PIPELINE)
        git.init(self.root, "main")
        return self

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def put(self, md5: str, raw: bytes) -> None:
        """Make these the stored bytes of an object."""
        with dvcstore.stores(self.root) as (_, remote):
            remote.odb.add_bytes(md5, raw)

    def remove(self, md5: str) -> None:
        with dvcstore.stores(self.root) as (_, remote):
            remote.odb.fs.rm_file(remote.odb.oid_to_path(md5))

    def built(self, files: Mapping[str, dict[str, bytes]] = FILES) -> str:
        """Store `files`, commit what tracks them, and return the commit."""
        outs = {path: self.store(path, content) for path, content in files.items()}
        data = {**outs["data.csv"], "path": "data.csv"}
        self.write("data.csv.dvc", json.dumps({"outs": [data]}))
        metrics = {"path": "metrics.json", "md5": md5_of(b"{}"), "size": 2, "hash": "md5"}
        self.write("metrics.json", "{}")
        stages = {
            "prepare": {"deps": [{"path": "data.csv"}], "outs": [outs["prepared"]]},
            "package": {"outs": [outs["models/package"]]},
            "evaluate": {"outs": [outs["evaluation"], metrics]},
        }
        self.write("dvc.lock", json.dumps({"schema": "2.0", "stages": stages}, indent=1))
        return git.commit(self.root, "Build")

    def store(self, path: str, files: Mapping[str, bytes]) -> dict[str, object]:
        """Store files, and the listing of a folder; the entry of dvc.lock."""
        hashes = {name: md5_of(raw) for name, raw in files.items()}
        md5, size = hashes.get("", ""), sum(len(raw) for raw in files.values())
        with dvcstore.stores(self.root) as (_, remote):
            for name, raw in files.items():
                remote.odb.add_bytes(hashes[name], raw)
            if not md5:
                md5 = dvc.listing_md5(hashes)
                remote.odb.add_bytes(md5, listing_of(hashes))
        return {"path": path, "hash": "md5", "md5": md5, "size": size}

    def needs(self, commit: str) -> tuple[storage.Need, ...]:
        at = git.snapshot(self.root, commit)
        return storage.needs(at, config.load_at(self.root, commit), ["demo"])

    def wrong(self, commit: str, *, fresh: bool = False) -> list[tuple[str, str]]:
        """Path and kind of each problem."""
        problems = storage.prove(self.root, self.needs(commit), lambda line: None, fresh=fresh)
        return [(one.path, one.kind) for one in problems]


def listing_of(hashes: Mapping[str, str]) -> bytes:
    """A folder's listing as DVC stores it."""
    paths = sorted(hashes, key=lambda path: path.split("/"))
    listed = [{"md5": hashes[path], "relpath": path} for path in paths]
    return json.dumps(listed, sort_keys=True).encode()
