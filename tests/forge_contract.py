"""A forge's API description, held against requests and answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from referencing import Registry
from referencing.jsonschema import DRAFT4

FOLDER = Path(__file__).parent / "contracts" / "forge"
_SAMPLES = {
    "date-time": "2026-01-01T00:00:00Z",
    "uri": "https://forge.invalid/",
    "email": "someone@forge.invalid",
}


@dataclass(frozen=True)
class Request:
    """What came in. `operation` is the description's name for it ("": none)."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    operation: str = ""


@dataclass(frozen=True)
class Reply:
    """What goes out."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """An operation of the description and the values that its path has in a request."""

    path: str
    method: str
    body: Mapping[str, Any]
    values: Mapping[str, str]


class Contract:
    """Checks return what is wrong, in words; nothing wrong is an empty list."""

    def __init__(self, *names: str) -> None:
        # JSON is YAML, too.
        self.document: dict[str, Any] = {}
        for name in names:
            text = (FOLDER / name).read_text("utf-8")
            self.document = _over(self.document, yaml.load(text, Loader=yaml.CSafeLoader))
        self._validators: dict[int, tuple[Mapping[str, Any], Any]] = {}
        resource = DRAFT4.create_resource(self.document)
        self._registry: Registry[Any] = Registry().with_resource("contract:", resource)

    def operation(self, method: str, path: str) -> Operation | None:
        """What the description says of a request; None: nothing."""
        for template, methods in self.document["paths"].items():
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
            found = re.fullmatch(pattern, path, re.IGNORECASE)
            if found and method.lower() in methods:
                return Operation(template, method, methods[method.lower()], found.groupdict())
        return None

    def request(self, operation: Operation, query: Mapping[str, str], body: Any) -> list[str]:
        """What is wrong with the path's values, the query and the body of a request."""
        declared = [self._resolve(one) for one in operation.body.get("parameters", ())]
        problems = []
        places = {"path": operation.values, "query": query}
        for one in declared:
            values = places[one["in"]]
            if one["name"] in values:
                value = _typed(values[one["name"]], self._resolve(one["schema"]))
                problems += self._problems(one["schema"], value, one["name"])
            elif one.get("required"):
                problems.append(f"{one['name']} is missing")
        names = {one["name"] for one in declared if one["in"] == "query"}
        problems += [f"{name} is no parameter" for name in sorted(set(query) - names)]
        described = operation.body.get("requestBody")
        if described is None:
            return problems + (["a body is sent"] if body is not None else [])
        schema = described["content"]["application/json"]["schema"]
        problems += self._problems(schema, body, "body")
        properties = self._resolve(schema).get("properties", body or ())
        unknown = set(body or ()) - set(properties)
        return problems + [f"body: {name} is unknown" for name in sorted(unknown)]

    def answer(self, operation: Operation, status: int, body: Any) -> list[str]:
        """What is wrong with an answer; statuses that are described nowhere may say anything."""
        described = operation.body["responses"].get(str(status))
        if described is None:
            return [] if status >= 400 else [f"status {status} is not described"]
        content = self._resolve(described).get("content")
        if content is None:
            return [] if body is None else ["a body is sent"]
        return self._problems(content["application/json"]["schema"], body, "answer")

    def sample(self, schema: str, **values: Any) -> Any:
        """An object of a named schema: `values`, and the least that it must have besides."""
        named = {**self._resolve({"$ref": f"#/components/schemas/{schema}"}), "nullable": False}
        return _over(self._sample(named), values)

    def _sample(self, schema: Mapping[str, Any]) -> Any:
        schema = self._resolve(schema)
        if schema.get("nullable"):
            return None
        if "enum" in schema:
            return schema["enum"][0]
        if "allOf" in schema:
            return _over({}, *(self._sample(one) for one in schema["allOf"]))
        for kind in ("oneOf", "anyOf"):
            if kind in schema:
                return self._sample(schema[kind][0])
        if schema.get("type") == "object":
            inner = schema.get("properties", {})
            return {name: self._sample(inner.get(name, {})) for name in schema.get("required", ())}
        plain = {"array": [], "string": _SAMPLES.get(schema.get("format", ""), "text")}
        return {**plain, "integer": 1, "number": 1, "boolean": False}.get(schema.get("type", ""))

    def _resolve(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in node:
            found: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node

    def _problems(self, schema: Mapping[str, Any], value: Any, place: str) -> list[str]:
        known = self._validators.get(id(schema))
        validator = (
            known[1]
            if known
            else OAS30Validator(
                dict(_absolute(schema)),
                registry=self._registry,
                format_checker=oas30_format_checker,
            )
        )
        # With the schema, so that nothing else ever gets its identity.
        self._validators[id(schema)] = (schema, validator)
        return [
            f"{'.'.join([place, *map(str, one.absolute_path)])}: {one.message[:200]}"
            for one in validator.iter_errors(value)
        ]


def _absolute(node: Any) -> Any:
    """References into the description rather than into a schema that stands alone.

    Without discriminators: `oneOf` alone says the same, and their references aren't followed.
    """
    if isinstance(node, dict):
        return {
            key: f"contract:{value}"
            if key == "$ref" and isinstance(value, str)
            else _absolute(value)
            for key, value in node.items()
            if key != "discriminator"
        }
    return [_absolute(one) for one in node] if isinstance(node, list) else node


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "integer":
        return int(text) if re.fullmatch(r"-?\d+", text) else text
    if schema.get("type") == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if "oneOf" in schema:  # a workflow: its number or the name of its file
        return int(text) if text.isdecimal() else text
    return text


def _over(base: Any, *others: Any) -> Any:
    """`base` with the values of `others`, objects merged; None in `base` gives way."""
    for other in others:
        if isinstance(base, dict) and isinstance(other, dict):
            base = {**base, **{key: _over(base.get(key), value) for key, value in other.items()}}
        else:
            base = other
    return base
