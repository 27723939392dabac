"""What is wrong in `gitops.yaml`, in words: wrong fields, and parts that contradict each other."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops import cloudnames, content
from gitops.config.serving import PORT
from gitops.config.values import shown
from gitops.problem import Problem, meant
from gitops.yamlfile import Place
from gitops.yamlfile.edits import dotted, inline

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from gitops.config import Config, Environment, Model

Schema = Mapping[str, Any]
POLICIES = Path(".gitops", "policies")  # of a repository


def of_fields(error: ValidationError, schema: Schema) -> list[Problem]:
    """The problems that pydantic found; `schema` knows what would be right."""
    return [
        _of_field(each, schema)
        for each in error.errors(include_url=False)
        # pydantic counts after dropping wrong items: then they are the problem, not the number.
        if (each["type"] != "too_short" or not each["input"])
        # A default that follows another field, which is wrong itself.
        and each["type"] != "default_factory_not_called"
    ]


def _of_field(found: ErrorDetails, schema: Schema) -> Problem:
    kind, value, context = found["type"], found["input"], found.get("ctx", {})
    key = found["loc"][-1:] == ("[key]",)
    place = found["loc"][:-1] if key else found["loc"]
    if kind == "gitops":
        place = (*place, *context["at"].split(".")) if context["at"] else place
        name = f"the name in {dotted(place[:-1])}:" if key else dotted(place)
        return Problem(place, f"{name} {context['reason']}", context["fix"], key)
    here = _at(schema, place)
    if kind == "extra_forbidden":
        return _unknown_key(place, _at(schema, place[:-1]))
    if kind == "missing":
        examples = here.get("examples", here.get("enum", ["..."]))
        fix = f"add `{place[-1]}: {here.get('const', examples[0])}`"
        return Problem(place, f"{dotted(place)} is missing", fix)
    if kind == "literal_error":
        return Problem(place, f"{dotted(place)} is {shown(value)}", _choice(value, here))
    if value is None:
        return Problem(place, f"{dotted(place)} has no value", "give it one, or remove the key")
    name = dotted(place)
    if kind == "string_type":
        quoted = "write one text" if isinstance(value, list | dict) else f'write "{shown(value)}"'
        return Problem(place, f"{name} is {shown(value)}, not a text", quoted)
    if kind == "tuple_type":
        return Problem(place, f"{name} is {shown(value)}, not a list", f"write [{inline(value)}]")
    if kind in ("model_type", "dict_type", "mapping_type"):
        first = next(iter(here.get("properties", {"name": None})))
        return Problem(place, f"{name} is {shown(value)}, not a mapping", f"write {{{first}: ...}}")
    if kind == "too_short":
        return Problem(place, f"{name} is empty", "give at least one, or remove the key")
    # What is left are booleans and numbers: bool_type, float_type, greater_than.
    return Problem(place, f"{name} is {shown(value)}: {found['msg'].lower()}", _number(here))


def _unknown_key(place: Place, around: Schema) -> Problem:
    known, name = list(around.get("properties", {})), str(place[-1])
    inside = f" in {dotted(place[:-1])}" if place[:-1] else ""
    fix = meant(name, known, f"known are {', '.join(known)}")
    return Problem(place, f"unknown key {shown(name)}{inside}", fix, key=True)


def _choice(value: object, schema: Schema) -> str:
    choices = [str(each) for each in schema.get("enum", [schema.get("const")])]
    if str(value) in choices:  # a text where a number is meant
        return f"write {value} without quotes"
    any_of = choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    return meant(str(value).lower(), choices, f"write {any_of}")


def _number(schema: Schema) -> str:
    if schema.get("type") == "boolean":
        return "write true or false"
    words = {
        "exclusiveMinimum": "above {}",
        "minimum": "of {} or more",
        "exclusiveMaximum": "below {}",
        "maximum": "of {} or less",
    }
    limits = [text.format(schema[key]) for key, text in words.items() if key in schema]
    kind = "whole number" if schema.get("type") == "integer" else "number"
    return " ".join([f"write a {kind}", " and ".join(limits)]).strip()


def _at(schema: Schema, place: Place) -> Schema:
    """The part of the schema for a place; empty for a place that it does not know."""
    here = schema
    for step in (None, *place):
        if isinstance(step, int):
            here = here.get("items", {})
        elif step is not None:
            more = here.get("additionalProperties") or {}
            here = here.get("properties", {}).get(step, more)
        if "anyOf" in here:
            here = here["anyOf"][0]
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rpartition("/")[2]]
    return here


def between(
    environments: Mapping[int, Environment], models: Mapping[str, Model], policies: set[str] | None
) -> list[Problem]:
    """What no value shows alone: names or branches twice, missing policies, shared outputs.

    `policies` are the repository's own, beside the packs that are shipped; None: not known.
    """
    missing = () if policies is None else _policies(environments, policies)
    return [*_environments(environments), *missing, *_outputs(models)]


def compute(config: Config) -> list[Problem]:
    """Which clusters are of environments that aren't there."""
    known = [one.name for one in config.environments]
    return [
        Problem(
            ("compute", name, "azureml", "environment"),
            f"there's no environment {shown(one.azureml.environment)}",
            f"write one of {', '.join(known)}",
        )
        for name, one in config.compute.items()
        if one.azureml and one.azureml.environment and one.azureml.environment not in known
    ]


