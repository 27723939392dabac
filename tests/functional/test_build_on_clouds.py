"""Jobs on Azure ML, Databricks and Kubernetes: the real program, by stand-ins of their tools."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops.errors import ConfigError, ToolError
from gitops.reproduce.compute import submit
from tests import cloud_tools, elsewhere, stores
from tests.conftest import PROJECT, UV
from tests.elsewhere import Elsewhere, git

if TYPE_CHECKING:
    from tests.conftest import Repository

pytestmark = pytest.mark.functional

KINDS = {
    "azureml": "{cluster: gpu, workspace: flights, group: flights-dev}",
    "databricks": '{host: "https://adb-1.2.azuredatabricks.net"}',
    "kubernetes": "{namespace: builds, gpus: 1}",
}


@pytest.fixture
def endpoint() -> Iterator[str]:
    with stores.s3() as address:
        yield address


@dataclass(frozen=True)
class Cloud:
    """A repository whose storage is a service, and the state of the stand-ins."""

    place: Elsewhere
    state: Path

    @property
    def log(self) -> str:
        return "\n".join(path.read_text() for path in self.state.glob("*/log"))


@pytest.fixture
def cloud(
    request: pytest.FixtureRequest,
    light: Repository,
    wheel: Path,
    endpoint: str,
    tmp_path: Path,
    git_identity: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Cloud:
    """For the kind that the test asks for."""
    tools, state = tmp_path / "tools", tmp_path / "cloud"
    cloud_tools.install(tools)
    state.mkdir()
    path = os.pathsep.join([str(tools), git_identity["PATH"], str(UV.parent)])
    more = {"CLOUD": str(state), "PATH": path, **stores.AWS}
    elsewhere.environment(monkeypatch, {**git_identity, **more})
    vendored = light.root / ".gitops" / "tool"
    vendored.mkdir(parents=True)
    shutil.copy(wheel, vendored)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lines = (PROJECT / "requirements" / "tool.txt").read_text()
    own = f"./.gitops/tool/{wheel.name} --hash=sha256:{digest}\n"
    (vendored / "requirements.txt").write_text(lines + own)
    git(light.root, "add", "--all")
    elsewhere.declared(
        light.root, f"compute:\n  far: {{{request.param}: {KINDS[request.param]}}}\n"
    )
    elsewhere.at(light.root, {"url": "s3://models/churn", "endpointurl": endpoint})
    place = Elsewhere(light.root, light.storage)
    place.change(note="second")
    return Cloud(place, state)


WHY = pytest.mark.extended("the same program as on Azure ML, started by another tool")
REAL = ["azureml", *(pytest.param(one, marks=WHY) for one in ("databricks", "kubernetes"))]


@pytest.mark.parametrize("cloud", REAL, indirect=True)
def test_the_real_program_runs_where_the_platform_starts_it(cloud: Cloud) -> None:
    place = cloud.place
    outcome = place.build()
    assert outcome.commit == git(place.root, "rev-parse", "HEAD"), cloud.log
    assert outcome.pushed == "s3://models/churn"
    assert outcome.models[0].stages["package"] == "ran"
    assert "second" in (place.root / "models" / "package" / "MODEL_CARD.md").read_text()
    assert any(line.startswith("far: left: package") for line in place.said)
    leftovers = {path.name for path in cloud.state.iterdir() if path.name.startswith("configmap")}
    bundles = cloud.state / "bundles"
    assert not leftovers
    assert not bundles.exists() or not list(bundles.iterdir())


WORDS = {"azureml": "Queued", "databricks": "Waiting for cluster", "kubernetes": "Unschedulable"}


@pytest.mark.parametrize("cloud", KINDS, indirect=True)
def test_a_job_that_never_starts_is_seen_found_again_and_cancelled(cloud: Cloud) -> None:
    (cloud.state / "full").touch()
    place = cloud.place
    kind = place.request.config.compute["far"].kind
    one = place.submit()
    again = place.submit()
    assert again.job == one.job
    assert one.platform.submit(Path(_laid(one, cloud.state))) == submit._handle(one.box)
    seen = one.platform.look(submit._handle(one.box))
    assert seen.state == "waiting"
    assert WORDS[kind] in seen.says
    assert submit.cancel(place.request) == one.job.id
    assert one.platform.look(submit._handle(one.box)).state in ("ended", "absent")
    assert submit.cancel(place.request) is None


def _laid(one: submit.Submitted, state: Path) -> str:
    from gitops.reproduce.compute.platform import lay

    folder = state / "again"
    folder.mkdir()
    lay(folder, one.platform.documents())
    return str(folder)


LOGS = {"azureml": "az ml job stream --name gitops-", "databricks": "databricks jobs get-run "}


@pytest.mark.parametrize("cloud", LOGS, indirect=True)
def test_a_job_whose_program_does_not_come_up_is_told_with_where_to_read(cloud: Cloud) -> None:
    place = cloud.place
    kind = place.request.config.compute["far"].kind
    bad = (place.root / ".gitops" / "tool" / "requirements.txt").read_text()
    broken = bad.replace("--hash=sha256:", "--hash=sha256:0", 1)
    (place.root / ".gitops" / "tool" / "requirements.txt").write_text(broken)
    place.change(note="third")
    with pytest.raises(ToolError, match=r"without a result: .*(Failed|FAILED)") as caught:
        place.build()
    assert LOGS[kind] in caught.value.fix
    bundles = cloud.state / "bundles"
    assert not bundles.exists() or not list(bundles.iterdir())


@pytest.mark.parametrize("cloud", ["kubernetes"], indirect=True)
def test_what_cannot_go_is_said_before_anything_is_submitted(cloud: Cloud) -> None:
    root = cloud.place.root
    elsewhere.at(root, {"url": str(cloud.place.storage)})
    with pytest.raises(ConfigError, match="folder of this machine"):
        cloud.place.submit()
    (wheel,) = (root / ".gitops" / "tool").glob("*.whl")
    git(root, "mv", str(wheel), str(wheel.with_name("gitops_ml-0.0.1-py3-none-any.whl")))
    git(root, "commit", "--quiet", "-m", "Another tool")
    (root / ".dvc" / "config.local").write_text("")
    elsewhere.at(root, {"url": "s3://models/churn", "endpointurl": "http://127.0.0.1:9"})
    with pytest.raises(ConfigError, match=r"brings 0\.0\.1"):
        submit._refuse_what_cannot_go(cloud.place.request)
    assert not list(cloud.state.iterdir())
