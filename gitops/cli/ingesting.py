"""`gitops data ingest`: a snapshot from its source, and the road of `gitops data update` for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops import dvc, dvcremote, git
from gitops.cli import screen
from gitops.errors import ConfigError
from gitops.git import graph
from gitops.git import remote as remotes

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.ingest.snapshot import Snapshot
    from gitops.scaffold.data import Updated


@dataclass(frozen=True)
class Ingested:
    """What became of a model's snapshot; `updated` is None where it is proposed already.

    `pushed` is the branch of a proposal, `url` its pull request's page.
    """

    model: str
    origin: Mapping[str, object]
    updated: Updated | None
    pushed: str | None = None
    url: str | None = None

    @property
    def state(self) -> str:
        if self.updated is None:
            return "proposed before"
        if not self.updated.changed:
            return "unchanged"
        return "proposed" if self.pushed else "changed"

    def text(self) -> str:
        """For people."""
        rows = f"{self.origin['rows']:,} rows of {self.origin['place']}"
        if self.updated is None:
            return f"{self.model}: {rows} are on the branch {self.pushed} already: nothing to do"
        if not self.updated.changed:
            return f"{self.model}: {rows}, as they were taken before: nothing to do"
        lines = [f"{self.model}: {rows}", self.updated.text()]
        if self.pushed:
            lines.append(self.url or f"pushed {self.pushed}: no forge is known for this remote")
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """For programs."""
        more = self.updated.as_json() if self.updated else {"model": self.model, "changed": False}
        origin = dict(self.origin)
        return {
            "state": self.state,
            **more,
            "source": origin,
            "pushed": self.pushed,
            "url": self.url,
        }


def sources(config: Config, name: str | None) -> list[str]:
    """The models to take a snapshot for: the one that is named, or all that declare a source.

    Raises:
        UsageError: there's no such model.
        ConfigError: none declares a source.
    """
    if name is not None:
        return [config.model(name)[0]]
    found = [one for one, model in config.models.items() if model.source]
    if not found:
        raise ConfigError(
            "no model declares a source of its table",
            fix="gitops add source sql --model MODEL --set url_env=NAME --set table=NAME",
        )
    return found


def ingest(
    root: Path, config: Config, name: str, *, branch: str | None, commit: bool, force: bool
) -> Ingested:
    """Take the snapshot of a model's table, and let it replace the table if it differs.

    Raises:
        GitopsError: as `ingest.taken` and `data.update`; nothing has changed.
    """
    from gitops import ingest as stage
    from gitops.scaffold import data

    _, model = config.model(name)
    if (branch or commit) and model.data is not None:  # before a source is read for nothing
        data.require_committable(root, root / model.path / model.data, branch)
    with stage.taken(root, name, model, screen.say) as snapshot:
        updated = _update(root, config, name, snapshot, branch, commit=commit, force=force)
        return Ingested(name, snapshot.origin, updated)


def _update(
    root: Path,
    config: Config,
    name: str,
    snapshot: Snapshot,
    branch: str | None,
    *,
    commit: bool,
    force: bool,
) -> Updated:
    from gitops.scaffold import data

    return data.update(
        root,
        config,
        snapshot.file,
        name,
        branch=branch,
        commit=commit,
        force=force,
        say=screen.say,
        origin=snapshot.origin,
    )


def propose(root: Path, config: Config, name: str, *, force: bool, remote: str | None) -> Ingested:
    """`ingest`, pushed as a branch of its own, with a pull request where a forge is known.

    The branch is called by what it holds: the same snapshot is proposed once, even if nobody has
    merged it, or somebody has closed the request. The work tree is afterwards as it was.

    Raises:
        GitopsError: as `ingest`; or the storage, the remote or the forge refuses.
    """
    from gitops import ingest as stage

    _, model = config.model(name)
    refs = remotes.peek(root, remotes.choose(root, remote))
    here = git.head(root)
    with stage.taken(root, name, model, screen.say) as snapshot:
        branch = f"data/{name}-{dvc.file_md5(snapshot.file)[:8]}"
        there = refs.heads.get(branch)
        if there is not None and not graph.is_ancestor(root, there, here.commit):
            return Ingested(name, snapshot.origin, None, branch)
        url = None
        try:
            updated = _update(root, config, name, snapshot, branch, commit=True, force=force)
            if updated.commit is None:
                return Ingested(name, snapshot.origin, updated)
            place = dvcremote.remote(root)
            if not place.is_folder and not dvcremote.rehearsed(place):
                dvc.push(root, [f"{updated.path}.dvc"])
            tip = remotes.Update(f"refs/heads/{branch}", there, updated.commit)
            remotes.push(root, refs, [tip])
            url = _request(root, config, refs.remote, updated, snapshot)
        finally:
            if git.branch(root) == branch != here.branch:
                git.leave(root, branch, here)
                dvc.checkout(root, [f"{model.path}/{model.data}"])
        return Ingested(name, snapshot.origin, updated, branch, url)


def _request(
    root: Path, config: Config, remote: str, updated: Updated, snapshot: Snapshot
) -> str | None:
    """The page of the pull request; None without a forge."""
    from gitops import forge

    there = forge.of(remotes.url(root, remote), os.environ)
    if there is None or updated.branch is None:
        return None
    title = f"New data for {updated.model}: {snapshot.rows:,} rows"
    base = config.environments[0].branch
    return there.open_or_update(updated.branch, base, title, _body(updated, snapshot.origin)).url


def _body(updated: Updated, origin: Mapping[str, Any]) -> str:
    lines = [f"`{updated.path}` as `{origin['place']}` has it now: {origin['rows']:,} rows."]
    lines += ["", "```text", updated.diff.text().replace("```", "'''"), "```", ""]
    lines += [
        "The model isn't built on it yet. On this branch:",
        "",
        "```sh",
        f"gitops build {updated.model} --push",
        "git push",
        "```",
        "",
        "then the checks judge the model as they do any other change.",
    ]
    return "\n".join(lines)
