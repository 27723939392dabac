"""What promotion needs of the other stages, which don't know each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops import git
from gitops.cli import screen
from gitops.errors import EvidenceError

if TYPE_CHECKING:
    from gitops.promote.run import Hands, Judgement


def hands(root: Path) -> Hands:
    """Gate, proofs and build records of this repository."""
    from gitops.promote.run import Hands

    return Hands(
        judge=lambda base, head, environment, models: _judge(root, base, head, environment, models),
        prove=lambda at, models: _prove(root, at, models),
        builds=lambda model, lock: _build(root, model, lock),
        say=screen.say,
    )


def _judge(
    root: Path, base: str, head: str, environment: str, models: Sequence[str]
) -> list[Judgement]:
    from gitops.promote.run import Judgement
    from gitops.reproduce import scoring
    from gitops.validate import gate, reports
    from gitops.validate.verdict import document

    found = gate.run(
        root,
        models,
        base=base,
        environment=environment,
        head=head,
        say=screen.say,
        commands=lambda commit, name: scoring.command_at(root, commit, name, screen.say),
    )
    if found.unusable:
        raise found.unusable[0][1]
    verdicts = [one.verdict for one in found.outcomes]
    if not found.passed:
        screen.aside(reports.terminal(verdicts, columns=100, style=screen.style))
    return [
        Judgement(
            one.model,
            one.passed,
            one.candidate.package,
            (one.policy, one.policy_digest),
            one.digest,
            document(one),
            reports.markdown([one]),
        )
        for one in verdicts
    ]


def _prove(root: Path, at: git.Snapshot, models: Sequence[str]) -> None:
    from gitops import config, storage

    needs = storage.needs(at, config.load_at(root, at.commit), models)
    if problems := storage.prove(root, needs, screen.say):
        lines = [str(one) for one in problems]
        more = [f"and {len(lines) - 20} more"] if len(lines) > 20 else []
        raise EvidenceError(
            f"the storage doesn't have what {at.commit[:12]} needs:\n  "
            + "\n  ".join([*lines[:20], *more]),
            fix="gitops build --push, where it was built; a corrupt object is deleted first",
        )


def _build(root: Path, model: str, lock: str) -> Mapping[str, Any] | None:
    from gitops.reproduce import record

    return record.latest(git.private(root), model, lock)
