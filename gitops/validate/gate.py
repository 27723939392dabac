"""The gate: for each model evidence, policy, verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gitops import affected
from gitops.errors import GitopsError
from gitops.validate import evidence, policy
from gitops.validate.evidence import Commands, text_at
from gitops.validate.evidence.revisions import Target
from gitops.validate.judge import judge
from gitops.validate.model import Verdict
from gitops.validate.policy import Policy

Say = Callable[[str], None]


def policy_of(root: Path, found: Target) -> Policy:
    """The policy that the candidate is judged by, read from the base."""
    return policy.load(
        found.environment,
        lambda path: text_at(root, found.base.commit, path),
        found.base.commit,
        first=not found.release,
        today=datetime.now(UTC).date(),
    )


@dataclass(frozen=True)
class Outcome:
    """A verdict, and the static card of the candidate's package."""

    verdict: Verdict
    card: str


@dataclass(frozen=True)
class Judged:
    """Verdicts, and the models on which there can be none, with the reason."""

    outcomes: tuple[Outcome, ...]
    unusable: tuple[tuple[str, GitopsError], ...]

    @property
    def passed(self) -> bool:
        """Whether every model goes on."""
        return not self.unusable and all(one.verdict.passed for one in self.outcomes)


def run(
    root: Path,
    models: Sequence[str],
    *,
    base: str | None,
    environment: str | None,
    say: Say,
    head: str = "HEAD",
    commands: Commands | None = None,
) -> Judged:
    """The verdicts on models of `head`; without names on those that its commits touch, else on all.

    Raises:
        GitopsError: there's no base, policy or model of that name. What is wrong with the evidence
            of one model is in the result.
    """
    found = evidence.target(root, base=base, environment=environment, head=head)
    # Before the evidence, which takes long.
    rules = policy_of(root, found)
    today = datetime.now(UTC).date()
    chosen = [found.proposed.model(name)[0] for name in models]
    outcomes: list[Outcome] = []
    unusable: list[tuple[str, GitopsError]] = []
    chosen = chosen or list(affected.between(root, found.base.commit, found.head.commit))
    for model in dict.fromkeys(chosen or found.proposed.models):
        try:
            with evidence.gather(
                root,
                model,
                base=base,
                environment=environment,
                head=head,
                say=say,
                commands=commands,
            ) as gathered:
                card = gathered.candidate_package.folder / "MODEL_CARD.md"
                verdict = judge(gathered, rules, today, say)
                outcomes.append(Outcome(verdict, card.read_text(errors="replace")))
        except GitopsError as error:
            unusable.append((model, error))
    return Judged(tuple(outcomes), tuple(unusable))
