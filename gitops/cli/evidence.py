"""What a rollout has shown: the prediction log and its labels, as what the verdict is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gitops.deploy.model import Under
    from gitops.deploy.state import State
    from gitops.rollout import Verdict
    from gitops.serve.labels import Label
    from gitops.serve.log import Prediction
    from gitops.signature import Signature


@dataclass
class Gathered:
    """What was read so far of one rollout, which began at `since`; a position is what `read` of the
    log gives."""

    salt: str
    since: dict[str, Any]
    lines: list[Prediction] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    at: dict[str, Any] = field(default_factory=dict)
    verdict: Verdict | None = None


@dataclass
class Evidence:
    """Judges rollouts by the log in a state folder; what was read once is not read again."""

    state: State
    _known: dict[str, Gathered] = field(default_factory=dict)

    def judge(self, model: str, under: Under) -> Verdict:
        """The verdict on all that the rollout has shown up to now.

        Raises:
            EvidenceError: champion and challenger can't be compared, or a package is gone.
            UsageError: the metric isn't one of the model's task.
        """
        from gitops.rollout import gather, judge, metric_of, rows_of, span

        found = self._gathered(model, under)
        if not self._more(model, found) and found.verdict is not None:
            return found.verdict
        signatures = self._signatures(under)
        signature = signatures[under.release.name]
        metric = metric_of(under.policy.metric, signature.task)
        rows = rows_of(
            columns_of(found, signatures),
            metric,
            signature.task,
            classes=tuple(dict.fromkeys(c for one in signatures.values() for c in one.classes)),
            slow_ms=under.policy.guardrails.slow_ms,
        )
        limits = span(metric, signature.task)
        found.verdict = judge(gather(rows), under.policy, metric=metric, span=limits)
        return found.verdict

    def _gathered(self, model: str, under: Under) -> Gathered:
        known = self._known.get(model)
        if known is None or (known.salt, known.since) != (under.release.assignment, under.since):
            from gitops.serve.segments import Position

            known = Gathered(under.release.assignment, under.since)
            known.at = {
                kind: Position({name: int(size) for name, size in offsets.items()})
                for kind, offsets in under.since.items()
            }
            self._known[model] = known
        return known

    def _more(self, model: str, found: Gathered) -> bool:
        """Read what has come since the last look; whether there was anything."""
        from gitops.serve import labels, log

        more = False
        folder = self.state.folder
        while True:
            lines, found.at["log"] = log.read(folder / "log" / model, found.at.get("log"))
            if not lines:
                break
            # Answers that chance didn't give (to whoever names a version) carry no salt.
            kept = [one for one in lines if one.salt == found.salt]
            found.lines += kept
            more |= bool(kept)
        while True:
            said, found.at["labels"] = labels.read(folder / "labels", found.at.get("labels"))
            if not said:
                return more
            found.labels += said
            more = True

    def _signatures(self, under: Under) -> dict[str, Signature]:
        from gitops import signature

        return {
            name: signature.read(self.state.package(package) / "signature.json")
            for name, package in (
                (under.champion.release, under.champion.package),
                (under.release.name, under.release.package),
            )
        }


def columns_of(found: Gathered, signatures: dict[str, Signature]) -> dict[str, NDArray[Any]]:
    """The table of answers and labels, and when each label came."""
    import numpy as np

    from gitops.serve.join import join

    table, _ = join(found.lines, found.labels, signatures)
    came: dict[tuple[str, int], float] = {}
    for one in found.labels:
        place = (one.id, one.row)
        came[place] = min(came.get(place, one.at), one.at)
    known = [came.get(place, math.nan) for place in zip(table["id"], table["row"], strict=True)]
    return {
        **{name: np.array(table[name].to_list()) for name in table.columns},
        "known": np.array(known, np.float64),
    }
