"""Mailboxes of jobs in the storage: `jobs/<id>/`, between who submits a build and who runs it.

`job.json` (contract `job`) is created by one submitter and never changes; `<sha256>.pack` is the
commit. The job creates `taken.json`, so that it runs once; writes `state.json` and `log.txt` as it
goes; and `result.json` (contract `job-result`) last, after all that it names. `platform.json` says
where the job was handed to, `settled.json` that its end was told to somebody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gitops import contracts, dvcremote, dvcstore, jsontext, sha256, storefiles, utc
from gitops.errors import EvidenceError, Where

FOLDER = "jobs"
# After its end a mailbox stays so long for who may still wait; after this it goes in any case:
# no timeout of a job is longer.
ENDED = timedelta(days=7)
LOST = timedelta(days=30)
_ID = re.compile(r"[0-9a-f]{16}-[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class Job:
    """What is to be built; see the contract `job`. `needs` are DVC's hashes, `timeout` minutes."""

    id: str
    compute: str
    commit: str
    tree: str
    models: tuple[str, ...]
    tool: str
    pack: str
    size: int
    needs: tuple[str, ...]
    timeout: int
    by: str
    created: datetime

    @property
    def deadline(self) -> datetime:
        """When it is given up, by the submitter's clock."""
        return self.created + timedelta(minutes=self.timeout)

    def document(self) -> bytes:
        """The bytes of job.json."""
        found = {
            "version": 1,
            **asdict(self),
            "tool": {"version": self.tool},
            "pack": {"sha256": self.pack, "size": self.size},
            "created": utc.text(self.created),
        }
        del found["size"]
        contracts.validate("job", json.loads(json.dumps(found)), Where("job.json"))
        return json.dumps(found, indent=2, ensure_ascii=False).encode() + b"\n"


