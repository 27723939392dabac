"""What is handed to Azure: the user's files, with what the plan says written in.

A file says how an endpoint and its deployments are made; which version, image and traffic it is
comes from the plan alone, so a file that fixes one of these is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitops import yamlfile
from gitops.deploy.model import Served, Variant
from gitops.errors import ConfigError, EvidenceError, Where

Json = dict[str, Any]
FOLDER = "deploy/azureml"
ENDPOINT, DEPLOYMENT = "endpoint.yaml", "deployment.yaml"
BATCH = ("batch-endpoint.yaml", "batch-deployment.yaml", "batch-component.yaml")
TAG = "gitops"  # on what we made: the digest of the document that it was made of
RELEASE, IMAGE, SETTINGS = "RELEASE", "IMAGE", "SETTINGS"
_SUBSCRIPTION = "/subscriptions/SUBSCRIPTION/"
_IN_BODY = "GITOPS_SERVE_IN_BODY"
_LENGTH = 32  # of a deployment's name: letters, digits and hyphens, a letter first
_HEX = 6


def deployment_name(variant: Variant) -> str:
    """The name of a version's deployment, always the same: v1-2-0-3fa9c2.

    Of the version and the package's digest, so that a retry finds its own, and the same version
    with other bytes is another one.
    """
    version = variant.release.rpartition("@")[2].lower()
    stem = re.sub(r"[^a-z0-9]+", "-", version).strip("-")[: _LENGTH - _HEX - 1].strip("-")
    return f"{stem if stem[:1].isalpha() else f'v{stem}'}-{variant.package[:_HEX]}"[:_LENGTH]


def read(files: Mapping[str, str], name: str, model: str) -> Json:
    """A model's file, as what it says.

    Raises:
        EvidenceError: it isn't there, or isn't YAML of a mapping.
    """
    path = Path(FOLDER) / "..." / model / name
    if name not in files:
        raise EvidenceError(
            f"there's no {name} for {model} on the environment's branch",
            fix="gitops sync writes it: commit and promote it",
            where=Where(path),
        )
    try:
        return dict(yamlfile.parse(files[name].encode(), path).data)
    except ConfigError as error:
        raise EvidenceError(error.message, fix=error.fix, where=error.where) from error


def endpoint_name(files: Mapping[str, str], model: str) -> str:
    """The name of a model's endpoint. Raises EvidenceError: the file hasn't one."""
    name = read(files, ENDPOINT, model).get("name")
    if not isinstance(name, str) or not name:
        raise _refused(ENDPOINT, model, "has no name", "remove it, and gitops sync writes it anew")
    return name


def endpoint(files: Mapping[str, str], model: str, name: str, subscription: str) -> Json:
    """The endpoint as it is to be, but for its traffic; `name`: ENDPOINT, or that of the batch one.

    Raises:
        EvidenceError: the file decides on traffic, or isn't usable.
    """
    found = read(files, name, model)
    for key in ("traffic", "mirror_traffic", "defaults"):
        if key in found:
            raise _refused(name, model, f"has {key}, which is the rollout's", f"remove {key}")
    return _tagged(_filled(found, {}, subscription), {})


def deployment(
    files: Mapping[str, str], model: str, served: Served, variant: Variant, image: str
) -> Json:
    """The deployment of a version.

    Raises:
        EvidenceError: the file fixes what the plan says, or isn't usable.
    """
    found = read(files, DEPLOYMENT, model)
    place = found.get("environment")
    if not isinstance(place, dict) or place.get("image") != IMAGE:
        raise _refused(
            DEPLOYMENT, model, "fixes the image: another could run than the one that was judged",
            f"write environment: {{image: {IMAGE}}}",
        )  # fmt: skip
    if found.get("name") != RELEASE:
        raise _refused(DEPLOYMENT, model, "fixes the name", f"write name: {RELEASE}")
    if found.get("endpoint_name") != read(files, ENDPOINT, model).get("name"):
        raise _refused(
            DEPLOYMENT, model, "is for another endpoint than endpoint.yaml",
            "write the same endpoint_name",
        )  # fmt: skip
    words = {RELEASE: deployment_name(variant), IMAGE: image, SETTINGS: settings(served)}
    return _tagged(
        _filled(found, words, ""), {"release": variant.release, "package": variant.package}
    )


def batch(files: Mapping[str, str], model: str, variant: Variant, image: str) -> tuple[Json, Json]:
    """The batch deployment of a version, and the component that it runs. Raises as `read`."""
    words = {RELEASE: deployment_name(variant), IMAGE: image}
    component = _filled(read(files, BATCH[2], model), words, "")
    made = _filled(read(files, BATCH[1], model), words, "")
    digest = _digest({"deployment": made, "component": component})
    tags = {"release": variant.release, "package": variant.package, TAG: digest}
    return {**made, "tags": {**(made.get("tags") or {}), **tags}}, component


def settings(served: Served) -> str:
    """How the image's server is to answer: what `gitops serve --settings` takes."""
    kept = {name: served.serve.get(name, "accept") for name in ("unknown_category", "out_of_range")}
    return json.dumps({**kept, "ignore": list(served.ignore)}, sort_keys=True)


