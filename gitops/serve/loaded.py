"""A plan whose packages are loaded and proven: what a worker serves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec

from gitops.errors import EvidenceError, Where
from gitops.package import Package
from gitops.serve import model as models
from gitops.serve import runner as runners
from gitops.serve.model import Model, Runner
from gitops.serve.plan import Plan, Serve, Served, Variant
from gitops.serve.refusal import Refusal


@dataclass(frozen=True)
class Route:
    """One model's variants, and how requests are split between them."""

    name: str
    served: Served
    champion: Model
    challenger: Model | None

    @property
    def share(self) -> float:
        """Percent of the units that the challenger answers."""
        return 0.0 if self.challenger is None else self.served.share or 0.0

    @property
    def shadow(self) -> Model | None:
        return self.challenger if self.served.shadow else None

    @property
    def variants(self) -> tuple[tuple[str, Model], ...]:
        """The loaded variants, each with what it is called in answers."""
        if self.challenger is None:
            return (("champion", self.champion),)
        return (("champion", self.champion), ("challenger", self.challenger))


@dataclass(frozen=True)
class Loaded:
    plan: Plan
    routes: Mapping[str, Route]

    @property
    def runners(self) -> tuple[Runner, ...]:
        found = (model for route in self.routes.values() for _, model in route.variants)
        return tuple(model.runner for model in found if model.runner is not None)


async def load(plan: Plan, before: Loaded | None, most_rows: int) -> Loaded:
    """Load, prove and warm up what a plan names, beside what is served.

    What is loaded already is taken over: its bytes on disk don't matter any more.

    Raises:
        GitopsError: a package is broken, isn't the one meant, or doesn't answer.
    """
    old = {} if before is None else dict(before.routes)
    known = {model.variant: model.package for r in old.values() for _, model in r.variants}
    packages = await asyncio.to_thread(_prove, plan, known)
    kept = {} if before is None else before.runners
    routes: dict[str, Route] = {}
    try:
        for name, served in plan.models.items():
            if name in old and old[name].served == served:
                routes[name] = old[name]
            else:
                routes[name] = await _route(name, served, packages, old.get(name), most_rows)
    except BaseException:
        for runner in Loaded(plan, routes).runners:
            if runner not in kept:
                with suppress(Exception):
                    await runner.close()
        raise
    return Loaded(plan, routes)


def _prove(plan: Plan, known: Mapping[Variant, Package]) -> dict[Variant, Package]:
    found = {}
    for name, served in plan.models.items():
        for variant in filter(None, (served.champion, served.challenger)):
            package = known.get(variant) or models.prove(variant)
            if package.signature.model != name:
                raise EvidenceError(
                    f"the package is of the model {package.signature.model!r}, not {name!r}",
                    fix="put the right package in the plan",
                    where=Where(variant.folder),
                )
            found[variant] = package
    return found


async def _route(
    name: str,
    served: Served,
    packages: Mapping[Variant, Package],
    old: Route | None,
    most_rows: int,
) -> Route:
    columns = {
        variant: frozenset(item.name for item in packages[variant].signature.inputs)
        for variant in filter(None, (served.champion, served.challenger))
    }
    others = frozenset(served.ignore).union(*columns.values())
    running = {}
    if old is not None and old.served.serve == served.serve:
        running = {model.variant: model.runner for _, model in old.variants}
    made: list[Model] = []
    for variant in columns:
        package = packages[variant]
        decode = models.decoder(package, served, others, most_rows)
        model = Model(name, variant, package, decode, running.get(variant))
        if model.runner is None:
            model = replace(model, runner=await runners.start(model, _serve(served, variant)))
        await _warm_up(model)
        made.append(model)
    return Route(name, served, made[0], made[1] if len(made) > 1 else None)


def _serve(served: Served, variant: Variant) -> Serve:
    """How a variant answers: its code may be another than the other variant's."""
    code = variant.code
    return replace(served.serve, **vars(code)) if code is not None else served.serve


async def _warm_up(model: Model) -> None:
    """One answer before the first request waits for it."""
    body = msgspec.json.encode({"row": models.example(model.signature)})
    try:
        rows = model.decode(body)
        if model.runner is not None:
            await model.runner.answer(rows)
        else:
            await asyncio.to_thread(model.predict, rows)
    except Refusal as refusal:
        raise EvidenceError(
            f"{model.variant.release} doesn't answer a row of its own training range:"
            f" {refusal.text()}",
            fix="look at the model; nothing was changed",
            where=Where(model.variant.folder),
        ) from refusal
