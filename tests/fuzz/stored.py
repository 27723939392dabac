"""Loaders of what lies in commits, tags, the storage and at forges, where others wrote it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import requests

from gitops import config, dvc, dvclock, evaluation, git, mailbox, objects, signature
from gitops.errors import GitopsError
from gitops.forge import Forge, azure, github
from gitops.forge.address import OnAzure, OnGitHub
from gitops.forge.model import marker
from gitops.infra import bicep, hcl, stacks
from gitops.pipelines import definition
from gitops.scaffold import table
from gitops.serve import label_file, plan
from gitops.validate import post, verdict

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "tests" / "contracts"
PACKAGE = CONTRACTS / "packages" / "binary" / "package"
MD5 = "d" * 32
CONFIG = b"version: 1\nproject: a\nmodels: {late: {task: binary}}\n"

Load = Callable[[bytes], object]


@dataclass(frozen=True)
class _Commit(git.Snapshot):
    """A commit whose files are bytes at hand."""

    held: Mapping[str, bytes]

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        return {path: self.held[path] for path in paths if path in self.held}


def _commit(folder: Path, files: Mapping[str, bytes]) -> _Commit:
    ids = {path: hashlib.sha1(raw).hexdigest() for path, raw in files.items()}
    return _Commit(folder, "0" * 40, "1" * 40, ids, {}, files)


PIPELINE = b"""stages:
  train: {cmd: python train.py, deps: [train.py, data.csv], params: [seed], outs: [models/package]}
"""
LOCK = {
    "schema": "2.0",
    "stages": {
        "train": {
            "cmd": "python train.py",
            "deps": [
                {"path": "train.py", "hash": "md5", "md5": MD5, "size": 3},
                {"path": "data.csv", "md5": MD5, "size": 3},
            ],
            "params": {"params.yaml": {"seed": 1, "train.depth": 3}},
            "outs": [
                {"path": "models/package", "hash": "md5", "md5": f"{MD5}.dir", "size": 9,
                 "nfiles": 2},
            ],
        }
    },
}  # fmt: skip
TRACKED = {"outs": [{"md5": MD5, "size": 3, "hash": "md5", "path": "data.csv"}]}


def locked(folder: Path) -> Load:
    """dvc.lock, dvc.yaml or parameters of a commit: whichever the bytes look like."""

    def load(data: bytes) -> object:
        files = {"dvc.lock": json.dumps(LOCK).encode(), "dvc.yaml": PIPELINE, "train.py": b"x\n"}
        files |= {"data.csv.dvc": json.dumps(TRACKED).encode(), "params.yaml": b"seed: 1\n"}
        named, _, content = data.partition(b"\n")
        files[next((path for path in files if path.encode() == named), "dvc.lock")] = content
        at = _commit(folder, files)
        found = dvclock.read(at, ".")
        assert found is not None
        return (dvclock.stale(at, found), dvclock.sources(at, found), dvclock.everything(at))

    return load


def locks() -> Iterable[bytes]:
    yield b"dvc.lock\n" + json.dumps(LOCK).encode()
    yield b"dvc.yaml\n" + PIPELINE
    yield b"data.csv.dvc\n" + json.dumps(TRACKED).encode()
    yield b"params.yaml\n" + b"seed: 1\ntrain: {depth: 3}\n"


def tracked(folder: Path) -> Load:
    """The same files in a work tree."""

    def load(data: bytes) -> object:
        name, _, content = data.partition(b"\n")
        files = {"dvc.lock": json.dumps(LOCK).encode(), "dvc.yaml": PIPELINE}
        known = next((path for path in (*files, "data.csv.dvc") if path.encode() == name), "")
        for path, raw in {**files, known or "dvc.lock": content}.items():
            (folder / path).write_bytes(raw)
        return dvc.tracked(folder, ["."])

    return load


def listing(folder: Path) -> Load:
    return lambda data: objects.parse_listing(data, "a.dir")


def listings() -> Iterable[bytes]:
    yield json.dumps([{"md5": MD5, "relpath": name} for name in ("model.onnx", "a/b")]).encode()


# ---------------------------------------------------------------- evidence


def _rows() -> tuple[bytes, bytes]:
    raw = pl.read_csv(CONTRACTS / "packages" / "binary" / "test.csv", infer_schema_length=None)
    score = pl.int_range(pl.len()).cast(pl.Float64) / 100
    told = raw.select(
        pl.col("id").cast(pl.String),
        label=pl.col("late").cast(pl.String),
        prediction=pl.when(score >= 0.5).then(pl.lit("true")).otherwise(pl.lit("false")),
        score=score,
        slice_carrier=pl.col("carrier"),
    )
    out = io.BytesIO(), io.BytesIO()
    told.write_parquet(out[0], compression="uncompressed")
    raw.rename({"id": "__id__"}).with_columns(pl.col("__id__").cast(pl.String)).write_parquet(
        out[1]
    )
    return out[0].getvalue(), out[1].getvalue()


def evidence(folder: Path) -> Load:
    """predictions.parquet (first byte `p`) or inputs.parquet of an evaluation."""
    told = signature.read(PACKAGE / "signature.json")
    names = {b"p": evaluation.PREDICTIONS, b"i": evaluation.INPUTS}
    whole = _rows()

    def load(data: bytes) -> object:
        for name, raw in zip(names.values(), whole, strict=True):
            (folder / name).write_bytes(raw)
        (folder / names.get(data[:1], evaluation.PREDICTIONS)).write_bytes(data[1:])
        return evaluation.read(folder, told)

    return load


def evidences() -> Iterable[bytes]:
    told, raw = _rows()
    yield b"p" + told
    yield b"i" + raw


def tables(folder: Path) -> Load:
    """A user's CSV or Parquet file."""

    def load(data: bytes) -> object:
        path = folder / ("table.parquet" if data[:4] == b"PAR1" else "table.csv")
        path.write_bytes(data)
        return table.read(path)

    return load


