"""The acts of `gitops demo`: the commands and edits that a user could type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitops import yamlfile

WEATHER = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]


@dataclass(frozen=True)
class Edit:
    """A change of a YAML file in the repository, as a user would type it; `text` says it."""

    file: str
    changes: Mapping[yamlfile.Place, object]
    text: str


@dataclass(frozen=True)
class Ask:
    """An application asks what an environment has for a flight."""

    environment: str


@dataclass(frozen=True)
class Travellers:
    """Flights of the last months ask an environment, and tell what came true, during a command."""

    environment: str
    command: str


@dataclass(frozen=True)
class Served:
    """gitops.yaml says where environments answer, and how production takes a new version."""

    def edit(self, staging: str, production: str) -> Edit:
        """The change, with the addresses of two environments."""
        return Edit(
            "gitops.yaml",
            {
                ("environments", 1, "listen"): staging,
                ("environments", 2, "listen"): production,
                ("environments", 2, "rollout"): {
                    "steps": ["shadow", 20, 50],
                    "each": 400,
                    "until": 25_000,
                },
            },
            f"staging: listen: {staging}; production: listen: {production},"
            " rollout: steps: [shadow, 20, 50]",
        )


Step = str | Edit | Served | Ask | Travellers


@dataclass(frozen=True)
class Act:
    """One step: what it does in a line, and the commands and edits of a user.

    `code` is the exit code that the last command must end with: a gate that lets a bad model pass
    fails the demo.
    """

    title: str
    steps: tuple[Step, ...]
    code: int = 0


_BETTER = Edit(
    "params.yaml",
    {
        ("leave_out",): ["month"],
        ("train", "learning_rate"): 0.05,
        ("train", "max_iter"): 150,
    },
    "leave_out: [month], learning_rate: 0.05, max_iter: 150",
)
_WORSE = Edit(
    "params.yaml",
    {("leave_out",): ["sched_dep_time", "sched_arr_time", "time_hour", *WEATHER]},
    "leave_out: the time of day, and the weather",
)
_NOISE = Edit("params.yaml", {("seed",): 43}, "seed: 43")
_HOTFIX = Edit("params.yaml", {("train", "max_iter"): 120}, "max_iter: 120")
_HASTY = Edit("params.yaml", {("train", "max_iter"): 2}, "max_iter: 2")
_LEAK = Edit(
    "params.yaml",
    {("features", "number", 12): "arr_delay"},
    "features: number: arr_delay, which nobody knows before the flight has landed",
)
_LOOSER = Edit(
    ".gitops/policies/project.yaml",
    {
        ("checks",): [
            {"metric": "roc_auc", "task": "binary", "no_worse_than_champion": {"margin": 0.5}}
        ]
    },
    "a margin of 0.5",
)
_LAX = Edit(
    ".gitops/policies/project.yaml",
    {
        ("checks",): [
            {"metric": metric, "task": "binary", "no_worse_than_champion": {"margin": 0.5}}
            for metric in ("roc_auc", "brier")
        ]
    },
    "margins of 0.5",
)
_BY_PROJECT = Edit(
    "gitops.yaml", {("environments", 2, "policy"): "project"}, "production: policy: project"
)
ACTS = (
    Act(
        "A table becomes a repository: pipeline, locked environment, versioned data, tests, CI.",
        ("gitops new flights --data flights.csv --target late --no-input",),
    ),
    Act(
        "Build it: train on the first months, package as ONNX, evaluate the package on the last.",
        ("gitops build",),
    ),
    Act(
        "Does this commit rebuild to the same bytes? Clean clone, locked environment, no cache.",
        ("gitops verify",),
    ),
    Act(
        "Environments are branches of a git remote. The first model goes to staging: judged by the"
        " target's policy, its objects proven in the storage, then one atomic push of branch,"
        " version, assignment and record.",
        (
            Served(),
            "git commit --quiet -am 'Say how production takes a new version'",
            "git init --quiet --bare ../flights.git",
            "git remote add origin ../flights.git",
            "git push --quiet --all origin",
            "gitops promote dev staging",
        ),
    ),
    Act(
        "Assigned is not running. Deployed, it is tested against its own package; then it answers.",
        ("gitops deploy staging", Ask("staging")),
    ),
    Act(
        "Production has a stricter policy, which finds that the model relies on months that its"
        " training never saw.",
        ("gitops promote staging production",),
        code=1,
    ),
    Act(
        "A pull request with a better model: smaller steps, and without `month`, since the months"
        " of the test never occur in training. The gate compares it with the model on main.",
        (
            "git switch --quiet -c better-model",
            _BETTER,
            "gitops build",
            "git commit --quiet -am 'Train with smaller steps, without the month'",
            "gitops gate",
        ),
    ),
    Act(
        "A pull request with a worse model is stopped, with exit code 1.",
        (
            "git switch --quiet -c worse-model main",
            _WORSE,
            "gitops build",
            "git commit --quiet -am 'Train without the time of day and the weather'",
            "gitops gate",
        ),
        code=1,
    ),
    Act(
        "Its author loosens the policy in the same pull request. The policy of main decides.",
        (_LOOSER, "git commit --quiet -am 'Allow for noise'", "gitops gate"),
        code=1,
    ),
    Act(
        "Another seed: a difference that is only noise is not blocked.",
        (
            "git switch --quiet -c another-seed main",
            _NOISE,
            "gitops build",
            "git commit --quiet -am 'Train with another seed'",
            "gitops gate",
        ),
    ),
    Act(
        "A feature that knows the answer makes a model that is too good to be true.",
        (
            "git switch --quiet -c leak main",
            "gitops data update ../flights-with-delay.csv",
            _LEAK,
            "gitops build",
            "git add --all",
            "git commit --quiet -m 'Use the delay on arrival'",
            "gitops gate",
        ),
        code=1,
    ),
    Act(
        "The better model is merged: its data and package come out of the cache, nothing is"
        " trained. It goes to staging and production.",
        (
            "git switch --quiet main",
            "git merge --quiet better-model",
            "gitops build",
            "git push --quiet origin main",
            "gitops promote dev staging",
            "gitops promote staging production",
            "gitops deploy staging",
            Ask("staging"),
            "gitops deploy production",
            Ask("production"),
        ),
    ),
    Act(
        "Complaints? Staging goes back to the exact bytes that ran before, and is held there.",
        (
            "gitops rollback staging --reason 'complaints'",
            "gitops deploy staging",
            Ask("staging"),
        ),
    ),
    Act(
        "Nothing undoes a rollback by accident.",
        ("gitops promote dev staging",),
        code=1,
    ),
    Act(
        "The hold is lifted, and the better model goes to staging again.",
        (
            "gitops rollback staging --release-hold --reason 'it was the weather'",
            "gitops promote dev staging",
        ),
    ),
    Act(
        "A hotfix is made on the release branch: judged, recorded, and brought back to main.",
        (
            "git fetch --quiet",
            "git switch --quiet -c hotfix --no-track origin/release/production",
            _HOTFIX,
            "gitops build",
            "git commit --quiet --all -m 'Fewer steps, at once'",
            "git push --quiet origin HEAD:release/production",
            "gitops promote --finish production",
            "gitops promote production --bring-forward",
        ),
    ),
    Act(
        "Production takes the hotfix step by step: in the shadow of what runs, then for a fifth of"
        " the flights, then for half of them. Real flights are its traffic, and judge it.",
        (Travellers("production", "gitops deploy production"), Ask("production")),
    ),
    Act(
        "A gate is as good as its policy. Production's is loosened, and lets a bad model pass.",
        (
            "git switch --quiet main",
            "git pull --quiet origin main",
            _LAX,
            _BY_PROJECT,
            "git commit --quiet -am 'Trust everybody'",
            "git push --quiet origin main",
            "gitops promote dev staging",
            "gitops promote staging production",
            _HASTY,
            "gitops build",
            "git commit --quiet -am 'Train in no time'",
            "git push --quiet origin main",
            "gitops promote dev staging",
            "gitops promote staging production",
        ),
    ),
    Act(
        "Its own traffic doesn't: the champion answers again at once, then branch, version and"
        " record go back, and production is held.",
        (Travellers("production", "gitops deploy production"),),
        code=1,
    ),
    Act(
        "What runs where, and how it came there.",
        (
            Ask("production"),
            "git switch --quiet main",
            "git pull --quiet origin main",
            "gitops status --live",
            "gitops log",
        ),
    ),
)