def require_rollout(model: str, served: Served, document: Json) -> None:
    """Raise EvidenceError where Azure can't keep what a plan promises, or nobody could judge it."""
    if served.key is not None:
        raise EvidenceError(
            f"{model}: Azure ML draws each request anew: no key ({served.key}) keeps its version",
            fix="remove rollout.key, or deploy to another target",
        )
    collector = document.get("data_collector") or {}
    if served.serve.get("log", {}).get("redact") and collector:
        raise _refused(
            DEPLOYMENT, model, "collects requests as they are, and serve.log.redact has columns"
            " never to be written", "remove data_collector (then there is no rollout by steps)",
        )  # fmt: skip
    if not served.share and not served.shadow:
        return
    variables = document.get("environment_variables") or {}
    if str(variables.get(_IN_BODY)).lower() not in ("true", "1"):
        raise _refused(
            DEPLOYMENT, model, "leaves status and time taken out of what is collected",
            f'write environment_variables: {{{_IN_BODY}: "true"}}',
        )  # fmt: skip
    collections = collector.get("collections") or {}
    for name in ("request", "response"):
        if str((collections.get(name) or {}).get("enabled")).lower() != "true":
            raise _refused(
                DEPLOYMENT, model, f"doesn't collect {name}s: nothing could judge the rollout",
                f'write data_collector: {{collections: {{{name}: {{enabled: "true"}}}}}}',
            )  # fmt: skip
    if float(collector.get("sampling_rate", 1.0)) != 1.0:
        raise _refused(
            DEPLOYMENT, model, "collects a sample, of which answers that fail may be missing",
            "write sampling_rate: 1.0",
        )  # fmt: skip


def _filled(value: Any, words: Mapping[str, str], subscription: str) -> Any:  # noqa: ANN401
    """With the words in capitals replaced, wherever they are a whole value."""
    if isinstance(value, dict):
        return {name: _filled(one, words, subscription) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, words, subscription) for one in value]
    if isinstance(value, str):
        text = words.get(value, value)
        return (
            text.replace(_SUBSCRIPTION, f"/subscriptions/{subscription}/") if subscription else text
        )
    return value


def _tagged(document: Json, tags: Mapping[str, str]) -> Json:
    own = {**tags, TAG: _digest(document)}
    return {**document, "tags": {**(document.get("tags") or {}), **own}}


def _digest(document: Json) -> str:
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refused(name: str, model: str, what: str, fix: str) -> EvidenceError:
    path = Path(FOLDER) / "..." / model / name
    return EvidenceError(f"{name} of {model} {what}", fix=fix, where=Where(path))
