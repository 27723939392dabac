"""What was found, with the user's answers over it, as plain data for the templates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches

from pydantic import ValidationError

from gitops import config, names
from gitops.config import checks as config_checks
from gitops.errors import ConfigError
from gitops.scaffold.discover import Model, Proposal, Value

KEYS = ("name", "ci", "storage", "endpoint", "account", "models")
MODEL_KEYS = ("path", "task", "framework", "data", "package", "evaluation", "metrics")
_LONGEST_NOTE = 150


def answered(found: Proposal, given: Mapping[str, object]) -> Proposal:
    """`found` with the answers of the user: KEYS, `branch.ENVIRONMENT` and `MODEL.KEY`.

    Raises:
        ConfigError: an answer isn't known, or can't work.
    """
    flat = dict(_flat(given))
    models = _models(found, flat.pop("models", None))
    changes: dict[str, dict[str, str]] = {}
    environments = {one.name: one for one in found.environments}
    for key, value in flat.items():
        name, _, field = key.rpartition(".")
        if not name and key in MODEL_KEYS and len(models) == 1:
            name, field = models[0].name, key
        if name == "branch" and field in environments:
            said = Value(str(value), "as you said")
            there = value in found.branches
            environments[field] = replace(environments[field], branch=said, there=there)
        elif name in {one.name for one in models} and field in MODEL_KEYS:
            changes.setdefault(name, {})[field] = str(value)
        elif key not in KEYS:
            raise _unknown(key, [one.name for one in models], list(environments))
    if "name" in flat:
        names.check("project", str(flat["name"]))
        found = _renamed(found, str(flat["name"]))
    found = _stored(found, flat)
    if "ci" in flat:
        found = replace(found, ci=tuple(Value(one, "as you said") for one in _ci(flat["ci"])))
    return replace(
        found,
        environments=tuple(environments.values()),
        models=tuple(_checked(one, changes.get(one.name, {})) for one in models),
    )


def answers_of(found: Proposal) -> dict[str, object]:
    """The answers that the lock keeps: what templates see of an adopted repository."""
    return {
        "adopted": {"has_dvc": found.has_dvc},
        "project": found.project.value,
        "ci": [one.value for one in found.ci],
        "storage": found.storage.value,
        "storage_endpoint": found.endpoint,
        "storage_account": found.account,
        "environments": [
            {
                "name": one.name,
                "branch": one.branch.value,
                "note": _note(one.branch) if one.there else _absent(one.branch.value),
            }
            for one in found.environments
        ],
        "declared": [
            {
                "name": one.name,
                "note": _comment(one.why),
                "settings": [
                    {"key": key, "value": value.value, "note": _note(value)}
                    for key, value in one.values.items()
                ],
            }
            for one in found.models
        ],
        "notes": {
            "project": _note(found.project),
            "ci": next((_note(one) for one in found.ci if not one.sure), ""),
            "storage": _note(found.storage),
        },
    }


def guesses(found: Proposal) -> list[tuple[str, Value]]:
    """The values that the user should look at: place in gitops.yaml, and value."""
    listed = [("project", found.project), *(("ci", one) for one in found.ci)]
    listed += [(f"environments {one.name}", one.branch) for one in found.environments]
    listed += [("storage", found.storage)]
    listed += [
        (f"{one.name}.{key}", value) for one in found.models for key, value in one.values.items()
    ]
    return [(place, value) for place, value in listed if not value.sure]


def _note(value: Value) -> str:
    return "" if value.sure else _comment(f"guessed ({value.why}): check")


def _absent(branch: str) -> str:
    return _comment(f"no such branch yet: check its name, or git branch {branch}")


def _comment(text: str) -> str:
    """One line: names of files may hold anything."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in text)
    middle = _LONGEST_NOTE // 2
    return plain if len(plain) <= _LONGEST_NOTE else f"{plain[:middle]}...{plain[-middle:]}"


def _flat(given: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, object]]:
    """Answers of a file may be nested: `churn: {task: binary}` is `churn.task`."""
    for key, value in given.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _models(found: Proposal, wanted: object) -> list[Model]:
    """The models that `models=churn,price` names; those found keep what was found."""
    if wanted is None:
        return list(found.models)
    listed = wanted.split(",") if isinstance(wanted, str) else wanted
    if not isinstance(listed, list | tuple) or not listed:
        raise ConfigError(f"models: {wanted!r} is no list", fix="--set models=churn,price")
    known = {one.name: one for one in found.models}
    done = []
    for name in dict.fromkeys(str(one).strip() for one in listed):
        names.check("model", name)
        values = {
            "path": Value(".", "nothing shows where it is", sure=False),
            "task": Value("binary", "nothing says what it predicts", sure=False),
        }
        if len(listed) > 1:
            values |= {
                "package": Value(f"packages/{name}", "what packaging it would write"),
                "evaluation": Value(f"evaluations/{name}", "what packaging it would write"),
                "metrics": Value(f"metrics/{name}.json", "what packaging it would write"),
            }
        done.append(known.get(name) or Model(name, "as you said", values))
    return done


def _renamed(found: Proposal, name: str) -> Proposal:
    """With another project name, and what was named after the old one."""
    storage = found.storage
    if not storage.sure:
        storage = replace(storage, value=f"../{name}-storage")
    return replace(found, project=Value(name, "as you said"), storage=storage)


def _stored(found: Proposal, flat: Mapping[str, object]) -> Proposal:
    given = {key: str(flat[key]) for key in ("endpoint", "account") if key in flat}
    if "storage" not in flat and not given:
        return found
    storage = config.storage({"remote": str(flat.get("storage", found.storage.value)), **given})
    return replace(
        found,
        storage=Value(storage.remote, "as you said"),
        endpoint=storage.endpoint,
        account=storage.account,
    )


def _ci(value: object) -> tuple[str, ...]:
    from gitops.scaffold.new import ci_of

    return ci_of(value)


def _checked(model: Model, changes: Mapping[str, str]) -> Model:
    """With the user's values; one that was found and gitops.yaml can't hold is left out."""
    values = dict(model.values) | {k: Value(v, "as you said") for k, v in changes.items()}
    try:
        config.Model.model_validate({key: value.value for key, value in values.items()})
    except ValidationError as error:
        for one in config_checks.of_fields(error, config.Model.model_json_schema()):
            key = str(one.place[0])
            if key in changes or key == "task":
                raise ConfigError(f"{model.name}.{one.text}", fix=one.fix) from error
            values.pop(key, None)
    return replace(model, values=values)


def _unknown(key: str, models: list[str], environments: list[str]) -> ConfigError:
    known = [*KEYS, *(f"branch.{name}" for name in environments)]
    known += [f"{name}.{field}" for name in models for field in MODEL_KEYS]
    near = get_close_matches(key, known, 1)
    if key in MODEL_KEYS:
        fix = f"say of which model: {', '.join(f'{name}.{key}' for name in models)}"
    else:
        fix = f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(known[:20])}"
    return ConfigError(f"there is no answer named {key!r} here", fix=fix)
