"""A repository's settings on Azure DevOps: pipelines, environments, policies, permissions.

https://learn.microsoft.com/en-us/rest/api/azure/devops: each is read into a mapping and written
from one, by kind and name. Identifiers of policies, checks and permissions are Microsoft's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gitops.forge import azure_access as access
from gitops.forge import azure_rules as rules
from gitops.forge.azure_project import Project
from gitops.forge.client import Refused


@dataclass(frozen=True)
class AzureSettings:
    """Reads and writes settings of one repository and of its project."""

    project: Project
    name: str = "Azure DevOps"

    def facts(self) -> str:
        """The repository's name. ToolError: it isn't there, or the token may not see it."""
        return f"{self.project.azure.project}/{self.project.repository['name']}"

    def knows(self, who: str) -> bool:
        """As `Project.knows`."""
        return self.project.knows(who)

    def trust(self, connection: str) -> tuple[str, str] | None:
        """As `azure_access.trust`."""
        return access.trust(self.project, connection)

    def read(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """A setting as it is; None: it isn't there.

        Raises:
            ToolError: as `Client.send`.
        """
        if kind in rules.CHECKS:
            check = rules.check(self.project, kind, name)
            return check and check[1]
        if kind in rules.POLICIES:
            policy = rules.policy(self.project, kind, name)
            return policy and policy[1]
        match kind:
            case "pipeline":
                found = self.project.pipelines().get(name)
                return found and {"file": found[1], "folder": found[2]}
            case "environment":
                return None if self.project.environment(name) is None else {"name": name}
            case "permissions":
                return access.permissions(self.project, name)
            case "service connection":
                return access.connection(self.project, name)
        raise AssertionError(kind)

    def write(
        self, kind: str, name: str, have: Mapping[str, Any] | None, value: Mapping[str, Any]
    ) -> None:
        """Make a setting `value`, which was `have` (None: it wasn't there).

        Raises:
            ToolError: as `read`.
        """
        if kind in rules.CHECKS:
            rules.write_check(self.project, kind, name, value)
        elif kind in rules.POLICIES:
            rules.write_policy(self.project, kind, name, value)
        elif kind == "pipeline":
            self._write_pipeline(name, have, value)
        elif kind == "environment":
            needs = "vso.environment_manage: Environment (read and manage)"
            path = f"{self.project.path}/distributedtask/environments"
            body = {"name": name, "description": self.project.mark}
            self.project.put(path, None, needs, body)
        elif kind == "permissions":
            access.write_permissions(self.project, name, value)
        elif kind == "service connection":
            access.write_connection(self.project, name, value)
        else:
            raise AssertionError(kind)

    def _write_pipeline(
        self, name: str, have: Mapping[str, Any] | None, value: Mapping[str, Any]
    ) -> None:
        if have is not None:
            raise Refused(
                f"the pipeline {name} has another file",
                fix=f"in the portal give it the file {value['file']}, or rename it, and run this"
                " again",
                status=409,
            )
        repository = {
            "id": self.project.repository["id"],
            "name": self.project.repository["name"],
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
        self.project.put(f"{self.project.path}/pipelines", None, needs, body)
