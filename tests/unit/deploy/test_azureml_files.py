"""Azure ML's own readers on the files that are generated, and on what is really handed over."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from gitops import config
from gitops.deploy.azureml import documents
from gitops.errors import ConfigError
from gitops.scaffold import targets as scaffold
from tests.unit.deploy import test_azureml as other
from tests.unit.deploy.test_azureml import BESIDE, GITOPS, PROMOTED, SPLIT, cloud, machine

__all__ = ["cloud"]
PYTHON = Path(__file__).parents[3] / ".azureml" / "bin" / "python"
# Reads (reader, path) pairs, and says what each reader has against its file.
READ = """
import json, logging, sys
logging.disable(logging.CRITICAL)
from azure.ai.ml import load_batch_endpoint, load_online_deployment, load_online_endpoint
from azure.ai.ml.entities._load_functions import load_pipeline_component_batch_deployment
from azure.ai.ml.entities import ManagedOnlineDeployment

READERS = {
    "online-endpoint": load_online_endpoint,
    "online-deployment": load_online_deployment,
    "batch-endpoint": load_batch_endpoint,
    "batch-deployment": load_pipeline_component_batch_deployment,
}
said = []
for reader, path in json.load(sys.stdin):
    try:
        made = READERS[reader](path)
        if isinstance(made, ManagedOnlineDeployment):
            made._to_rest_object("westeurope")
        said.append("")
    except Exception as error:
        said.append(str(error))
json.dump(said, sys.stdout)
"""
KINDS = {
    "endpoint.yaml": "online-endpoint",
    "deployment.yaml": "online-deployment",
    "batch-endpoint.yaml": "batch-endpoint",
    "batch-deployment.yaml": "batch-deployment",
}
BATCH = GITOPS.replace("azureml: {w", "azureml: {batch: true, w")
PROVISIONED = """\
version: 1
project: a-project-with-a-long-name
environments:
  - {name: dev, branch: main}
  - {name: staging, branch: release/staging}
  - {name: production, branch: release/production}
models:
  late: {task: binary, deploy: {target: azureml}}
  fare: {task: regression, path: models/fare, deploy: {target: azureml}}
  mine: {task: binary, path: models/mine}
infrastructure:
  provider: azure
  id: k7q2m9xd
  private: true
  components: {azureml: {cpu: {}}}
