"""Settings of a project on the simulated Azure DevOps: kept, filled in, and given back."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.forge_contract import Reply, Request


def identifier(text: str) -> str:
    """The id that the simulated Azure DevOps gives to a thing of this name."""
    return str(uuid.UUID(bytes=hashlib.md5(text.encode()).digest()))


PROJECT, REPOSITORY_ID = identifier("project"), identifier("repository")
BUILD_SERVICE = f"Microsoft.TeamFoundation.ServiceIdentity;{identifier('host')}:Build:{PROJECT}"
_APPROVAL = "8c6f20a7-a545-4486-9777-f762fafe0d4d"
# What Azure DevOps adds to the settings of a policy that doesn't name them.
_FILLED = {"fa4e907d-c16b-4a4c-9dfa-4906e5d171dd": {"allowDownvotes": False}}


@dataclass
class Settings:
    """`forbidden`: operations for which the token has no permission."""

    people: tuple[str, ...] = ("ann@example.org", "bob@example.org")
    teams: tuple[str, ...] = ("flights/leads",)
    service: bool = True  # whether the build service has an identity yet
    forbidden: tuple[str, ...] = ()
    definitions: list[dict[str, Any]] = field(default_factory=list)
    environments: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    policies: list[dict[str, Any]] = field(default_factory=list)
    entries: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    endpoints: list[dict[str, Any]] = field(default_factory=list)
    numbers: int = 100

    def number(self) -> int:
        """A number that nothing has yet."""
        self.numbers += 1
        return self.numbers


def answer(settings: Settings, request: Request, values: Mapping[str, str]) -> Reply:
    """The reply to a request that the description allows."""
    body = request.body or {}
    if request.operation in settings.forbidden:
        return _error(403, "TF400813: The user is not authorized to access this resource.")
    match request.operation:
        case "get repository":
            name = values["repositoryId"]
            project = {"id": PROJECT, "name": values["project"]}
            return Reply(200, {"id": REPOSITORY_ID, "name": name, "project": project})
        case "get team":
            team = f"{values['projectId']}/{values['teamId']}"
            if team not in settings.teams:
                return _error(404, "The team does not exist")
            return Reply(200, {"id": identifier(team), "name": values["teamId"]})
        case "read identities":
            return _all(_identities(settings, request.query["filterValue"], values))
        case "list definitions":
            return _all(settings.definitions)
        case "create pipeline":
            return _pipeline(settings, body)
        case "list environments":
            wanted = request.query.get("name", "").lower()
            # The filter is a prefix, and knows no case.
            return _all(
                [one for one in settings.environments if one["name"].lower().startswith(wanted)]
            )
        case "add environment":
            if any(one["name"] == body["name"] for one in settings.environments):
                return _error(409, "Environment with this name already exists")
            settings.environments.append({"id": settings.number(), "name": body["name"]})
            return Reply(200, settings.environments[-1])
        case "list checks" | "add check" | "update check":
            return _checks(settings, request, values, body)
        case "list policies" | "create policy" | "update policy":
            return _policies(settings, request, values, body)
        case "list access control lists" | "set access control entries":
            return _access(settings, request, body)
        case "list service endpoints" | "create service endpoint" | "update service endpoint":
            return _endpoints(settings, request, values, body)
    raise AssertionError(request.operation)


def _error(status: int, message: str) -> Reply:
    return Reply(status, {"message": message, "typeKey": "Exception", "errorCode": 0})


def _all(found: list[Any]) -> Reply:
    return Reply(200, {"count": len(found), "value": found})


def _identities(settings: Settings, text: str, values: Mapping[str, str]) -> list[dict[str, Any]]:
    service = f"flights Build Service ({values['organization']})"
    if text == service and settings.service:
        one = {"id": identifier(service), "descriptor": BUILD_SERVICE}
        return [{**one, "providerDisplayName": service, "isContainer": False}]
    return [
        {
            "id": identifier(mail),
            "descriptor": f"Microsoft.IdentityModel.Claims.ClaimsIdentity;tenant\\{mail}",
            "providerDisplayName": mail.partition("@")[0],
            "isContainer": False,
            "properties": {"Mail": {"$type": "System.String", "$value": mail}},
        }
        for mail in settings.people
        if text.lower() in mail
    ]


def _pipeline(settings: Settings, body: Mapping[str, Any]) -> Reply:
    if any(one["name"] == body["name"] for one in settings.definitions):
        return _error(409, f"A build definition {body['name']} already exists in this folder")
    process = {"type": 2, "yamlFilename": body["configuration"]["path"]}
    made = {"id": settings.number(), "name": body["name"], "path": body["folder"]}
    settings.definitions.append({**made, "process": process})
    return Reply(200, {"id": made["id"], "name": made["name"], "folder": made["path"]})


def _checks(
    settings: Settings, request: Request, values: Mapping[str, str], body: Mapping[str, Any]
) -> Reply:
    if request.operation == "list checks":
        number = request.query["resourceId"]
        found = [one for one in settings.checks if one["resource"]["id"] == number]
        if request.query.get("$expand") == "settings":
            return _all(found)
        return _all([{k: v for k, v in one.items() if k != "settings"} for one in found])
    if body["type"]["id"] == _APPROVAL:
        people = [{"displayName": None, **who} for who in body["settings"]["approvers"]]
        body = {**body, "settings": {**body["settings"], "approvers": people}}
    if request.operation == "add check":
        settings.checks.append({"id": settings.number(), **body})
        return Reply(200, settings.checks[-1])
    for one in settings.checks:
        if one["id"] == int(values["id"]):
            one |= body
            return Reply(200, one)
    return _error(404, "The check does not exist")


def _policies(
    settings: Settings, request: Request, values: Mapping[str, str], body: Mapping[str, Any]
) -> Reply:
    if request.operation == "list policies":
        ref, kind = request.query.get("refName"), request.query.get("policyType")
        found = [
            one
            for one in settings.policies
            if one["type"]["id"] == kind and any(_covers(s, ref) for s in one["settings"]["scope"])
        ]
        return _all(found)
    filled = {**_FILLED.get(body["type"]["id"], {}), **body["settings"]}
    policy = {**body, "isDeleted": False, "settings": filled}
    if request.operation == "create policy":
        settings.policies.append({"id": settings.number(), "revision": 1, **policy})
        return Reply(200, settings.policies[-1])
    for one in settings.policies:
        if one["id"] == int(values["configurationId"]):
            one |= {**policy, "revision": one["revision"] + 1}
            return Reply(200, one)
    return _error(404, "The policy does not exist")


def _covers(scope: Mapping[str, Any], ref: str | None) -> bool:
    name = str(scope["refName"])
    return name == ref or (scope["matchKind"] == "Prefix" and str(ref).startswith(name))


def _access(settings: Settings, request: Request, body: Mapping[str, Any]) -> Reply:
    if request.operation == "list access control lists":
        token, who = request.query["token"], request.query["descriptors"]
        if (token, who) not in settings.entries:
            return _all([])
        allow, deny = settings.entries[token, who]
        entry = {"descriptor": who, "allow": allow, "deny": deny}
        return _all([{"token": token, "inheritPermissions": True, "acesDictionary": {who: entry}}])
    for one in body["accessControlEntries"]:
        key = (body["token"], one["descriptor"])
        allow, deny = settings.entries.get(key, (0, 0)) if body["merge"] else (0, 0)
        allow = (allow | one["allow"]) & ~one["deny"]
        deny = (deny & ~one["allow"]) | one["deny"]
        settings.entries[key] = (allow, deny)
    return _all(body["accessControlEntries"])


def _endpoints(
    settings: Settings, request: Request, values: Mapping[str, str], body: Mapping[str, Any]
) -> Reply:
    if request.operation == "list service endpoints":
        name = request.query["endpointNames"]
        return _all([one for one in settings.endpoints if one["name"] == name])
    authorization = {**body["authorization"]}
    authorization["parameters"] = {
        **authorization["parameters"],
        "workloadIdentityFederationIssuer": f"https://vstoken.dev.azure.com/{identifier('host')}",
        "workloadIdentityFederationSubject": f"sc://acme/{body['name']}",
    }
    made = {**body, "authorization": authorization}
    if request.operation == "create service endpoint":
        settings.endpoints.append({"id": identifier(body["name"]), **made})
        return Reply(200, settings.endpoints[-1])
    one = next(one for one in settings.endpoints if one["id"] == values["endpointId"])
    one |= made
    return Reply(200, one)
