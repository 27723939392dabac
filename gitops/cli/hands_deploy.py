"""What deploying needs of the other stages: the remote's word, packages, records, a way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops import git
from gitops.cli import screen
from gitops.errors import AnswerNo, EvidenceError, GitopsError, ToolError, UsageError

if TYPE_CHECKING:
    from gitops.config import Config
    from gitops.deploy.model import Desired, Release, Variant, Wanted
    from gitops.package import Package
    from gitops.promote.fetch import Chosen
    from gitops.promote.world import World

Json = dict[str, Any]


@dataclass
class Remote:
    """The `Source` of deploying to places of one kind: an environment as a git remote has it."""

    root: Path
    local: Config
    environment: str
    remote: str
    kind: str
    _world: World | None = None
    _chosen: dict[str, Chosen] = field(default_factory=dict)

    def desired(self) -> Desired:
        from gitops.promote import world as worlds

        return self.by(worlds.read(self.root, self.remote))

    def by(self, world: World) -> Desired:
        """What the environment should be by a remote that was read."""
        from gitops.deploy.model import Desired
        from gitops.promote import hotfix, marks

        self._world = world
        environment = self.local.environment(self.environment)
        tip = world.tip(environment)
        settings = world.settings(tip, environment)
        ruling = settings.environment(self.environment)
        hold = marks.hold(world, self.environment, world.signers(tip))
        models: dict[str, Wanted] = {}
        faults: dict[str, GitopsError] = {}
        notes = []
        kinds = {name: one.deploy.target for name, one in settings.models.items()}
        assigned = [
            name for name in kinds if world.registry.assigned(name, self.environment) is not None
        ]
        if not assigned:
            raise self._nothing(settings)
        for model in [name for name, kind in kinds.items() if kind == self.kind]:
            if model not in assigned:
                notes.append(f"{model}: nothing is assigned to {self.environment} yet")
                continue
            try:
                models[model] = self._wanted(world, settings, model)
            except GitopsError as error:
                faults[model] = error
        if tip.commit[:16] not in hotfix.recorded(world):
            notes.append(
                f"the tip of {environment.branch} is on no record: it was pushed or merged there by"
                f" hand (gitops promote --finish {self.environment} judges and assigns it)"
            )
        return Desired(
            project=settings.project,
            environment=self.environment,
            listen=settings.listen(self.environment),
            rollout=ruling.rollout,
            held=f"{hold.why} ({hold.name})" if hold else "",
            models=models,
            kinds=kinds,
            faults=faults,
            notes=tuple(notes),
            tip=tip.commit,
        )

    def changed(self) -> bool:
        from gitops.git import remote as gitremote

        return self._world is None or gitremote.peek(self.root, self.remote) != self._world.refs

    def fetch(self, variant: Variant, folder: Path) -> None:
        from gitops.promote import fetch

        world, (model, _, version) = self._known(), variant.release.rpartition("@")
        chosen = self._chosen.get(variant.package)
        if chosen is None:  # not what is assigned now: the champion of a rollout
            chosen = fetch.choose(world, self.local, model, self.environment, version)
        if chosen.package != variant.package:
            raise EvidenceError(
                f"{variant.release} is another package now than the one that runs",
                fix="gitops log --verify names what was altered",
            )
        fetch.into(world, chosen, folder)

    def checkout(self, commit: str, folder: Path) -> None:
        import secrets
        import shutil

        half = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        half.parent.mkdir(parents=True, exist_ok=True)
        try:
            git.clone(self.root, half, commit)
            half.replace(folder)
        finally:
            shutil.rmtree(half, ignore_errors=True)

    def scored(self, release: Release, found: Package, rows: list[Json]) -> dict[str, list[Any]]:
        import polars as pl

        from gitops import package
        from gitops.reproduce import scoring

        frame = pl.DataFrame(rows, infer_schema_length=None)
        if found.session is not None:
            return package.score(found, frame).frame.to_dict(as_series=False)
        with scoring.command_at(self.root, release.commit, release.model, screen.say) as command:
            return package.score(found, frame, command=command).frame.to_dict(as_series=False)

    def record(self, documents: list[Json]) -> None:
        from gitops.promote import records

        what = ", ".join(dict.fromkeys(f"{one['release']} {one['state']}" for one in documents))
        records.append(
            self.root,
            self.remote,
            lambda here: records.deployment_paths(here, documents),
            f"Record a deployment in {self.environment}: {what}",
        )

    def roll_back(self, model: str, to: str, why: str) -> None:
        from gitops.cli.hands import hands
        from gitops.promote import rollback
        from gitops.promote import world as worlds

        world = worlds.read(self.root, self.remote)
        going = rollback.plan(world, self.local, self.environment, to=to, model=None)
        for name, one in going.proposed.models.items():
            now = going.settings.models.get(name)
            if now is not None and now.deploy.target != one.deploy.target:
                # The whole tree goes back, and with it where the model runs: nobody asked for that.
                raise AnswerNo(
                    f"going back to {to} would also take {name} from {now.deploy.target} to"
                    f" {one.deploy.target}, which only a person decides; the champion answers",
                    fix=f"gitops rollback {self.environment} --to {to}, or promote a version that"
                    " runs where it does now",
                )
        rollback.carry_out(world, going, hands(self.root), why=why, model=model)

    def who(self) -> str:
        from gitops.promote import statement

        return statement.who(self.root)

    def _wanted(self, world: World, settings: Config, model: str) -> Wanted:
        from gitops.deploy.model import Release, Wanted
        from gitops.promote import fetch

        chosen = fetch.choose(world, settings, model, self.environment, None)
        self._chosen[chosen.package] = chosen
        declared = settings.models[model]
        commit = chosen.entry.commit
        release = Release(
            model=model,
            name=chosen.entry.tag.name,
            assignment=chosen.assignment.tag.name if chosen.assignment else "",
            commit=commit,
            tree=git.snapshot(self.root, commit).tree,
            package=chosen.package,
        )
        code = declared.serve.script is not None or declared.predict is not None
        return Wanted(release, declared.serve, code)

    def _known(self) -> World:
        if self._world is None:
            raise ToolError("the git remote wasn't read yet", fix="run it again")
        return self._world

    def _nothing(self, settings: Config) -> GitopsError:
        """What to do where nothing is assigned."""
        names = [one.name for one in settings.environments]
        at = names.index(self.environment)
        if not at:
            following = f"gitops promote {names[0]} {names[1]}" if names[1:] else ""
            return UsageError(
                f"nothing is ever assigned to {self.environment}, the first environment: models are"
                " promoted from it",
                fix=f"{following}, then gitops deploy {names[1]}; or serve a build of yours as it"
                " is: gitops serve models/package"
                if following
                else "serve a build of yours as it is: gitops serve models/package",
            )
        return AnswerNo(
            f"nothing is assigned to {self.environment} yet: there is nothing to deploy",
            fix=f"gitops promote {names[at - 1]} {self.environment}",
        )
