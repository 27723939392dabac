"""Does a workflow for GitHub do the same as the one of its name for Azure?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gitops.pipelines.lint.model import Hit, Job, Source
from gitops.pipelines.lint.scripts import commands

# What sets a job up is each platform's own: only what the project itself runs is compared.
_RUNS = re.compile(r"(?:gitops|dvc|make|pytest|tox|nox|uv run|python3? -m (?!pip\b)|\./)\S*")
_OPTION = re.compile(r"(?<=\s)--[a-z][\w-]*")
_ARGUMENTS = re.compile(r"\s+(?:--?\w|[\"'$<>|&;\\]).*|\s*$", re.DOTALL)
_CONDITIONS = {
    "a fork's pull request": (
        re.compile(r"head\.repo\.(?:full_name|fork|id)"),
        re.compile(r"System\.PullRequest\.IsFork"),
    ),
    "always": (re.compile(r"(?<!\w)always\(\)"), re.compile(r"(?<!\w)always\(\)")),
    "unless cancelled": (re.compile(r"!\s*cancelled\(\)"), re.compile(r"not\(\s*canceled\(\)")),
}


def parity(sources: tuple[Source, ...]) -> Iterator[tuple[Source, Hit]]:
    azure = {_stem(one): one for one in sources if one.platform == "azure" and not one.is_template}
    for source in sources:
        other = azure.get(_stem(source))
        if source.platform == "github" and other is not None:
            yield from ((source, hit) for hit in _apart(source, other))


def _stem(source: Source) -> str:
    name = re.sub(r"\.ya?ml$", "", source.path.rpartition("/")[2])
    return name.removeprefix("azure-pipelines-")


def _apart(source: Source, other: Source) -> Iterator[Hit]:
    ours = {_name(job): job for job in source.jobs if not _attests(job)}
    theirs = {_name(job): job for job in other.jobs}
    for name in ours.keys() - theirs.keys():
        message = f"{other.path} has no job {name}"
        yield Hit(ours[name].place, message, "add it there, or take it out here", key=True)
    for name in sorted(theirs.keys() - ours.keys()):
        message = f"there is no job {name}, which {other.path} has"
        yield Hit(("jobs",), message, "add it here, or take it out there", key=True)
    for name in ours.keys() & theirs.keys():
        here, there = _commands(ours[name]), _commands(theirs[name])
        for command in sorted(here ^ there):
            where = other.path if command in here else source.path
            message = f"in {where} the job {name} doesn't run `{command}`"
            yield Hit(ours[name].place, message, "run the same on both platforms", key=True)
        yield from _conditions(ours[name], theirs[name], other.path)


def _name(job: Job) -> str:
    return job.name.lower().replace("-", "_")


def _attests(job: Job) -> bool:
    """Whether it runs nothing but what Azure doesn't have: attestations."""
    uses = [str(step.data.get("uses", "")) for step in job.steps]
    return any(one.startswith("actions/attest") for one in uses) and not _commands(job)


def _commands(job: Job) -> set[str]:
    """What it runs: the words before the first argument, and the names of options."""
    found = set()
    for step in job.steps:
        for script in step.scripts:
            for line in map(str.strip, commands(script.text)):
                if _RUNS.match(line):
                    options = sorted(set(_OPTION.findall(line)))
                    found.add(" ".join([_ARGUMENTS.sub("", line), *options]))
    return found


def _conditions(here: Job, there: Job, path: str) -> Iterator[Hit]:
    ours, theirs = str(here.data.get("if", "")), str(there.data.get("condition", ""))
    for what, (github, azure) in _CONDITIONS.items():
        if bool(github.search(ours)) != bool(azure.search(theirs)):
            place = (*here.place, "if") if "if" in here.data else here.place
            message = f"the condition of {here.name} isn't that of {path}: {what}"
            yield Hit(place, message, "give both the same condition", key="if" not in here.data)