def infrastructure(config: Config) -> list[Problem]:
    """Why the infrastructure of a file that is right otherwise can't be provisioned."""
    declared = config.infrastructure
    if declared is None or not declared.in_cloud:
        return []
    place: Place
    for at, each in enumerate(config.environments):
        if each.name in cloudnames.TAKEN:
            text = f"is {each.name}, as a part that all environments share is called"
            place = ("environments", at, "name")
            return [Problem(place, f"{dotted(place)} {text}", "give it another name")]
    found = []
    place = ("infrastructure", "prefix") if declared.prefix else ("project",)
    for environment, why in cloudnames.problems(config):
        text = f"{dotted(place)}: the name of a resource for {environment} {why}"
        fix = "write another `prefix:` under infrastructure"
        found.append(Problem(place, text, fix))
    return found[:1]


def _environments(environments: Mapping[int, Environment]) -> Iterator[Problem]:
    names: dict[str, int] = {}
    branches: dict[str, int] = {}
    for at, each in environments.items():
        if (first := names.setdefault(each.name, at)) != at:
            text = f"environments[{at}].name {shown(each.name)} is taken by environments[{first}]"
            yield Problem(("environments", at, "name"), text, "give each a name of its own")
        place = ("environments", at, "branch")
        if (first := branches.setdefault(each.branch, at)) != at:
            text = (
                f"environments[{at}].branch {shown(each.branch)} is taken by environments[{first}]"
            )
            yield Problem(place, text, "give each a branch of its own")
        for other in environments.values():
            if each.branch.startswith(f"{other.branch}/"):
                text = (
                    f"environments[{at}].branch {shown(each.branch)} cannot be beside the branch "
                    f"{shown(other.branch)}: git stores branches as files in folders"
                )
                yield Problem(place, text, f"write {other.branch}-{each.name}")
    yield from _addresses(environments)


def _addresses(environments: Mapping[int, Environment]) -> Iterator[Problem]:
    """Two environments on this machine can't answer at one address."""
    given = {at: each.listen or f"127.0.0.1:{PORT + at}" for at, each in environments.items()}
    for at, address in given.items():
        host, _, port = address.rpartition(":")
        for other in range(at):
            there, _, taken = given.get(other, "").rpartition(":")
            everywhere = {"0.0.0.0", "[::]"} & {host, there}  # noqa: S104
            if taken != port or not (host == there or everywhere):
                continue
            wrong, right = (at, other) if environments[at].listen else (other, at)
            free = PORT + len(environments)
            while any(one.endswith(f":{free}") for one in given.values()):
                free += 1
            yield Problem(
                ("environments", wrong, "listen"),
                f"environments[{wrong}].listen {shown(given[wrong])} is where environments[{right}]"
                f" answers ({given[right]})",
                f"give each an address of its own, such as 127.0.0.1:{free}",
            )


def _policies(environments: Mapping[int, Environment], own: set[str]) -> Iterator[Problem]:
    known = sorted(own | {file.stem for file in content.folder("policies").glob("*.yaml")})
    for at, each in environments.items():
        if each.policy not in known:
            fix = meant(each.policy, known, f"write one of {', '.join(known)}")
            yield Problem(
                ("environments", at, "policy"),
                f"environments[{at}].policy: there's no policy {shown(each.policy)}",
                f"{fix} (or write .gitops/policies/{each.policy}.yaml)",
            )


def _outputs(models: Mapping[str, Model]) -> Iterator[Problem]:
    """DVC lets no two outputs be the same or lie in each other."""
    taken: dict[str, str] = {}
    outputs = [
        (name, field, posixpath.normpath(posixpath.join(model.path, getattr(model, field))))
        for name, model in models.items()
        for field in ("package", "evaluation", "metrics")
    ]
    for name, field, path in outputs:
        taken.setdefault(path, f"models.{name}.{field}")
    # First of all a model's own folder must not be what another's build replaces.
    folders = [(name, "path", posixpath.normpath(model.path)) for name, model in models.items()]
    misplaced = set()
    for name, field, path in [*folders, *outputs]:
        if name in misplaced:
            continue
        mine = f"models.{name}.{field}"
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            other = taken.get("/".join(parts[:end]))
            if other and other != mine:
                misplaced |= {name} if field == "path" else set()
                verb = "is also" if end == len(parts) else "lies in"
                yield Problem(
                    ("models", name, field),
                    f"{mine}: {path} {verb} {other}",
                    "give each a path of its own",
                )
