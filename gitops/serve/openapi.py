"""The OpenAPI description of what is served, made of the signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops import __version__
from gitops.serve.loaded import Loaded, Route
from gitops.serve.model import Model, example
from gitops.serve.rows import moment, speaks_text
from gitops.signature import Input, Signature

Json = dict[str, Any]
_ERRORS = {
    "400": "No JSON, or an unusable header",
    "401": "No valid key",
    "413": "Too many bytes or rows",
    "415": "Not called JSON",
    "422": "Rows that the signature refuses",
    "500": "The model failed",
    "503": "Too busy: try again after Retry-After seconds",
    "504": "The answer took too long",
}


def document(loaded: Loaded | None, *, keys: bool) -> Json:
    """OpenAPI 3.1; `keys`: requests need one."""
    paths: Json = {
        "/v2/health/live": _get("Whether the server runs", open_=True),
        "/v2/health/ready": _get("Whether a plan is served", open_=True),
        "/metrics": _get("Metrics for Prometheus", "text/plain"),
        "/labels": _labels(),
    }
    schemas: Json = {"Error": _ERROR, "Id": _ID}
    for name, route in loaded.routes.items() if loaded else ():
        schemas |= _schemas(name, route.champion)
        asked: list[tuple[str, Model | None]] = [("", None)]
        asked += [(f"/versions/{model.variant.version}", model) for _, model in route.variants]
        for tail, only in asked:
            prefix = name
            if only is not None and only is not route.champion:
                prefix = f"{name}.{only.variant.version}"
                schemas |= _schemas(prefix, only)
            paths[f"/models/{name}{tail}/predict"] = _predict(route, only, prefix)
    made: Json = {
        "openapi": "3.1.0",
        "info": {"title": _title(loaded), "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if keys:
        made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"key": []}]
    return made


def _title(loaded: Loaded | None) -> str:
    return "gitops serve" if loaded is None else f"{loaded.plan.project}, {loaded.plan.environment}"


def _get(summary: str, kind: str = "application/json", *, open_: bool = False) -> Json:
    content = {kind: {"schema": {} if kind == "application/json" else {"type": "string"}}}
    found: Json = {
        "summary": summary,
        "responses": {"200": {"description": "OK", "content": content}},
    }
    return {"get": found | ({"security": []} if open_ else {})}


def _predict(route: Route, only: Model | None, prefix: str) -> Json:
    model = only or route.champion
    what = "by the variant of the unit" if only is None else f"by {model.variant.release}"
    row = example(model.signature)
    headers = [
        _header("x-request-id", "What labels name the request by; made if absent"),
        _header("x-gitops-key", "The unit of a rollout: equal keys get the same variant"),
    ]
    return {
        "post": {
            "summary": f"Predict {model.signature.target} {what}",
            "parameters": [*headers, _EXPLAIN],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"$ref": f"#/components/schemas/{prefix}.Request"},
                        "example": {"rows": [row]},
                    }
                },
            },
            "responses": {
                "200": _response("Answers, in the order of the rows", f"{prefix}.Answer"),
                **{status: _response(text, "Error") for status, text in _ERRORS.items()},
            },
        }
    }


def _header(name: str, text: str) -> Json:
    kind = {"type": "string", "maxLength": 128 if name == "x-request-id" else 256}
    return {"name": name, "in": "header", "description": text, "schema": kind}


def _response(text: str, schema: str) -> Json:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": text, "content": content}


def _schemas(prefix: str, model: Model) -> Json:
    fields = {item.name: _input(item) for item in model.signature.inputs}
    fields |= dict.fromkeys(model.decode.extras, _EXTRA)
    row = _object(fields, required=model.decode.names)
    columns = _object(
        {name: {"type": "array", "items": field} for name, field in fields.items()},
        required=model.decode.names,
    )
    ref = {"$ref": f"#/components/schemas/{prefix}.Row"}
    forms: list[Json] = [
        _object({"row": ref, "id": _REF_ID}, required=["row"]),
        _object(
            {"rows": {"type": "array", "minItems": 1, "items": ref}, "id": _REF_ID},
            required=["rows"],
        ),
        _object({"columns": columns, "id": _REF_ID}, required=["columns"]),
    ]
    return {
        f"{prefix}.Row": row,
        f"{prefix}.Request": {"oneOf": forms},
        f"{prefix}.Answer": _answer(model.signature),
    }


def _input(item: Input) -> Json:
    kinds = {"number": ["number"], "boolean": ["boolean"], "datetime": ["string"]}
    kind = kinds.get(item.type, ["string"])
    if item.type == "categorical" and not speaks_text(item):
        kind = ["string", "number", "boolean"]
    made: Json = {"type": kind + (["null"] if item.nullable else [])}
    if item.type == "datetime":
        made["description"] = "ISO 8601; without an offset UTC"
    if item.type == "categorical" and len(item.categories) <= 100:
        made["examples"] = list(item.categories)
    if item.minimum is not None and item.maximum is not None:
        low, high = moment(item.minimum, item), moment(item.maximum, item)
        text = f"the training data has {low} to {high}"
        made["description"] = f"{made['description']}; {text}" if "description" in made else text
    return made


def _answer(signature: Signature) -> Json:
    text: Json = {"type": "string"}
    prediction: Json = {"type": "number"}
    if signature.classes:
        prediction = {"enum": list(signature.classes)}
    fields: Json = {
        "id": text,
        "model": text,
        "release": text,
        "variant": {"enum": ["champion", "challenger"]},
        "predictions": {"type": "array", "items": prediction},
        "warnings": {"type": "array", "items": text},
        "explanations": {"type": "array", "items": {"type": "object"}},
        "ms": {"type": "number", "minimum": 0},
    }
    required = ["id", "model", "release", "variant", "predictions"]
    if signature.classes:
        score: Json = {"type": "number", "minimum": 0, "maximum": 1}
        if signature.task == "multiclass":
            width = len(signature.classes)
            score = {"type": "array", "items": score, "minItems": width, "maxItems": width}
        fields["scores"] = {"type": "array", "items": score}
        required.append("scores")
    return {"type": "object", "properties": fields, "required": required}


def _labels() -> Json:
    label = _object(
        {
            "id": _REF_ID,
            "row": {"type": "integer", "minimum": 0},
            "label": {"type": ["string", "number", "boolean", "null"]},
            "value": {"type": ["number", "null"]},
            "model": {"type": "string"},
        },
        required=["id"],
    )
    body = _object({"labels": {"type": "array", "minItems": 1, "items": label}})
    accepted = _object({"accepted": {"type": "integer"}})
    return {
        "post": {
            "summary": "Say what came true",
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "202": {
                    "description": "Kept on the disk",
                    "content": {"application/json": {"schema": accepted}},
                },
                **{s: _response(_ERRORS[s], "Error") for s in ("400", "413", "422", "503")},
            },
        }
    }


def _object(fields: Mapping[str, Json], required: list[str] | None = None) -> Json:
    return {
        "type": "object",
        "properties": dict(fields),
        "required": list(fields) if required is None else required,
        "additionalProperties": False,
    }


_EXPLAIN: Json = {
    "name": "explain",
    "in": "query",
    "description": "true: say what each input contributed",
    "schema": {"const": "true"},
}
_EXTRA: Json = {"description": "Taken, but not seen by the model"}
_ID: Json = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"}
_REF_ID: Json = {"$ref": "#/components/schemas/Id"}
_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message"],
            "properties": {
                "message": {"type": "string"},
                "fix": {"type": "string"},
                "model": {"type": "string"},
                "row": {"type": "integer"},
                "column": {"type": "string"},
                "value": {"type": "string"},
                "id": {"type": "string"},
                "status": {"type": "integer"},
                "ms": {"type": "number"},
            },
        }
    },
}
