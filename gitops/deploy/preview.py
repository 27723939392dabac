"""What deploying would come to, with nothing fetched, tested or changed."""

from __future__ import annotations

from gitops.config.serving import Rollout
from gitops.deploy import decide
from gitops.deploy.model import Desired, Plan, Under
from gitops.deploy.reconcile import Reconciler


def preview(reconciler: Reconciler, desired: Desired) -> Plan | None:
    """The plan that `reconcile` would come to; of a rollout, that of its first step.

    Raises:
        ConfigError: as `Reconciler.reconcile`.
    """
    reconciler.target.place(desired)
    plan = reconciler.state.plan()
    running = dict(plan.models) if plan else {}
    for model in sorted(running.keys() | desired.models.keys()):
        wanted, served = desired.models.get(model), running.get(model)
        under, serve = reconciler.state.under_way().get(model), decide.serve_of(wanted)
        policy = Rollout() if reconciler.course else desired.rollout
        found = decide.decide(wanted, served, under, policy, desired.held, serve)
        following = served
        if found.kind == "remove":
            following = None
        elif found.kind == "roll_out" and wanted and served:
            begun = Under(wanted.release, served.champion, desired.rollout, "stepping", "")
            loaded = decide.loaded(served, reconciler.stock.variant(wanted), serve)
            following = decide.stepped(loaded, begun)
        elif found.kind in ("first", "swap", "settle") and wanted:
            following = decide.alone(reconciler.stock.variant(wanted), serve)
        if following != served:
            plan = decide.with_model(plan, model, following, reconciler.names)
    return plan
