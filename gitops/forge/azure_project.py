"""What all settings of a project on Azure DevOps are read and written with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from urllib.parse import quote

from gitops.forge.address import identities
from gitops.forge.azure import Azure
from gitops.forge.client import Answer, Refused, objects, part, pick

MOST: dict[str, str | int] = {"$top": 1000}  # more than a project has: no second page is asked for


@dataclass(frozen=True)
class Project:
    """One repository's project.

    `mark`: the name by which a policy of ours is told from others of its kind.
    """

    azure: Azure
    mark: str
    _people: dict[str, str] = field(default_factory=dict)  # who was asked for, by id

    @property
    def path(self) -> str:
        """The project's place in the API."""
        return f"{quote(self.azure.project, safe='')}/_apis"

    @cached_property
    def repository(self) -> Mapping[str, Any]:
        """`id`, `name` and the id of its `project`."""
        path = f"{self.path}/git/repositories/{quote(self.azure.repository, safe='')}"
        found = self.azure.client.send("GET", path, needs="vso.code: Code (read)").data
        return {
            "id": pick(found, str, "id"),
            "name": pick(found, str, "name"),
            "project": pick(found, str, "project", "id"),
        }

    def all(self, path: str, needs: str, query: Mapping[str, str | int]) -> list[dict[str, Any]]:
        """All items of a list."""
        answer: Answer = self.azure.client.send("GET", path, needs=needs, query=query)
        return objects(answer.data, "value")

    def put(
        self,
        path: str,
        number: int | str | None,
        needs: str,
        body: Mapping[str, Any],
        *,
        method: str = "PUT",
        query: Mapping[str, str | int] | None = None,
    ) -> None:
        """Create something, or change (`method`) the one with that `number`."""
        place = path if number is None else f"{path}/{number}"
        verb = "POST" if number is None else method
        self.azure.client.send(verb, place, needs=needs, query=query, body=body)

    def pipelines(self) -> dict[str, tuple[int, str, str]]:
        """Number, file and folder of this repository's pipelines, by name."""
        query: dict[str, str | int] = {
            "repositoryId": self.repository["id"],
            "repositoryType": "TfsGit",
            "includeAllProperties": "true",
            **MOST,
        }
        found = self.all(f"{self.path}/build/definitions", "vso.build: Build (read)", query)
        return {
            pick(one, str, "name"): (
                pick(one, int, "id"),
                str(part(one, "process").get("yamlFilename", "")).lstrip("/"),
                str(one.get("path", "\\")),
            )
            for one in found
        }

    def environment(self, name: str) -> int | None:
        """The number of an environment; None: it isn't there."""
        path = f"{self.path}/distributedtask/environments"
        found = self.all(path, "vso.environment_manage: Environment (read)", {"name": name})
        numbers = [pick(one, int, "id") for one in found if one.get("name") == name]
        return numbers[0] if numbers else None

    def knows(self, who: str) -> bool:
        """Whether there's an approver of this address, or a team `@project/team`.

        Settings name approvers as they were asked for here, and others by their id.
        """
        number = self._identity(who)
        if number is not None:
            self._people[number.lower()] = who
        return number is not None

    def _identity(self, who: str) -> str | None:
        if who.startswith("@"):
            project, _, team = who.removeprefix("@").partition("/")
            path = f"_apis/projects/{quote(project, safe='')}/teams/{quote(team, safe='')}"
            if not team:
                return None
            try:
                found = self.azure.client.send(
                    "GET", path, needs="vso.project: Project and team (read)"
                )
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

    def names(self, numbers: Iterable[object]) -> Sequence[str]:
        """Approvers of these ids."""
        return sorted(self._people.get(str(one).lower(), str(one)) for one in numbers)

    def ids(self, names: Iterable[str]) -> Sequence[str]:
        """The ids of approvers."""
        ids = {name: number for number, name in self._people.items()}
        return [ids.get(name, name) for name in names]

    def build_service(self) -> str | None:
        """The descriptor of the identity that this project's pipelines run as."""
        organization = self.azure.client.base.rstrip("/").rpartition("/")[2]
        ending = f":Build:{self.repository['project']}".lower()
        for one in self._search(f"{self.azure.project} Build Service ({organization})"):
            descriptor = pick(one, str, "descriptor")
            if descriptor.lower().endswith(ending):
                return descriptor
        return None

    def _search(self, text: str) -> list[dict[str, Any]]:
        client = replace(self.azure.client, base=identities(self.azure.client.base))
        query = {"searchFilter": "General", "filterValue": text, "queryMembership": "None"}
        needs = "vso.identity: Identity (read)"
        answer = client.send("GET", "_apis/identities", needs=needs, query=query)
        return [one for one in objects(answer.data, "value") if one]


def _mail(identity: Mapping[str, Any]) -> str:
    properties = part(identity, "properties")
    found = part(properties, "Mail").get("$value") or part(properties, "Account").get("$value")
    return str(found).lower()
