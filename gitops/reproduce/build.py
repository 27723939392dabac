"""Build what changed, restore what somebody else built, prove what came out, write it down."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops import dvc, dvcremote, dvcstore, git, jsontext, objects, uv
from gitops.errors import AnswerNo, ConfigError, EvidenceError, ToolError
from gitops.reproduce import fingerprint, locks, record, unchanged
from gitops.reproduce.guard import only_one
from gitops.reproduce.model import Built, Outcome, Place, Say, tracked

if TYPE_CHECKING:
    from gitops.config import Config

_SHARED = ("gitops.yaml", "uv.lock", "pyproject.toml", ".python-version", "build.env")
_STATES = (
    (re.compile(r"Running stage '(?:.*:)?([^:']+)'"), "ran"),
    (re.compile(r"Stage '(?:.*:)?([^:']+)' didn't change"), "unchanged"),
    (re.compile(r"Stage '(?:.*:)?([^:']+)' is cached"), "restored"),
)
_FROM = {"ran": "", "restored": " (from the cache)"}
# What DVC says of itself; the rest are the stages' own words.
_NOISE = (
    *(">", "'", "\t", "Updating lock", "Generating lock", "Verifying data sources"),
    *("To track", "To enable", "Use `dvc", "Data and pipelines"),
)
_EXITED = re.compile(r"ERROR: failed to reproduce .*: failed to run: ")  # its own words say more


def build(
    root: Path,
    config: Config,
    models: tuple[Place, ...],
    *,
    push: bool | None,
    commit: bool,
    say: Say,
) -> Outcome:
    """Build `models`. `push` None means: to a folder remote yes, to a network remote no.

    Raises:
        ConfigError, EvidenceError: the pipeline, its inputs or what it wrote can't be used.
        ToolError: a stage, the environment or the remote failed.
    """
    wanted = _wanted(root, push)
    if push and not wanted:
        say("a rehearsal: nothing is pushed to the storage")
    private = git.private(root)
    with only_one(private, say) as lock:
        results = {
            place.name: done
            for place in models
            if (done := confirmed(root, private, place.name, wanted))
        }
        todo = tuple(place for place in models if place.name not in results)
        if not todo:
            return Outcome(tuple(results[place.name] for place in models), wanted, None, ())
        before = git.changes(root)
        if wanted:
            dvcremote.preflight(root)
        _hold_sources(root, todo, say)
        _restore(root, todo, say)
        _environment(root, say)
        results |= _untouched(root, private, todo)
        for place in todo:
            if place.name not in results:
                results[place.name] = _one(place, lock, say)
        if wanted:
            say(f"pushing to {wanted}")
        outputs = [item.path for item in tracked(todo) if item.cached] if wanted else []
        remember(root, todo, private, config.models, wanted, push=outputs)
        outcome = Outcome(tuple(results[place.name] for place in models), wanted, None, ())
        return locks.commit(root, outcome, before, todo, commit)


def stale(models: Sequence[Place]) -> dict[str, tuple[str, ...]]:
    """Stages that would have to run, by model: empty when every dvc.lock is up to date.

    Stages of another pipeline, which a model depends on, stand under that one's dvc.yaml.

    Judged by the hashes in dvc.lock, so that data and outputs needn't be here. Stages that run at
    every build, whatever changed, don't count.
    """
    for place in models:
        _require_pipeline(place)
    root = models[0].root
    named = {place.pipeline: place.name for place in models}
    addresses = dvc.would_run(root, list(named))
    found = {}
    others = [one.rpartition(":")[0] or "dvc.yaml" for one in addresses]
    for pipeline in dict.fromkeys([*named, *others]):
        file = root / pipeline
        always = dvc.always_run(file) if file.is_file() else frozenset()
        stages = [one for one in dvc.stages_of(addresses, pipeline) if one not in always]
        if stages:
            found[named.get(pipeline, pipeline)] = tuple(stages)
    return found


def nothing_to_do(root: Path, names: Sequence[str], push: bool | None) -> Outcome | None:
    """The fast path: the outcome of a build that has nothing to do, or None if that isn't certain.

    gitops.yaml itself isn't read: its bytes are among those that were written down.
    """
    private = git.private(root)
    first = unchanged.recall(_note(private, names[0])) if names else _any_note(private)
    if first is None:
        return None
    wanted = _wanted(root, push)
    models = [confirmed(root, private, each, wanted) for each in names or first.models]
    found = tuple(one for one in models if one is not None)
    return Outcome(found, wanted, None, ()) if len(found) == len(models) else None


def confirmed(root: Path, private: Path, name: str, wanted: str) -> Built | None:
    """The fast path for one model; `wanted` is the remote that must have it all, or empty."""
    note = unchanged.recall(_note(private, name))
    if note is None or not unchanged.confirms(note, root, _SHARED, wanted):
        return None
    known = record.latest(private, name, note.lock)
    if known is None:
        return None
    return _unchanged(name, known)


def _unchanged(name: str, known: Mapping[str, Any]) -> Built:
    stages = dict.fromkeys((stage["name"] for stage in known["stages"]), "unchanged")
    return Built(name, "unchanged", stages, known["metrics"], known["test_set"])


def _untouched(root: Path, private: Path, models: tuple[Place, ...]) -> dict[str, Built]:
    """Those of several models that were built here and are up to date: one question for all."""
    if len(models) == 1:
        return {}
    locked = [place for place in models if place.lock.is_file()]
    changed = dvc.stale(root, [place.pipeline for place in locked]) if locked else {}
    quiet = [place for place in locked if not dvc.stages_of(changed, place.pipeline)]
    known = {place.name: record.latest(private, place.name, place.lock_digest()) for place in quiet}
    return {name: _unchanged(name, document) for name, document in known.items() if document}


def remember(
    root: Path,
    places: tuple[Place, ...],
    private: Path,
    models: Iterable[str],
    pushed: str,
    *,
    push: Sequence[str] = (),
) -> None:
    """Write down what the fast path goes by; `push` these outputs first, to the remote `pushed`."""
    states = [unchanged.observe(root, place.folder, _SHARED) for place in places]
    changed = dvc.stale(root, [place.pipeline for place in places], push=push)
    for place, state in zip(places, states, strict=True):
        if state is not None and not dvc.stages_of(changed, place.pipeline):
            note = unchanged.Note(place.folder, tuple(models), state, pushed)
            unchanged.remember(_note(private, place.name), note)


def _note(private: Path, name: str) -> Path:
    return private / "unchanged" / f"{name}.json"


def _any_note(private: Path) -> unchanged.Note | None:
    files = sorted((private / "unchanged").glob("*.json"))
    return unchanged.recall(files[0]) if files else None


def _wanted(root: Path, push: bool | None) -> str:
    """The remote to push to, or ""; None means: to a folder yes, to a network remote no."""
    remote = dvcremote.remote(root)
    if dvcremote.rehearsed(remote):
        return ""
    return dvcremote.shown(remote.url) if (remote.is_folder if push is None else push) else ""


def _hold_sources(root: Path, models: tuple[Place, ...], say: Say) -> None:
    """Data must be what its .dvc file says: DVC would record whatever lies there as the new data.

    After a change of branch the other branch's data lies there; it is known, so ours is brought.

    Raises:
        EvidenceError: the bytes are nobody's: an edit in place, which bringing ours would lose.
    """
    sources = [
        item for item in tracked(models) if item.stage is None and (root / item.path).exists()
    ]
    other = [item for item, _ in dvc.damaged(root, sources)]
    if not other:
        return
    with dvcstore.stores(root) as (cache, _):
        unknown = [
            item.path for item in other if not cache.path(dvc.hash_of(root / item.path)).exists()
        ]
    if unknown:
        raise EvidenceError(
            f"{', '.join(unknown)} was changed in place: its .dvc file tracks other bytes",
            fix=f"`dvc add {unknown[0]}` to take the change,"
            f" or `dvc checkout --force {unknown[0]}` to undo it",
        )
    say(f"bringing the data of this revision: {', '.join(item.path for item in other)}")
    objects.bring(root, other)


def _restore(root: Path, models: tuple[Place, ...], say: Say) -> None:
    """Bring what is tracked but not here, from the cache or the remote, and prove its bytes."""
    items = [item for item in tracked(models) if item.cached]
    absent = [item for item in items if not (root / item.path).exists()]
    if not absent:
        return
    say(f"restoring {', '.join(item.path for item in absent)}")
    try:
        objects.bring(root, absent)
    except ToolError:
        if any(item.stage is None and not (root / item.path).exists() for item in absent):
            raise
        say("the remote can't be reached: building anew what is missing")


def _environment(root: Path, say: Say) -> None:
    if (root / "uv.lock").is_file():
        if not (root / ".venv").is_dir():
            say("setting up the project's locked environment (once)")
        uv.sync(root)


def _one(place: Place, lock: int, say: Say) -> Built:
    """Run the changed stages of one model, prove what they wrote, and write the build record."""
    _require_pipeline(place)
    started = datetime.now(UTC)
    stages = run_stages(place, lock, say)
    restored = [one for one in place.tracked() if stages.get(one.stage or "") == "restored"]
    objects.prove(place.root, restored)
    test_set = prove_outputs(place, say)
    metrics = read_metrics(place)
    record.write(
        place,
        started=started,
        stages=stages,
        metrics=metrics,
        test_set=test_set,
        machine=fingerprint.of(place.root),
    )
    state = (
        "built"
        if "ran" in stages.values()
        else "restored"
        if "restored" in stages.values()
        else "unchanged"
    )
    return Built(place.name, state, stages, metrics, test_set)


def run_stages(place: Place, lock: int, say: Say, *, fresh: bool = False) -> dict[str, str]:
    """Run what changed (`fresh`: everything); stage name -> `ran`, `unchanged` or `restored`.

    `lock` is the descriptor of the build lock, which the stages hold too.

    Raises:
        ToolError: a stage failed; with the end of what it said, else of what DVC says.
    """
    stages: dict[str, str] = {}
    said: list[str] = []
    own: list[str] = []  # what the stage that runs has said

    def listen(line: str) -> None:
        said.append(line)
        for pattern, state in _STATES:
            if match := pattern.match(line):
                stages[match.group(1)] = state
                own.clear()
                if state != "unchanged":
                    say(f"{place.name}: {match.group(1)}{_FROM[state]}")
                return
        if line and not line.startswith(_NOISE) and not _EXITED.match(line):
            own.append(line)
            say(f"  {line}")

    env = uv.stage_environment(place.root)
    code = dvc.repro(place.root, [place.pipeline], listen, fresh=fresh, env=env, pass_fds=[lock])
    if code:
        failed = next((name for name in reversed(stages) if stages[name] == "ran"), "")
        tail = "\n  ".join(own[-20:] or [line for line in said[-20:] if line])
        raise ToolError(
            f"model {place.name}: stage {failed or '(before the first)'} failed:\n  {tail}",
            fix=f"mend it, then `gitops build {place.name}`: stages that finished are kept",
        )
    return stages


def prove_outputs(place: Place, say: Say) -> str:
    """Hold package and evaluation against their contracts; the test set's identity."""
    from gitops import evaluation, package

    say(f"{place.name}: checking package and evaluation")
    if not place.package.exists():
        raise EvidenceError(
            f"model {place.name}: its stages ran, and none made {place.declared.package}",
            fix=f"gitops add packaging {place.name}; or name it: models.{place.name}.package",
        )
    found = package.read(place.package)
    if found.signature.task != place.declared.task:
        raise EvidenceError(
            f"{place.package}/signature.json says task {found.signature.task!r},"
            f" gitops.yaml says {place.declared.task!r}",
            fix="make them agree",
        )
    table = evaluation.read(place.evaluation, found.signature)
    if found.signature.runtime.kind == "onnx":
        evaluation.ask(found, table, rows=2000)
    return table.test_set


def read_metrics(place: Place) -> dict[str, float]:
    """The numbers of metrics.json, for people; none if the model doesn't write it."""
    if not place.metrics.is_file():
        return {}
    try:
        numbers = jsontext.loads(place.metrics.read_text("utf-8"))
    except ValueError as error:
        raise EvidenceError(
            f"{place.metrics} isn't JSON: {error}", fix="mend the stage that writes it"
        ) from error
    return {
        name: value
        for name, value in numbers.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _require_pipeline(place: Place) -> None:
    if not (place.base / "dvc.yaml").is_file():
        raise ConfigError(
            f"model {place.name} has no pipeline: {place.base / 'dvc.yaml'} isn't there",
            fix="describe its training under `wrap:` in gitops.yaml and run `gitops add packaging`",
        )


def answer_stale(found: dict[str, tuple[str, ...]]) -> AnswerNo:
    """The refusal of `gitops build --check`."""
    lines = [f"{model}: {', '.join(stages)} would run" for model, stages in found.items()]
    return AnswerNo(
        "dvc.lock is stale:\n  " + "\n  ".join(lines),
        fix="gitops build, then commit dvc.lock with the change",
    )
