"""One model of several: its closure alone is moved onto the target, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gitops import config as configuration
from gitops import git, yamlfile
from gitops.config import Config
from gitops.errors import AnswerNo
from gitops.git import write
from gitops.promote.closure import Closure
from gitops.promote.closure import of as closure_of
from gitops.promote.plan import Change, Plan
from gitops.promote.world import World, closures
from gitops.yamlfile import edits


def of(plan: Plan, model: str) -> Plan:
    """The plan for one model alone.

    Raises:
        UsageError: there's no such model.
        AnswerNo: the target has it.
    """
    plan.proposed.model(model)
    chosen = tuple(one for one in plan.changes if one.model == model)
    if not chosen:
        raise AnswerNo(
            f"{plan.target.name} has {model} as it is at the source", fix="gitops status"
        )
    stops = tuple(one for one in plan.stops if one.model in ("", model))
    return replace(plan, changes=chosen, along=(), fast_forward=False, stops=stops)


def tip(world: World, plan: Plan) -> str:
    """The commit on top of the target that has the model as the source has it."""
    (one,) = plan.changes
    source = plan.source.name if plan.source else "?"
    text = (
        f"Promote {one.model} {one.version or ''}".rstrip()
        + f" from {source} to {plan.target.name}\n\n"
        f"Gitops-Source: {source} {plan.at.commit}\nGitops-Model: {one.model}\n"
    )
    return commit(world, plan, one, text)


def commit(world: World, plan: Plan, one: Change, message: str) -> str:
    """A commit on top of the target with the model's closure as it is at the plan's source.

    Raises:
        AnswerNo: the result wouldn't be the model that was judged, or would change another one.
    """
    tree = write.tree(world.root, plan.base.tree, _files(world, plan, one.closure))
    made = write.commit(world.root, tree, [plan.base.commit], message)
    there = git.snapshot(world.root, made)
    config = configuration.load_at(world.root, made)
    found = closure_of(there, config, one.model)
    if apart := _apart(one.closure.parts, found.parts):
        raise AnswerNo(
            f"{one.model} on top of {plan.target.branch} would not be the one that was judged:"
            f" {', '.join(apart)}",
            fix=f"promote all models together: gitops promote SOURCE {plan.target.name}",
        )
    old = closures(world.root, plan.base, plan.settings)
    for name in old.keys() & config.models.keys() - {one.model}:
        if apart := _apart(old[name].parts, closure_of(there, config, name).parts):
            raise AnswerNo(
                f"{one.model} shares {', '.join(apart)} with {name}, which would change too",
                fix=f"promote all models together: gitops promote SOURCE {plan.target.name}",
            )
    return made


def _files(world: World, plan: Plan, new: Closure) -> dict[str, write.File | None]:
    old_config: Config = plan.settings
    files: dict[str, write.File | None] = {}
    if new.model in old_config.models:
        files |= dict.fromkeys(closure_of(plan.base, old_config, new.model).files)
    modes = git.modes(world.root, plan.at.commit)
    for path in new.files:
        files[path] = write.File(modes[path], plan.at.files[path])
    section = _section(plan, new.model)
    if section is not None:
        files[configuration.FILE] = write.File("100644", write.blob(world.root, section))
    return files


def _section(plan: Plan, model: str) -> bytes | None:
    """The target's gitops.yaml with the source's section of the model; None if that is the same."""
    texts = [at.read([configuration.FILE])[configuration.FILE] for at in (plan.base, plan.at)]
    path = Path(configuration.FILE)
    old, new = (yamlfile.parse(text, path).data["models"].get(model) for text in texts)
    if old == new:
        return None
    return edits.apply(texts[0].decode(), path, {("models", model): new}).encode()


def _apart(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The first paths that differ."""
    paths = sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
    return [*paths[:5], *([f"{len(paths) - 5} more"] if len(paths) > 5 else [])]