targets: {azureml: {batch: true}}
"""
# A misspelt key, or a value of another kind, in each kind of file.
MUTATIONS = {
    "online-endpoint": ("auth_mode:", "auth_mod:"),
    "online-deployment": ("request_timeout_ms:", "request_timeout:"),
    "batch-endpoint": ("auth_mode: aad_token", "auth_mode: none"),
    "batch-deployment": ("settings:", "setting:"),
}
MORE = [
    ("online-deployment", "instance_type:", "instance_typ:"),
    ("online-deployment", "sampling_rate: 1.0", "sampling_rate: 2.0"),
    ("online-deployment", 'request: {enabled: "true"}', 'request: {enabled: "maybe"}'),
    ("online-deployment", "rolling_rate: hour", "rolling_rate: week"),
    ("online-endpoint", "name: flights", "name: 1flights"),
]


def rendered(text: str) -> dict[str, str]:
    declared = config.parse(text.encode(), Path("gitops.yaml"))
    return {
        str(one.path): one.content.decode()
        for one in scaffold.rendered(declared)
        if one.path.parts[:2] == ("deploy", "azureml")
    }


def read(pairs: list[tuple[str, Path]]) -> list[str]:
    """What the official readers say of files, "" of those that they take."""
    if not PYTHON.exists():
        pytest.skip("azure-ai-ml isn't here: make .azureml/ready")
    done = subprocess.run(
        [PYTHON, "-c", READ],
        input=json.dumps([(kind, str(path)) for kind, path in pairs]),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


def put(folder: Path, files: dict[str, str]) -> list[tuple[str, Path]]:
    found = []
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if path.name in KINDS:
            found.append((KINDS[path.name], path))
    return found


def test_official_readers_take_what_is_generated_and_handed_over_and_no_mutation(
    cloud: other.Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [
        pair
        for at, text in enumerate((GITOPS, BATCH, PROVISIONED))
        for pair in put(tmp_path / str(at), rendered(text))
    ]
    files = {Path(name).name: text for name, text in rendered(BATCH).items()}
    here = machine(tmp_path / "state", files)
    for one in (BESIDE, SPLIT, PROMOTED):
        here.apply(one)
    for folder in sorted((cloud.top / "handed").iterdir()):
        good.append((folder.name.partition("-")[2], folder / "document.yaml"))
    assert {kind for kind, path in good if "handed" in path.parts} == set(KINDS.values())
    bad = []
    texts = {KINDS[name]: text for name, text in files.items() if name in KINDS}
    wrong = [(kind, *both) for kind, both in MUTATIONS.items()] + MORE
    for at, (kind, old, new) in enumerate(wrong):
        assert old in texts[kind]
        name = next(name for name, one in KINDS.items() if one == kind)
        own = {**files, name: texts[kind].replace(old, new, 1)}
        bad += [pair for pair in put(tmp_path / f"bad-{at}", own) if pair[0] == kind]
    monkeypatch.undo()  # real processes again
    said = read(good + bad)
    assert {path: text for (_, path), text in zip(good, said, strict=False) if text} == {}
    assert [text for text in said[len(good) :] if not text] == []


def test_what_is_generated_for_whom() -> None:
    assert rendered("version: 1\nproject: p\nmodels: {late: {task: binary}}\n") == {}
    top = "deploy/azureml/production/late"
    assert set(rendered(GITOPS)) == {f"{top}/endpoint.yaml", f"{top}/deployment.yaml"}
    found = rendered(PROVISIONED)
    assert {name.split("/")[2] for name in found} == {"staging", "production"}
    assert {name.split("/")[3] for name in found} == {"late", "fare"}
    assert len(found) == 2 * 2 * 5
    endpoint = found[f"{top}/endpoint.yaml"]
    assert "public_network_access: disabled" in endpoint
    assert "/subscriptions/SUBSCRIPTION/resourceGroups/a-project" in endpoint


def test_nothing_that_a_plan_says_is_generated() -> None:
    for text in rendered(PROVISIONED).values():
        assert not re.search(r"sha256:|v\d+-\d+|^ *(traffic|mirror_traffic):", text, re.MULTILINE)


def test_endpoints_have_names_of_their_own() -> None:
    found = [
        re.search(r"^name: (\S+)", text, re.MULTILINE)[1]  # type: ignore[index]
        for name, text in rendered(PROVISIONED).items()
        if name.endswith("endpoint.yaml")
    ]
    assert len(set(found)) == len(found) == 8
    assert all(re.fullmatch(r"(?!.*--)[a-z][a-z0-9-]{1,30}[a-z0-9]", one) for one in found)
    elsewhere = rendered(GITOPS.replace("{name: flights, r", "{name: flights2, r"))
    mine = rendered(GITOPS)
    names = [documents.endpoint_name(_named(one), "late") for one in (mine, elsewhere)]
    assert names[0] != names[1]


def _named(files: dict[str, str]) -> dict[str, str]:
    return {Path(name).name: text for name, text in files.items()}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("production: {name: f", "nowhere: {name: f", "there's no environment .nowhere"),
        ("targets:", "other:", "no workspace is known for production"),
        ("branch: release/production}", "branch: p, rollout: {steps: [5], key: a}}", "no key"),
        ("name: flights, r", "name: f, r", "a workspace's name"),
        ("azureml: {w", "azureml: {batch: yes, w", "batch"),
    ],
)
def test_what_can_not_work_is_refused_when_gitops_yaml_is_read(
    old: str, new: str, why: str
) -> None:
    assert old in GITOPS
    text = GITOPS.replace(old, new)
    if new == "other:":
        text = GITOPS[: GITOPS.index("targets:")]
    with pytest.raises(ConfigError, match=why):
        config.parse(text.encode(), Path("gitops.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("{cpu: {}}", "{}", "no cluster is provisioned"),
        ("batch: true", "workspaces: {staging: {name: abc, resource_group: d}}", "remove one"),
    ],
)
def test_two_answers_to_one_question_are_refused(old: str, new: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        config.parse(PROVISIONED.replace(old, new).encode(), Path("gitops.yaml"))
