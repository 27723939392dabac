"""A repository's settings on Azure DevOps: pipelines, environments, policies, permissions.

https://learn.microsoft.com/en-us/rest/api/azure/devops: each is read into a mapping and written
from one, by kind and name. Identifiers of policies, checks and permissions are Microsoft's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import quote

from gitops.forge.address import identities
from gitops.forge.azure import Azure
from gitops.forge.client import Answer, Client, Refused, objects, part, pick

_PREVIEW = {"api-version": "7.1-preview.1"}
_MOST: dict[str, str | int] = {"$top": 1000}
_CHECKS = {
    "approval": ("8c6f20a7-a545-4486-9777-f762fafe0d4d", "Approval"),
    "exclusive lock": ("2ef31ad6-baa0-403a-8b45-2cbc9b4e5563", "ExclusiveLock"),
    "branch control": ("fe1de3ee-a436-41b4-bb20-f6eb4cb879a7", "Task Check"),
}
_BRANCH_CONTROL = {
    "id": "86b05a0c-73e6-4f7d-b3cf-e38f3b39a75b",
    "name": "evaluatebranchProtection",
    "version": "0.0.1",
}
_TIMEOUT = 43_200  # minutes that a run waits for a check: thirty days, as the portal has it
_POLICIES = {
    "build validation": "0609b952-1397-4640-95ec-e00a01b2c241",
    "reviewers": "fa4e907d-c16b-4a4c-9dfa-4906e5d171dd",
    "required reviewers": "fd2167ab-b0be-447a-8ec8-39368250530e",
    "merge types": "fa4e907d-c16b-4a4c-9dfa-4916e5d171ab",
}
_GIT = "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87"  # the security namespace of repositories
_BITS = {
    "Contribute": 4,
    "Force push": 8,
    "Create branch": 16,
    "Create tag": 32,
    "Contribute to pull requests": 16_384,
}


@dataclass(frozen=True)
class AzureSettings:
    """Reads and writes settings of one repository and of its project.

    `mark`: the name by which a policy of ours is told from others of its kind.
    """

    azure: Azure
    mark: str
    name: str = "Azure DevOps"

    @property
    def client(self) -> Client:
        return self.azure.client

    @property
    def _project(self) -> str:
        return f"{quote(self.azure.project, safe='')}/_apis"

    @cached_property
    def _repository(self) -> Mapping[str, Any]:
        path = f"{self._project}/git/repositories/{quote(self.azure.repository, safe='')}"
        found = self.client.send("GET", path, needs="vso.code: Code (read)").data
        return {
            "id": pick(found, str, "id"),
            "name": pick(found, str, "name"),
            "project": pick(found, str, "project", "id"),
        }

    def facts(self) -> str:
        """The repository's name. ToolError: it isn't there, or the token may not see it."""
        return f"{self.azure.project}/{self._repository['name']}"

    def read(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """A setting as it is; None: it isn't there.

        Raises:
            ToolError: as `Client.send`.
        """
        if kind in _CHECKS:
            check = self._check(kind, name)
            return check and check[1]
        if kind in _POLICIES:
            policy = self._policy(kind, name)
            return policy and policy[1]
        match kind:
            case "pipeline":
                found = self._pipelines().get(name)
                return found and {"file": found[1], "folder": found[2]}
            case "environment":
                return None if self._environment(name) is None else {"name": name}
            case "permissions":
                return self._permissions(name)
            case "variable group":
                group = self._group(name)
                values = part(group or {}, "variables")
                return group and {key: part(values, key).get("value") for key in values}
            case "service connection":
                endpoint = self._endpoint(name)
                return endpoint and _connection(endpoint)
        raise AssertionError(kind)

    def write(
        self, kind: str, name: str, have: Mapping[str, Any] | None, value: Mapping[str, Any]
    ) -> None:
        """Make a setting `value`, which was `have` (None: it wasn't there).

        Raises:
            ToolError: as `read`.
        """
        if kind in _CHECKS:
            self._write_check(kind, name, value)
        elif kind in _POLICIES:
            self._write_policy(kind, name, value)
        elif kind == "pipeline":
            self._write_pipeline(name, value)
        elif kind == "environment":
            needs = "vso.environment_manage: Environment (read and manage)"
            path = f"{self._project}/distributedtask/environments"
            body = {"name": name, "description": self.mark}
            self.client.send("POST", path, needs=needs, body=body)
        elif kind == "permissions":
            self._write_permissions(name, value)
        elif kind == "variable group":
            self._write_group(name, value)
        elif kind == "service connection":
            self._write_connection(name, value)
        else:
            raise AssertionError(kind)

    def identity(self, who: str) -> str | None:
        """The id of an approver: an address, or `@project/team`; None: there's none."""
        if who.startswith("@"):
            project, _, team = who.removeprefix("@").partition("/")
            path = f"_apis/projects/{quote(project, safe='')}/teams/{quote(team, safe='')}"
            if not team:
                return None
            try:
                found = self.client.send("GET", path, needs="vso.project: Project and team (read)")
            except Refused as error:
                if error.status != 404:
                    raise
                return None
            return pick(found.data, str, "id")
        people = [
            one
            for one in self._search(who)
            if not one.get("isContainer") and _mail(one) == who.lower()
        ]
        return pick(people[0], str, "id") if len(people) == 1 else None

    def trust(self, connection: str) -> tuple[str, str] | None:
        """Issuer and subject of the tokens of a service connection; None: it isn't there."""
        endpoint = self._endpoint(connection)
        values = part(part(endpoint or {}, "authorization"), "parameters")
        issuer = values.get("workloadIdentityFederationIssuer")
        subject = values.get("workloadIdentityFederationSubject")
        return (issuer, subject) if isinstance(issuer, str) and isinstance(subject, str) else None

    # ------------------------------------------------------------ pipelines

    def _pipelines(self) -> dict[str, tuple[int, str, str]]:
        """Number, file and folder of this repository's pipelines, by name."""
        query: dict[str, str | int] = {
            "repositoryId": self._repository["id"],
            "repositoryType": "TfsGit",
            "includeAllProperties": "true",
            **_MOST,
        }
        found = self._list(f"{self._project}/build/definitions", "vso.build: Build (read)", query)
        return {
            pick(one, str, "name"): (
                pick(one, int, "id"),
                str(part(one, "process").get("yamlFilename", "")).lstrip("/"),
                str(one.get("path", "\\")),
            )
            for one in found
        }

    def _write_pipeline(self, name: str, value: Mapping[str, Any]) -> None:
        if name in self._pipelines():
            raise Refused(
                f"the pipeline {name} is another file or folder",
                fix=f"in the portal: Pipelines, {name}, Settings: the file {value['file']}; or"
                " delete it, and run this again",
                status=409,
            )
        repository = {
            "id": self._repository["id"],
            "name": self._repository["name"],
            "type": "azureReposGit",
        }
        body = {
            "name": name,
            "folder": value["folder"],
            "configuration": {
                "type": "yaml",
                "path": f"/{value['file']}",
                "repository": repository,
            },
        }
        needs = "vso.build_execute: Build (read and execute), Edit build pipeline"
        self.client.send("POST", f"{self._project}/pipelines", needs=needs, body=body)

    # ------------------------------------------------------------ environments and their checks

    def _environment(self, name: str) -> int | None:
        path = f"{self._project}/distributedtask/environments"
        found = self._list(path, "vso.environment_manage: Environment (read)", {"name": name})
        numbers = [pick(one, int, "id") for one in found if one.get("name") == name]
        return numbers[0] if numbers else None

    def _check(self, kind: str, environment: str) -> tuple[int, dict[str, Any]] | None:
        number = self._environment(environment)
        if number is None:
            return None
        query = {"resourceType": "environment", "resourceId": str(number), "$expand": "settings"}
        path = f"{self._project}/pipelines/checks/configurations"
        for one in self._list(path, _CHECKS_SCOPE, {**query, **_PREVIEW}):
            settings = part(one, "settings")
            about = str(part(settings, "definitionRef").get("id", "")).lower()
            if str(part(one, "type").get("id", "")).lower() != _CHECKS[kind][0]:
                continue
            if kind == "approval":
                people = [str(who["id"]) for who in settings.get("approvers") or ()]
                return pick(one, int, "id"), {**settings, "approvers": sorted(people)}
            if kind == "exclusive lock":
                return pick(one, int, "id"), {}
            if about == _BRANCH_CONTROL["id"]:
                return pick(one, int, "id"), dict(part(settings, "inputs"))
        return None

    def _write_check(self, kind: str, environment: str, value: Mapping[str, Any]) -> None:
        number = self._environment(environment)
        if number is None:
            text = f"there's no environment {environment}"
            raise Refused(text, fix="mend that first", status=404)
        settings: dict[str, Any] = {}
        if kind == "approval":
            settings = {**value, "approvers": [{"id": who} for who in value["approvers"]]}
        elif kind == "branch control":
            settings = {
                "displayName": self.mark,
                "definitionRef": _BRANCH_CONTROL,
                "inputs": dict(value),
                "retryInterval": 5,
            }
        identifier, label = _CHECKS[kind]
        body = {
            "type": {"id": identifier, "name": label},
            "settings": settings,
            "resource": {"type": "environment", "id": str(number), "name": environment},
            "timeout": _TIMEOUT,
        }
        there = self._check(kind, environment)
        path = f"{self._project}/pipelines/checks/configurations"
        self.client.send(
            "PATCH" if there else "POST",
            f"{path}/{there[0]}" if there else path,
            needs=_CHECKS_SCOPE,
            query=_PREVIEW,
            body=body,
        )

    # ------------------------------------------------------------ branch policies

    def _policy(self, kind: str, branch: str) -> tuple[int, dict[str, Any]] | None:
        """The policy of this branch alone; of kinds that a branch may have several of, ours."""
        query: dict[str, str | int] = {
            "repositoryId": self._repository["id"],
            "refName": f"refs/heads/{branch}",
            "policyType": _POLICIES[kind],
            **_MOST,
        }
        for one in self._list(f"{self._project}/git/policy/configurations", _POLICY, query):
            settings = dict(part(one, "settings"))
            scope = objects(settings, "scope") if settings.get("scope") else []
            ours = {"build validation": "displayName", "required reviewers": "message"}.get(kind)
            if (
                one.get("isDeleted")
                or len(scope) != 1
                or scope[0].get("refName") != f"refs/heads/{branch}"
                or str(scope[0].get("repositoryId")).lower() != self._repository["id"].lower()
                or (ours and settings.get(ours) != self.mark)
            ):
                continue
            settings.pop("scope")
            if kind == "build validation":
                number = settings.pop("buildDefinitionId", None)
                names = {found[0]: name for name, found in self._pipelines().items()}
                settings["pipeline"] = names.get(number, "")
            found = {"isEnabled": one.get("isEnabled"), "isBlocking": one.get("isBlocking")}
            return pick(one, int, "id"), {**found, "settings": settings}
        return None

    def _write_policy(self, kind: str, branch: str, value: Mapping[str, Any]) -> None:
        settings = dict(value["settings"])
        if kind == "build validation":
            pipeline = self._pipelines().get(settings.pop("pipeline"))
            if pipeline is None:
                raise Refused("its pipeline isn't there", fix="mend that first", status=404)
            settings["buildDefinitionId"] = pipeline[0]
        scope = {
            "repositoryId": self._repository["id"],
            "refName": f"refs/heads/{branch}",
            "matchKind": "Exact",
        }
        body = {
            "isEnabled": value["isEnabled"],
            "isBlocking": value["isBlocking"],
            "type": {"id": _POLICIES[kind]},
            "settings": {**settings, "scope": [scope]},
        }
        there = self._policy(kind, branch)
        path = f"{self._project}/policy/configurations"
        self.client.send(
            "PUT" if there else "POST",
            f"{path}/{there[0]}" if there else path,
            needs=_POLICY,
            body=body,
        )

    # ------------------------------------------------------------ permissions of the build service

    def _permissions(self, ref: str) -> dict[str, Any]:
        service = self._build_service()
        if service is None:
            return {}
        query: dict[str, str | int] = {"token": self._token(ref), "descriptors": service}
        entries: dict[str, Any] = {}
        for one in self._list(f"_apis/accesscontrollists/{_GIT}", _SECURITY, query):
            if one.get("token") == self._token(ref):
                entries = dict(part(part(one, "acesDictionary"), service))
        found = {}
        for name, bit in _BITS.items():
            for word in ("allow", "deny"):
                if int(entries.get(word) or 0) & bit:
                    found[name] = word
        return found

    def _write_permissions(self, ref: str, value: Mapping[str, Any]) -> None:
        service = self._build_service()
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
        body = {"token": self._token(ref), "merge": True, "accessControlEntries": [entry]}
        self.client.send("POST", f"_apis/accesscontrolentries/{_GIT}", needs=_SECURITY, body=body)

    def _token(self, ref: str) -> str:
        """devblogs.microsoft.com/devops/git-repo-tokens-for-the-security-service: each part of a
        branch's name in hexadecimal UTF-16; "" is the whole repository."""
        place = f"repoV2/{self._repository['project']}/{self._repository['id']}"
        if not ref:
            return place
        parts = [one.encode("utf-16-le").hex() for one in ref.split("/")]
        return f"{place}/refs/heads/{'/'.join(parts)}"

    def _build_service(self) -> str | None:
        """The descriptor of the identity that this project's pipelines run as."""
        organization = self.client.base.rstrip("/").rpartition("/")[2]
        ending = f":Build:{self._repository['project']}".lower()
        for one in self._search(f"{self.azure.project} Build Service ({organization})"):
            descriptor = pick(one, str, "descriptor")
            if descriptor.lower().endswith(ending):
                return descriptor
        return None

    def _search(self, text: str) -> list[dict[str, Any]]:
        client = replace(self.client, base=identities(self.client.base))
        query = {"searchFilter": "General", "filterValue": text, "queryMembership": "None"}
        needs = "vso.identity: Identity (read)"
        answer = client.send("GET", "_apis/identities", needs=needs, query=query)
        return [one for one in objects(answer.data, "value") if one]

    # ------------------------------------------------------------ variables and connections

    def _group(self, name: str) -> dict[str, Any] | None:
        path = f"{self._project}/distributedtask/variablegroups"
        found = self._list(path, _GROUPS, {"groupName": name})
        return next((one for one in found if one.get("name") == name), None)

    def _write_group(self, name: str, value: Mapping[str, Any]) -> None:
        there = self._group(name)
        # A secret isn't told: what is sent back without a value keeps it.
        kept = dict(part(there or {}, "variables"))
        ours = {key: {"value": text} for key, text in value.items() if text is not None}
        body = {
            "type": "Vsts",
            "name": name,
            "variables": {**kept, **ours},
            "variableGroupProjectReferences": [self._reference(name)],
        }
        path = "_apis/distributedtask/variablegroups"
        self.client.send(
            "PUT" if there else "POST",
            f"{path}/{pick(there, int, 'id')}" if there else path,
            needs=_GROUPS,
            body=body,
        )

    def _endpoint(self, name: str) -> dict[str, Any] | None:
        path = f"{self._project}/serviceendpoint/endpoints"
        found = self._list(path, _ENDPOINTS, {"endpointNames": name})
        return next((one for one in found if one.get("name") == name), None)

    def _write_connection(self, name: str, value: Mapping[str, Any]) -> None:
        there = self._endpoint(name)
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
            "serviceEndpointProjectReferences": [self._reference(name)],
        }
        path = "_apis/serviceendpoint/endpoints"
        if there:
            body["id"] = pick(there, str, "id")
        self.client.send(
            "PUT" if there else "POST",
            f"{path}/{body['id']}" if there else path,
            needs=_ENDPOINTS,
            body=body,
        )

    def _reference(self, name: str) -> dict[str, Any]:
        project = {"id": self._repository["project"], "name": self.azure.project}
        return {"name": name, "projectReference": project}

    def _list(self, path: str, needs: str, query: Mapping[str, str | int]) -> list[dict[str, Any]]:
        answer: Answer = self.client.send("GET", path, needs=needs, query=query)
        return objects(answer.data, "value")


_CHECKS_SCOPE = "vso.environment_manage: Environment (read and manage), and its Administrator"
_POLICY = "vso.code_manage: Code (read, write and manage), Edit policies"
_SECURITY = "vso.security_manage: Security (manage), Manage permissions"
_GROUPS = "vso.variablegroups_manage: Variable groups (read, create and manage)"
_ENDPOINTS = "vso.serviceendpoint_manage: Service connections (read, query and manage)"


def _connection(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    authorization = part(endpoint, "authorization")
    values = part(authorization, "parameters")
    return {
        "scheme": authorization.get("scheme"),
        "client": values.get("serviceprincipalid"),
        "tenant": values.get("tenantid"),
        "subscription": part(endpoint, "data").get("subscriptionId"),
    }


def _mail(identity: Mapping[str, Any]) -> str:
    properties = part(identity, "properties")
    found = part(properties, "Mail").get("$value") or part(properties, "Account").get("$value")
    return str(found).lower()
