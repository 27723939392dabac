"""Permissions of the build service, and service connections, on Azure DevOps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops.forge.azure_project import Project
from gitops.forge.client import Refused, part, pick

_GIT = "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87"  # the security namespace of repositories
_BITS = {
    "Contribute": 4,
    "Force push": 8,
    "Create branch": 16,
    "Create tag": 32,
    "Contribute to pull requests": 16_384,
}
_SECURITY = "vso.security_manage: Security (manage), Manage permissions"
_ENDPOINTS = "vso.serviceendpoint_manage: Service connections (read, query and manage)"


def permissions(at: Project, ref: str) -> dict[str, Any]:
    """What the build service is expressly allowed or denied on a branch ("": the repository)."""
    service = at.build_service()
    if service is None:
        return {}
    query: dict[str, str | int] = {"token": _token(at, ref), "descriptors": service}
    entries: dict[str, Any] = {}
    for one in at.all(f"_apis/accesscontrollists/{_GIT}", _SECURITY, query):
        if one.get("token") == _token(at, ref):
            entries = dict(part(part(one, "acesDictionary"), service))
    found = {}
    for name, bit in _BITS.items():
        for word in ("allow", "deny"):
            if int(entries.get(word) or 0) & bit:
                found[name] = word
    return found


def write_permissions(at: Project, ref: str, value: Mapping[str, Any]) -> None:
    """Allow and deny; what `value` doesn't name stays."""
    service = at.build_service()
    if service is None:
        raise Refused(
            "the project's build service has no identity yet",
            fix="it has one after the first run of a pipeline: run this again then",
            status=404,
        )
    bits = {
        word: sum(bit for name, bit in _BITS.items() if value.get(name) == word)
        for word in ("allow", "deny")
    }
    entry = {"descriptor": service, **bits, "extendedinfo": {}}
    body = {"token": _token(at, ref), "merge": True, "accessControlEntries": [entry]}
    at.azure.client.send("POST", f"_apis/accesscontrolentries/{_GIT}", needs=_SECURITY, body=body)


def _token(at: Project, ref: str) -> str:
    """devblogs.microsoft.com/devops/git-repo-tokens-for-the-security-service: each part of a
    branch's name in hexadecimal UTF-16; "" is the whole repository."""
    place = f"repoV2/{at.repository['project']}/{at.repository['id']}"
    if not ref:
        return place
    parts = [one.encode("utf-16-le").hex() for one in ref.split("/")]
    return f"{place}/refs/heads/{'/'.join(parts)}"


def _endpoint(at: Project, name: str) -> dict[str, Any] | None:
    path = f"{at.path}/serviceendpoint/endpoints"
    found = at.all(path, _ENDPOINTS, {"endpointNames": name})
    return next((one for one in found if one.get("name") == name), None)


def connection(at: Project, name: str) -> dict[str, Any] | None:
    """What a service connection logs in as."""
    found = _endpoint(at, name)
    return found and _connection(found)


def trust(at: Project, connection: str) -> tuple[str, str] | None:
    """Issuer and subject of the tokens of a service connection; None: it isn't there."""
    values = part(part(_endpoint(at, connection) or {}, "authorization"), "parameters")
    issuer = values.get("workloadIdentityFederationIssuer")
    subject = values.get("workloadIdentityFederationSubject")
    return (issuer, subject) if isinstance(issuer, str) and isinstance(subject, str) else None


def write_connection(at: Project, name: str, value: Mapping[str, Any]) -> None:
    """Create the connection, or change what it logs in as."""
    there = _endpoint(at, name)
    body = {
        "name": name,
        "type": "AzureRM",
        "url": "https://management.azure.com/",
        "authorization": {
            "scheme": "WorkloadIdentityFederation",
            "parameters": {"tenantid": value["tenant"], "serviceprincipalid": value["client"]},
        },
        "data": {
            "subscriptionId": value["subscription"],
            "subscriptionName": value["subscription"],
            "environment": "AzureCloud",
            "scopeLevel": "Subscription",
            "creationMode": "Manual",
        },
        "isShared": False,
        "isReady": True,
        "serviceEndpointProjectReferences": [_reference(at, name)],
    }
    path = "_apis/serviceendpoint/endpoints"
    number = pick(there, str, "id") if there else None
    at.put(path, number, _ENDPOINTS, body | ({"id": number} if number else {}))


def _reference(at: Project, name: str) -> dict[str, Any]:
    project = {"id": at.repository["project"], "name": at.azure.project}
    return {"name": name, "projectReference": project}


def _connection(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    authorization = part(endpoint, "authorization")
    values = part(authorization, "parameters")
    return {
        "scheme": authorization.get("scheme"),
        "client": values.get("serviceprincipalid"),
        "tenant": values.get("tenantid"),
        "subscription": part(endpoint, "data").get("subscriptionId"),
    }
