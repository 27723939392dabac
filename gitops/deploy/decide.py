"""What to do about a model: wanted against served against under way. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from gitops.config.serving import SHADOW, Rollout
from gitops.deploy.model import Plan, Served, Under, Variant, Wanted

Kind = Literal[
    "nothing",  # it runs as assigned
    "settle",  # the champion's bytes are what is wanted: it alone answers, as it is assigned now
    "first",  # nothing is served yet: tested aside, then served
    "swap",  # at once: loaded and tested beside the old one, then it takes over
    "roll_out",  # loaded and tested, then step by step
    "go_on",  # a rollout under way
    "undo",  # traffic is back with the champion; the branch isn't yet
    "remove",  # the environment no longer has this model
]


@dataclass(frozen=True)
class Decision:
    """What to do, and why. `gone` says why a challenger that was under way isn't any more."""

    kind: Kind
    why: str
    gone: str = ""


def decide(
    wanted: Wanted | None,
    served: Served | None,
    under: Under | None,
    policy: Rollout,
    held: str,
    serve: dict[str, Any],
) -> Decision:
    """What to do about one model; `serve` is how the plan says that it is to answer.

    `wanted` None: the environment has no such model.
    """
    if wanted is None:
        gone = "the environment no longer has this model"
        return Decision("remove", gone, gone) if served else Decision("nothing", "")
    release = wanted.release
    gone = _gone(wanted, under)
    if served is None:
        return Decision("first", "nothing is served yet", gone)
    if served.champion.package == release.package:
        if under or served.challenger:
            return Decision("settle", gone or "the champion is what is wanted", gone)
        if served.champion.assignment != release.assignment or served.serve != serve:
            return Decision("settle", "the same package, assigned anew or answering otherwise")
        return Decision("nothing", "it runs as assigned")
    if under is not None and not gone:
        return _under(under, served)
    if not policy.steps:
        return Decision("swap", "the environment takes new versions at once", gone)
    if held:
        return Decision("swap", "the environment is held: no rollout", gone)
    if release.before(served.champion.release):
        return Decision("swap", "it goes back to an older version: no rollout", gone)
    return Decision("roll_out", f"in {len(policy.steps)} steps", gone)


def _gone(wanted: Wanted, under: Under | None) -> str:
    """Why what is under way is over; "" if it isn't, or nothing is."""
    if under is None or under.release.assignment == wanted.release.assignment:
        return ""
    if wanted.release.package == under.champion.package:
        if under.phase == "undoing":
            return under.why  # our own rollback, which went through before we were killed
        return f"rolled back by hand: {wanted.release.assignment}"
    return f"superseded by {wanted.release.name}"


def _under(under: Under, served: Served) -> Decision:
    if under.phase == "undoing":
        return Decision("undo", under.why)
    if under.phase == "testing":
        return Decision("roll_out", "its tests were interrupted")
    if served.challenger is None:
        # The plan is written first, so somebody was killed in between: the plan is right.
        return Decision("undo", under.why)
    return Decision("go_on", "")


# ---------------------------------------------------------------- the plan's next form


def serve_of(wanted: Wanted | None) -> dict[str, Any]:
    """How the plan says that a model answers, whichever version does.

    Code is each variant's own, and so not among what both have in common.
    """
    own = {"script": None, "workdir": None}
    return wanted.serve.model_dump(mode="json") | own if wanted else {}


def shown(under: Under) -> str:
    """Where a rollout is, in words."""
    if under.phase == "undoing":
        return "the traffic is back with the champion, the branch isn't yet"
    if under.phase == "testing":
        return "being tested, without traffic"
    step = under.policy.steps[under.step]
    what = "shadow" if step == SHADOW else f"{step} %"
    return f"step {under.step + 1} of {len(under.policy.steps)}: {what}"


def loaded(served: Served, challenger: Variant, serve: dict[str, Any]) -> Served:
    """The challenger is loaded, and answers only whoever asks for its version."""
    return Served(served.champion, serve, challenger, share=0, ignore=served.ignore)


def stepped(served: Served, under: Under) -> Served:
    """The traffic of a rollout's present step."""
    step = under.policy.steps[min(under.step, len(under.policy.steps) - 1)]
    return Served(
        under.champion,
        served.serve,
        served.challenger,
        share=None if step == SHADOW else int(step),
        shadow=step == SHADOW,
        key=under.policy.key,
        salt=under.release.assignment,
        ignore=served.ignore,
    )


def alone(champion: Variant, serve: dict[str, Any], ignore: Iterable[str] = ()) -> Served:
    """One version answers everybody; `ignore` are the columns of those that did before."""
    return Served(champion, serve, ignore=tuple(sorted(ignore)))


def with_model(
    plan: Plan | None, model: str, served: Served | None, names: tuple[str, str]
) -> Plan:
    """The next generation of the plan, with (None: without) this model; `names` are project and
    environment, for the first."""
    models = dict(plan.models) if plan else {}
    models.pop(model, None)
    if served is not None:
        models[model] = served
    generation = plan.generation + 1 if plan else 1
    return Plan(generation, *names, dict(sorted(models.items())))
