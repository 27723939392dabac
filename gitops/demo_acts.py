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
class No:
    """A command that must end with exit code 1: were a bad model let through, the demo fails."""

    command: str


@dataclass(frozen=True)
class Ask:
    """An application asks what an environment has for a flight."""

    environment: str


@dataclass(frozen=True)
class Travellers:
    """Flights of the last weeks ask an environment, and tell what came true, during a command."""

    environment: str
    command: str | No


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


Step = str | No | Edit | Served | Ask | Travellers


@dataclass(frozen=True)
class Act:
    """What is shown, why that matters in a sentence or two, and what a user would type."""

    title: str
    about: str
    steps: tuple[Step, ...]


# As good as the default of 300 iterations, in a third of the time: who watches has five minutes.
_QUICK = Edit("params.yaml", {("train", "max_iter"): 60}, "train: max_iter: 60")
_BETTER = Edit(
    "params.yaml",
    {("leave_out",): ["month"], ("train", "max_iter"): 80},
    "leave_out: [month]; train: max_iter: 80",
)
_WORSE = Edit(
    "params.yaml",
    {("leave_out",): ["sched_dep_time", "sched_arr_time", "time_hour", *WEATHER]},
    "leave_out: the time of day, and the weather",
)
_NOISE = Edit("params.yaml", {("seed",): 43}, "seed: 43")
_HASTY = Edit("params.yaml", {("train", "max_iter"): 2}, "train: max_iter: 2")
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
        "A table becomes a repository",
        "Pipeline, locked environment, versioned data, tests and CI: from one CSV, and the name of"
        " the column to predict.",
        ("gitops new flights --data flights.csv --target late --no-input",),
    ),
    Act(
        "Build",
        "Trained on the first months, packaged as ONNX; and that package, not the model in memory,"
        " is what is evaluated on the last months. What was measured is what will run.",
        (
            _QUICK,
            "git commit --quiet -am 'Fewer iterations'",
            "gitops build",
        ),
    ),
    Act(
        "Verify",
        "Does the commit rebuild to the same bytes? A clean clone, the locked environment, no"
        " cache. If it doesn't, nobody can say what its numbers were made from.",
        ("gitops verify",),
    ),
    Act(
        "Promote, and deploy",
        "Environments are branches. The target's policy judges the model, its bytes are proven in"
        " the storage, then one atomic push moves branch, version and record. `deploy` makes it"
        " run.",
        (
            Served(),
            "git commit --quiet -am 'Say how production takes a new version'",
            "git init --quiet --bare ../flights.git",
            "git remote add origin ../flights.git",
            "git push --quiet --all origin",
            "gitops promote dev staging",
            "gitops deploy staging",
            Ask("staging"),
        ),
    ),
    Act(
        "Gates get harder on the way up",
        "Production's policy is stricter. It finds what no metric shows: the model relies on"
        " `month`, and its training never saw the months of the test.",
        (No("gitops promote staging production"),),
    ),
    Act(
        "A pull request with a better model",
        "It leaves `month` out. The gate scores both models on the same rows, and compares"
        " intervals: no worse for sure, or not.",
        (
            "git switch --quiet -c better-model",
            _BETTER,
            "gitops build",
            "git commit --quiet -am 'Train without the month'",
            "gitops gate",
        ),
    ),
    Act(
        "What CI will say of it",
        "The workflow that GitHub and Azure would run on this pull request runs here: clean"
        " clones, declared rights alone, and nothing is pushed.",
        ("gitops ci pull-request",),
    ),
    Act(
        "A pull request with a worse model",
        "It is stopped. Then its author loosens the policy in the same pull request; but the policy"
        " of main decides, so it is stopped again.",
        (
            "git switch --quiet -c worse-model main",
            _WORSE,
            "gitops build",
            "git commit --quiet -am 'Train without the time of day and the weather'",
            No("gitops gate"),
            _LOOSER,
            "git commit --quiet -am 'Allow for noise'",
            No("gitops gate"),
        ),
    ),
    Act(
        "A pull request that is only noise",
        "Another seed makes another model, and its metric is a little lower. Nobody should wait for"
        " a difference that isn't there: it passes.",
        (
            "git switch --quiet -c another-seed main",
            _NOISE,
            "gitops build",
            "git commit --quiet -am 'Train with another seed'",
            "gitops gate",
        ),
    ),
    Act(
        "A pull request that is too good to be true",
        "A feature that knows the answer gives a splendid metric, and a useless model.",
        (
            "git switch --quiet -c leak main",
            "gitops data update ../flights-with-delay.csv",
            _LEAK,
            "gitops build",
            "git add --all",
            "git commit --quiet -m 'Use the delay on arrival'",
            No("gitops gate"),
        ),
    ),
    Act(
        "To production",
        "The better model is merged. Its package comes out of the cache: nothing is trained again,"
        " so the bytes that were judged are the bytes that answer.",
        (
            "git switch --quiet main",
            "git merge --quiet better-model",
            "gitops build",
            "git push --quiet origin main",
            "gitops promote dev staging",
            "gitops promote staging production",
            "gitops deploy staging",
            "gitops deploy production",
            Ask("production"),
        ),
    ),
    Act(
        "Rollback",
        "Complaints? Staging goes back to the exact bytes that ran before, in one command. It is"
        " held there: nothing undoes a rollback by accident.",
        (
            "gitops rollback staging --reason complaints",
            "gitops deploy staging",
            Ask("staging"),
            No("gitops promote dev staging"),
            "gitops rollback staging --release-hold --reason 'it was the weather'",
        ),
    ),
    Act(
        "New data",
        "December's flights arrive. What changed is told before anything is trained; then the model"
        " is built anew, and judged on the newest flights against the one on main.",
        (
            "gitops data update ../flights-with-december.csv --branch data/december",
            "gitops build",
            "gitops gate",
            "git switch --quiet main",
            "git merge --quiet data/december",
            "git push --quiet origin main",
            "gitops promote dev staging",
            "gitops promote staging production",
        ),
    ),
    Act(
        "Canary",
        "Production takes the new model step by step: in the shadow of what runs, then for a fifth"
        " of the flights, then for half. Real flights are its traffic, and judge it.",
        (Travellers("production", "gitops deploy production"), Ask("production")),
    ),
    Act(
        "A bad model gets through, and is rolled back by itself",
        "A gate is as good as its policy: loosened, it lets a model pass that was trained in no"
        " time. Its own traffic doesn't: the champion answers again, and the branch goes back.",
        (
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
            Travellers("production", No("gitops deploy production")),
            Ask("production"),
        ),
    ),
    Act(
        "What runs where, and how it came there",
        "Read from branches, tags and records of the git remote: there is no other database."
        " Staging was promoted to, and not deployed since: that is told as drift.",
        (
            "gitops status --live",
            "gitops log",
        ),
    ),
)

# What to try in the repository that is left, and what it shows.
NEXT = (
    ("gitops deploy production", "it answers again; its page is /docs"),
    ("gitops status --live", "what runs where"),
    ("gitops diff staging production", "how two environments differ"),
    ("gitops log --verify", "proves every tag, record and package of it"),
    ("gitops gate --explain roc_auc-no-worse", "what a check means"),
    (
        "git switch worse-model && gitops gate --base better-model --report ../report",
        "report.html: why it stops",
    ),
    ("gitops deploy production --stop", "stops the server"),
)