def csvs() -> Iterable[bytes]:
    yield b'id,delay,carrier\n1,3.5,AA\n2,,"U,A"\n3,-1e3,\n'
    yield "id;größe;when\r\n1;2;2020-01-01\r\n2;3;2020-01-02T10:00:00Z\r\n".encode()
    yield _rows()[1].replace(b"__id__", b"row_id")


def label_files(folder: Path) -> Load:
    """Labels that somebody brings: .csv or .jsonl."""

    def load(data: bytes) -> object:
        path = folder / ("labels.jsonl" if data[:1] == b"{" else "labels.csv")
        path.write_bytes(data)
        shutil.rmtree(folder / "state", ignore_errors=True)
        (folder / "state" / "labels").mkdir(parents=True)
        return label_file.add(path, folder / "state", "late")

    return load


def label_seeds() -> Iterable[bytes]:
    yield b"id,row,label,value\na,0,true,1.5\nb,1,false,\n"
    yield b'{"id": "a", "row": 0, "label": "yes"}\n{"id": "b", "row": 1, "label": "no"}\n'


# ---------------------------------------------------------------- documents


def gate(folder: Path) -> Load:
    """A verdict that a job of the pull request wrote, as `gitops gate --post` takes it.

    Its digest is made right, as whoever forges a verdict would.
    """
    declared = config.parse(CONFIG, folder / "gitops.yaml")
    folder = folder / "report"
    folder.mkdir(exist_ok=True)

    def load(data: bytes) -> object:
        try:
            found = json.loads(data)
            if isinstance(found, dict):
                found["digest"] = verdict.digest_of(found)
                data = json.dumps(found).encode()
        except (ValueError, TypeError, RecursionError):
            pass
        (folder / post.FILE).write_bytes(data)
        return list(post.comments(post.read(folder, declared)))

    return load


def verdicts() -> Iterable[bytes]:
    for path in sorted((CONTRACTS / "verdict" / "valid").glob("*.json")):
        found = json.loads(path.read_bytes())
        yield json.dumps({**found, "model": "late", "environment": "production"}).encode()


def contract(name: str) -> Callable[[Path], Load]:
    """A document of a mailbox or of the records, by its contract."""
    return lambda folder: lambda data: mailbox.parsed(name, data, f"{name}.json")


def boxed(folder: Path) -> Load:
    """job.json, or the ticket of a job."""

    def load(data: bytes) -> object:
        if data[:1] == b"T":
            return mailbox.ticket(data[1:].decode("utf-8", "replace"))
        return mailbox.parse_job(data, "job.json").document()

    return load


def jobs() -> Iterable[bytes]:
    for path in sorted((CONTRACTS / "job" / "valid").glob("*.json")):
        yield path.read_bytes()
    yield (
        b"T"
        + mailbox.Ticket("s3://a/b", {"region": "x"}, f"{'0' * 16}-1", "1" * 64).text().encode()
    )


def plans(folder: Path) -> Load:
    def load(data: bytes) -> object:
        (folder / plan.NAME).write_bytes(data)
        found = plan.read(folder / plan.NAME)
        plan.write(folder / "again.json", found)
        return found

    return load


def pins(folder: Path) -> Load:
    (folder / definition.OWN_PINS).parent.mkdir(parents=True, exist_ok=True)

    def load(data: bytes) -> object:
        (folder / definition.OWN_PINS).write_bytes(data)
        return definition.pins(root=folder)

    return load


def whatif(folder: Path) -> Load:
    """What Azure predicts."""

    def load(data: bytes) -> object:
        found = stacks._flat(stacks._json(data.decode("utf-8", "replace"), "what-if"))
        return stacks.prediction(found.get("changes") or (), (), frozenset())

    return load


