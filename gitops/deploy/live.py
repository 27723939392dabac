"""What is declared against what runs at a place: nothing is changed, only looked at."""

from __future__ import annotations

from dataclasses import dataclass

from gitops.deploy import decide
from gitops.deploy.model import Desired, Observed, Served, Under
from gitops.deploy.state import State
from gitops.deploy.stock import digest_of
from gitops.deploy.target import Target


@dataclass(frozen=True)
class Live:
    """A model of an environment at its place; None and "": nothing of it runs there.

    `assigned` and `runs` are releases, `package` the digest of what runs, `rollout` where one under
    way is. `drift` says in what it isn't as declared: `gitops deploy ENV` heals that. `deployed`:
    whether this place ever was; what is merely assigned to it hasn't drifted.
    """

    environment: str
    target: str
    model: str
    assigned: str | None
    runs: str | None
    package: str | None
    generation: int | None
    endpoint: str
    healthy: bool
    rollout: str
    drift: tuple[str, ...]
    deployed: bool


def look(environment: str, desired: Desired | None, state: State, target: Target) -> list[Live]:
    """Every model that is declared or served; `desired` None: the remote can't say."""
    plan = state.plan()
    served = dict(plan.models) if plan else {}
    observed, healthy, endpoint = target.observe(), target.ready(), target.listening()
    if desired:
        target.place(desired)
    declared = {name: one.release for name, one in desired.models.items()} if desired else {}
    found = []
    for model in sorted(served.keys() | declared.keys()):
        here, assigned = served.get(model), declared.get(model)
        under = state.under_way().get(model)
        drift = [*_down(observed, healthy, plan.generation if plan else None)] if here else []
        if here and target.listening() != endpoint:
            drift.append(f"it is declared to answer at {target.listening()}")
        if desired is not None and plan is not None:
            drift += _apart(assigned.package if assigned else "", here, under)
        if here is not None:
            drift += _altered(state, here, target.kind)
        found.append(
            Live(
                environment=environment,
                target=target.kind,
                model=model,
                assigned=assigned.name if assigned else None,
                runs=here.champion.release if here and healthy else None,
                package=here.champion.package if here and healthy else None,
                generation=observed.generation,
                endpoint=endpoint,
                healthy=healthy,
                rollout=f"{under.release.name}: {decide.shown(under)}" if under else "",
                drift=tuple(drift),
                deployed=plan is not None,
            )
        )
    return found


def _down(observed: Observed, healthy: bool, wanted: int | None) -> list[str]:
    if not observed.runs:
        return ["the endpoint is down: no server runs"]
    if not healthy:
        return ["the endpoint is down: it isn't ready"]
    if observed.error:
        return [f"a worker serves an older plan: {observed.error}"]
    if observed.generation != wanted:
        return [f"generation {wanted} isn't served by every worker yet"]
    return []


def _apart(package: str, here: Served | None, under: Under | None) -> list[str]:
    """Whether what is assigned is neither what runs nor on its way."""
    if here is None:
        return ["it is assigned, and was never deployed here"]
    if not package:
        return ["it runs, and isn't assigned"]
    if package == here.champion.package or (under and under.release.package == package):
        return []
    return ["another package is assigned than the one that runs"]


def _altered(state: State, here: Served, kind: str) -> list[str]:
    """Of the packages here. Elsewhere than on this machine they are served from images: whoever
    deploys from another machine left none here."""
    return [
        f"the package of {one.release} on this disk was altered"
        for one in here.variants
        if (kind == "local" or state.package(one.package).exists())
        and digest_of(state.package(one.package)) != one.package
    ]