@dataclass(frozen=True)
class Ticket:
    """All that a job is told: where the storage is, which mailbox, and the hash of its job.json."""

    url: str
    options: Mapping[str, str]
    id: str
    digest: str

    def text(self) -> str:
        """As one word for a command line; there's no secret in it."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)


def ticket(text: str) -> Ticket:
    """The ticket of `Ticket.text`.

    Raises:
        EvidenceError: it's none.
    """
    try:
        found = jsontext.loads(text)
        made = Ticket(
            str(found["url"]), dict(found["options"]), str(found["id"]), str(found["digest"])
        )
    except (ValueError, TypeError, KeyError) as error:
        raise EvidenceError(f"not the ticket of a job: {error}", fix="submit it again") from error
    if not _ID.fullmatch(made.id):
        raise EvidenceError(f"{made.id!r} is no job", fix="submit it again")
    return made


def ticket_for(root: Path, job: str, document: bytes) -> Ticket:
    """The ticket for a mailbox in the default remote of `root`: options that are no secrets."""
    place = dvcremote.remote(root)
    options = {name: one for name, one in place.options.items() if name in dvcstore.OPEN}
    return Ticket(place.url, options, job, sha256.of(document))


class Mailbox:
    """One mailbox. What storage fails at becomes a ToolError; what isn't there is None."""

    def __init__(self, root: Path, files: storefiles.Files, job: str) -> None:
        self.root, self.files, self.id = root, files, job

    def read(self, name: str) -> bytes | None:
        with dvcstore.refusals(self.root, f"didn't give {name} of a job"):
            return self.files.read(self._path(name))

    def write(self, name: str, content: bytes) -> None:
        with dvcstore.refusals(self.root, f"didn't take {name} of a job"):
            self.files.write(self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Whether it wasn't there yet; see `storefiles.Files.create`."""
        with dvcstore.refusals(self.root, f"didn't take {name} of a job"):
            return self.files.create(self._path(name), content)

    def upload(self, source: Path, name: str) -> None:
        with dvcstore.refusals(self.root, f"didn't take {name} of a job"):
            self.files.upload(source, self._path(name))

    def download(self, name: str, target: Path) -> bool:
        """Whether it was there."""
        with dvcstore.refusals(self.root, f"didn't give {name} of a job"):
            return self.files.download(self._path(name), target)

    def attempt(self, number: int) -> Mailbox:
        """The mailbox of another attempt at the same."""
        return Mailbox(self.root, self.files, f"{self.id.partition('-')[0]}-{number}")

    def _path(self, name: str) -> str:
        return f"{FOLDER}/{self.id}/{name}"


@contextmanager
def opened(root: Path) -> Iterator[storefiles.Files]:
    """The default remote of `root`, where mailboxes are.

    Raises:
        ConfigError, ToolError: it can't be used or reached.
    """
    dvcremote.preflight(root)
    with storefiles.opened(root) as files:
        yield files


def parse_job(raw: bytes, name: str) -> Job:
    """The job of a job.json, held against its contract; errors call it `name`.

    Raises:
        EvidenceError: it's none.
    """
    found = parsed("job", raw, name)
    return Job(
        **{key: found[key] for key in ("id", "compute", "commit", "tree", "timeout", "by")},
        models=tuple(found["models"]),
        tool=found["tool"]["version"],
        pack=found["pack"]["sha256"],
        size=found["pack"]["size"],
        needs=tuple(found["needs"]),
        created=datetime.fromisoformat(found["created"]),
    )


def parsed(contract: str, raw: bytes, name: str) -> dict[str, Any]:
    """A document of a mailbox, held against its contract.

    Raises:
        EvidenceError: it isn't by its contract.
    """
    path = Path(name)
    try:
        document: Any = contracts.parse_json(raw.decode(), path)
    except UnicodeDecodeError as error:
        raise EvidenceError("not UTF-8", fix="submit the build again", where=Where(path)) from error
    contracts.validate(contract, document, Where(path))
    return dict(document)


def loose(raw: bytes | None) -> dict[str, Any]:
    """A document that only tells, as far as it can be read."""
    try:
        found = jsontext.loads(raw or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Found:
    """A mailbox as garbage collection sees it: its files, and when the last was written."""

    id: str
    files: tuple[str, ...]
    written: datetime

    @property
    def key(self) -> str:
        """What all attempts at the same have in common."""
        return self.id.partition("-")[0]

    @property
    def number(self) -> int:
        """Which attempt it is, from 1."""
        return int(self.id.partition("-")[2])

    @property
    def ended(self) -> bool:
        names = {path.rpartition("/")[2] for path in self.files}
        return bool(names & {"result.json", "settled.json"})


def everything(files: storefiles.Files) -> tuple[Found, ...]:
    """All mailboxes; whatever else lies below jobs/ isn't ours.

    Raises:
        Exception: whatever this kind of remote raises; see `dvcstore.refusals`.
    """
    found: dict[str, Found] = {}
    for path, written in files.listed(FOLDER).items():
        parts = path.split("/")
        if len(parts) < 3 or not _ID.fullmatch(parts[1]):
            continue
        known = found.get(parts[1], Found(parts[1], (), written))
        last = max(known.written, written)
        found[parts[1]] = replace(known, files=(*known.files, path), written=last)
    return tuple(found[one] for one in sorted(found))


def old(found: Sequence[Found], now: datetime) -> tuple[Found, ...]:
    """Those that nobody waits for any more, by the store's clock as far as it is known.

    An attempt stays as long as a later one at the same does: attempts are counted from the first,
    and platforms remember their names.
    """
    latest = min(now, max((one.written for one in found), default=now))
    gone = [one for one in found if latest - one.written > (ENDED if one.ended else LOST)]
    last: dict[str, int] = {}
    for one in found:
        if one not in gone:
            last[one.key] = max(one.number, last.get(one.key, 0))
    return tuple(one for one in gone if one.number > last.get(one.key, 0))


def needed(root: Path, files: storefiles.Files, found: Sequence[Found]) -> set[str]:
    """DVC's hashes that jobs read and have stored, which no commit may have yet.

    Raises:
        EvidenceError: a mailbox can't be read: without it nobody can tell.
    """
    hashes: set[str] = set()
    for one in found:
        box = Mailbox(root, files, one.id)
        if (raw := box.read("job.json")) is not None:
            hashes.update(parse_job(raw, f"{FOLDER}/{one.id}/job.json").needs)
        if (raw := box.read("result.json")) is not None:
            hashes.update(parsed("job-result", raw, f"{FOLDER}/{one.id}/result.json")["objects"])
    return hashes