def whatifs() -> Iterable[bytes]:
    delta = [{"path": "a", "propertyChangeType": "Modify", "before": 1, "after": 2}]
    nested = [{"path": "b", "propertyChangeType": "Array", "children": delta}]
    name = "/subscriptions/s/resourceGroups/g/providers/A.B/c/d"
    change = {"changeType": "Modify", "resourceId": name, "delta": [*delta, *nested]}
    yield json.dumps(
        {"properties": {"changes": [change, {**change, "changeType": "Create"}]}}
    ).encode()


def infrastructure(folder: Path) -> Load:
    """A repository's own .tf and .bicep files."""

    def load(data: bytes) -> object:
        kind, _, text = data.partition(b"\n")
        path = folder / ("main.bicep" if kind == b"bicep" else "main.tf")
        path.write_bytes(text)
        return (bicep if kind == b"bicep" else hcl).read(path)

    return load


def infrastructures() -> Iterable[bytes]:
    yield b'tf\nvariable "a" {\n  default = [1, "x-${var.b}"]\n}\nresource "r" "n" {\n  a = 1\n}\n'
    yield b"bicep\nparam a string = 'x'\nresource r 'A.B/c@2020-01-01' = {\n  name: '${a}-b'\n}\n"


# ---------------------------------------------------------------- forges


def _answering(data: bytes) -> Callable[..., requests.Response]:
    """Each request is answered by status and list of `data`; one that writes, by its first item."""
    status, _, body = data.partition(b"\n")
    first = body
    with suppress(ValueError, RecursionError, LookupError, TypeError):
        found = json.loads(body)
        first = json.dumps((found if isinstance(found, list) else found["value"])[0]).encode()

    def request(method: str, url: str, **_: object) -> requests.Response:
        answer = requests.Response()
        answer.status_code = int(status) if re.fullmatch(rb"[1-5]\d\d", status) else 200
        answer._content = body if method == "GET" else first
        return answer

    return request


def forges(folder: Path) -> Load:
    """Answers of GitHub and Azure DevOps, to reviews, a comment and a pull request."""
    at_github = github.connect(OnGitHub("https://localhost", "o", "r"), {"GITHUB_TOKEN": "t"})
    at_azure = azure.connect(OnAzure("https://localhost", "p", "r"), {"SYSTEM_ACCESSTOKEN": "t"})
    both = [
        replace(one, client=replace(one.client, pause=lambda seconds: None))
        for one in (at_github, at_azure)
    ]

    def load(data: bytes) -> object:
        old, requests.request = requests.request, _answering(data)
        try:
            return [taken for one in both for taken in _asked(one)]
        finally:
            requests.request = old

    return load


def _asked(forge: Forge) -> Iterable[object]:
    """What the forge's answers are taken for; nothing where they are refused."""
    for ask in (
        lambda: forge.reviews("0" * 40, "main"),
        lambda: forge.members("o/t"),
        lambda: forge.open_or_update("a", "b", "title", "body"),
    ):
        with suppress(GitopsError):
            yield ask()
    with suppress(GitopsError):
        forge.comment(7, "gate", "text")


def answers() -> Iterable[bytes]:
    """Items that are a pull request, a review, an event, a comment and more, all in one."""
    at = "2026-01-01T00:00:00Z"
    on_github = {
        "number": 7, "html_url": "https://localhost/7", "state": "APPROVED", "merged_at": at,
        "head": {"ref": "a", "sha": "0" * 40, "repo": {"full_name": "o/r"}},
        "base": {"ref": "main"}, "user": {"login": "ada", "type": "User"}, "login": "ada",
        "body": marker("gate"), "id": 3, "commit_id": "0" * 40, "submitted_at": at,
        "event": "head_ref_deleted", "created_at": at, "author_association": "OWNER",
    }  # fmt: skip
    yield b"200\n" + json.dumps([on_github, {**on_github, "login": "eve"}]).encode()
    vote = {
        "CodeReviewThreadType": "VoteUpdate",
        "CodeReviewVotedByIdentity": "1",
        "CodeReviewVoteResult": "10",
    }
    on_azure = {
        "pullRequestId": 7, "status": "active", "sourceRefName": "refs/heads/a",
        "targetRefName": "refs/heads/main", "lastMergeSourceCommit": {"commitId": "0" * 40},
        "reviewers": [{"id": "a-b", "uniqueName": "ada@x", "vote": 10}],
        "id": 1, "sourceRefCommit": {"commitId": "0" * 40}, "createdDate": at,
        "properties": {name: {"$value": value} for name, value in vote.items()},
        "identities": {"1": {"id": "a-b"}}, "identity": {"uniqueName": "ada@x"},
        "comments": [{"id": 1, "commentType": "system", "content": marker("gate"),
                      "author": {"id": "a-b"}}],
        "publishedDate": "2026-01-02T00:00:00Z",
    }  # fmt: skip
    yield b"200\n" + json.dumps({"value": [on_azure]}).encode()
    yield b"200\n[]"
