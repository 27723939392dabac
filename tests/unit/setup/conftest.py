"""A simulated forge whose settings are kept, and our way to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from gitops import config, forge
from gitops.config import Config
from gitops.forge.azure import Azure
from gitops.forge.azure_project import Project as AzureProject
from gitops.forge.azure_settings import AzureSettings
from gitops.forge.github import GitHub
from gitops.forge.github_settings import GitHubSettings
from tests.forge_azure_settings import Settings as Project
from tests.forge_github_settings import Settings
from tests.forge_server import Server, serve
from tests.forge_simulator import Simulator
from tests.unit.promote.conftest import better, good, line, plain, promoted, running

__all__ = ["azure", "better", "github", "good", "line", "plain", "promoted", "running"]

DOCUMENT = """
version: 1
project: flights
environments:
  - {name: dev, branch: main}
  - {name: staging, branch: release/staging}
  - {name: production, branch: release/production, approvers: ["@ann", "@acme/leads"]}
storage: {remote: "azure://data/flights", account: flightsml}
models:
  late: {task: binary}
"""


def configured(**changes: object) -> Config:
    """The project of these tests, with other values at the top of its file."""
    document = {**yaml.safe_load(DOCUMENT), **changes}
    return config.parse(yaml.safe_dump(document).encode(), Path("gitops.yaml"))


@dataclass
class OnGitHub:
    """A repository on a simulated GitHub."""

    simulator: Simulator
    server: Server
    place: GitHubSettings
    waits: list[float]

    @property
    def settings(self) -> Settings:
        return self.simulator.settings

    def wrote(self) -> list[str]:
        """The requests that may have changed something, since the last call."""
        found = [f"{one.method} {one.path}" for one in self.server.requests if one.method != "GET"]
        self.server.requests.clear()
        return found


@dataclass
class OnAzure:
    """A repository on a simulated Azure DevOps."""

    simulator: Simulator
    server: Server
    place: AzureSettings
    waits: list[float]

    @property
    def settings(self) -> Project:
        return self.simulator.project

    def wrote(self) -> list[str]:
        """The requests that may have changed something, since the last call."""
        found = [f"{one.method} {one.path}" for one in self.server.requests if one.method != "GET"]
        self.server.requests.clear()
        return found


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnAzure]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    simulator, waits = Simulator(tmp_path), list[float]()
    with serve(simulator) as server:
        found = forge.of(server.azure_url, server.azure_env)
        assert isinstance(found, Azure)
        found = replace(found, client=replace(found.client, pause=waits.append))
        yield OnAzure(simulator, server, AzureSettings(AzureProject(found, "gitops")), waits)


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnGitHub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    simulator, waits = Simulator(tmp_path), list[float]()
    with serve(simulator) as server:
        found = forge.of(server.github_url, server.github_env)
        assert isinstance(found, GitHub)
        found = replace(found, client=replace(found.client, pause=waits.append))
        yield OnGitHub(simulator, server, GitHubSettings(found), waits)
