"""One pipeline model: from definitions and gitops.yaml to what each platform is told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gitops import config, content, pipelines
from gitops.errors import ConfigError
from gitops.pipelines import azure, github, resolve
from gitops.pipelines.model import Condition, Permission, Pipeline, Platform

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ENVIRONMENTS = """\
  - {name: dev, branch: main}
  - {name: staging, branch: release/staging}
  - {name: production, branch: release/production}
"""
WORKSPACES = (
    "targets: {azureml: {workspaces: {staging: {name: flights-s, resource_group: flights-s},"
    " production: {name: flights-p, resource_group: flights-p}}}}\n"
)
PLAIN = f"""\
version: 1
project: flights
ci: [github, azure]
environments:
{ENVIRONMENTS}models:
  late: {{task: binary}}
"""
MONOREPO = f"""\
version: 1
project: flights
ci: [github, azure]
environments:
{ENVIRONMENTS}storage: {{remote: azure://data/flights}}
runners:
  reproduce: {{labels: [self-hosted, gpu], pool: training, demands: [gpu]}}
models:
  late: {{task: binary, path: models/late, deploy: {{target: azureml}}}}
  fares: {{task: regression, path: models/fares}}
{WORKSPACES}"""
PLATFORMS: tuple[Platform, ...] = ("github", "azure", "local")
Load = Callable[[str], config.Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write(text: str) -> config.Config:
        (tmp_path / "gitops.yaml").write_text(text)
        return config.load(tmp_path)

    return write


@pytest.fixture
def flights(load: Load) -> config.Config:
    return load(PLAIN)


@pytest.fixture
def pull_request(flights: config.Config) -> Pipeline:
    return pipelines.load("pull-request", flights, "github")


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    """A copy of the shipped definitions, to be broken."""
    return Path(shutil.copytree(content.folder("workflows"), tmp_path / "workflows"))


@pytest.mark.parametrize(("name", "text"), [("plain", PLAIN), ("monorepo", MONOREPO)])
def test_the_files_as_they_are(load: Load, name: str, text: str) -> None:
    """To write what is wanted after a change that was meant: WRITE_GOLDEN=1 pytest."""
    made = dict(pipelines.render(load(text)))
    folder = GOLDEN / name
    if os.environ.get("WRITE_GOLDEN"):
        shutil.rmtree(folder, ignore_errors=True)
        for path, data in made.items():
            (folder / path.lstrip(".")).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.lstrip(".")).write_bytes(data)
    wanted = {
        f".{file.relative_to(folder)}": file.read_bytes() for file in sorted(folder.rglob("*.yml"))
    }
    assert len(wanted) == 10
    assert made == wanted


@pytest.mark.parametrize(
    ("ci", "folders"),
    [
        ("github", {".github"}),
        ("azure", {".azure-pipelines"}),
        ("github, azure", {".github", ".azure-pipelines"}),
    ],
)
def test_each_platform_has_its_files(load: Load, ci: str, folders: set[str]) -> None:
    made = pipelines.render(load(PLAIN.replace("github, azure", ci)))
    assert {path.split("/")[0] for path, _ in made} == folders
    names = {"pull-request.yml", "build.yml", "promote.yml", "rollback.yml", "deploy.yml"}
    assert {Path(path).name for path, _ in made} == names
    assert len(made) == len(names) * len(folders)


def test_with_one_environment_there_is_nothing_to_promote_to(load: Load) -> None:
    text = "version: 1\nproject: p\nenvironments: [{name: dev, branch: main}]\n"
    made = pipelines.render(load(f"{text}models: {{late: {{task: binary}}}}\n"))
    assert [Path(path).stem for path, _ in made] == ["pull-request", "build"]


def test_read_back_it_guards_every_environment_and_grants_only_what_it_says(
    pull_request: Pipeline,
) -> None:
    workflow = YAML(typ="safe").load(github.emit(pull_request))
    branches = ["main", "release/staging", "release/production"]
    assert workflow["on"] == {
        "pull_request": {"branches": branches},
        "merge_group": {"branches": ["main"]},
    }
    assert workflow["permissions"] == {}
    rights = {name: job["permissions"] for name, job in workflow["jobs"].items()}
    assert rights.pop("comment") == {"contents": "read", "pull-requests": "write"}
    assert rights.pop("required") == {}
    assert set(rights) == {"files", "lint", "tests", "reproduce", "gate"}
    assert all(one == {"contents": "read"} for one in rights.values())


def test_the_same_model_gives_the_same_bytes(pull_request: Pipeline) -> None:
    assert github.emit(pull_request) == github.emit(pull_request)
    assert azure.emit(pull_request) == azure.emit(pull_request)
    with pytest.raises(FrozenInstanceError):
        pull_request.jobs[0].timeout = 1  # type: ignore[misc]


def test_a_branch_name_is_no_pattern_and_ends_no_text(pull_request: Pipeline) -> None:
    names = ("c++", "!main", "1.0", "on", "it's")
    triggers = replace(pull_request.triggers, pull_request=names)
    job = replace(pull_request.jobs[0], when=(Condition("branch", "it's"),))
    pipeline = replace(pull_request, triggers=triggers, jobs=(job,), required=())
    workflow = YAML(typ="safe").load(github.emit(pipeline))
    branches = workflow["on"]["pull_request"]["branches"]
    assert branches == [r"c\+\+", r"\!main", "1.0", "on", "it's"]
    assert workflow["jobs"]["files"]["if"] == "${{ github.ref == 'refs/heads/it''s' }}"
    document = YAML(typ="safe").load(azure.emit(pipeline))
    assert document["pr"]["branches"]["include"] == list(names)
    assert "'refs/heads/it''s'" in document["jobs"][0]["condition"]


def test_a_queue_never_cancels_and_reasons_stand_beside_permissions(flights: config.Config) -> None:
    build = pipelines.load("build", flights, "github")
    job = replace(build.jobs[0], permissions=(Permission("id-token", "write", "logs in"),))
    text = github.emit(replace(build, jobs=(job,)))
    assert "  cancel-in-progress: false\n" in text
    assert "      id-token: write  # logs in\n" in text


# ---------------------------------------------------------------- what gitops.yaml decides


def jobs(load: Load, text: str, name: str, platform: Platform = "github") -> list[str]:
    return [job.id for job in pipelines.load(name, load(text), platform).jobs]


def test_one_model_needs_no_matrix(load: Load) -> None:
    one = pipelines.load("pull-request", load(PLAIN), "github")
    assert all(job.matrix is None for job in one.jobs)
    assert not any(step.env for job in one.jobs for step in job.steps)
    several = pipelines.load("pull-request", load(MONOREPO), "github")
    assert "affected" in several.required
    split = [job.id for job in several.jobs if job.matrix]
    assert split == ["reproduce", "gate"]
    assert all("affected" in several.job(name).needs for name in split)
    assert "affected" not in jobs(load, PLAIN, "pull-request")


@pytest.mark.parametrize("platform", ["github", "azure", "local"])
def test_only_a_machine_that_can_deploys(load: Load, platform: Platform) -> None:
    recorded = ["record-staging", "record-production"]
    hosted = jobs(load, PLAIN, "deploy", platform)
    assert (
        hosted
        == [*recorded, "deploy-staging", "deploy-production"][: 4 * (platform == "local") or 2]
    )
    cloud = PLAIN.replace("binary", "binary, deploy: {target: azureml}") + WORKSPACES
    places = ("staging", "production")
    following = [f"{job}-{place}" for job in ("images", "deploy") for place in places]
    assert jobs(load, cloud, "deploy", platform)[2:] == following
    own = f"{PLAIN}runners: {{deploy-staging: {{labels: [self-hosted], pool: lab}}}}\n"
    assert jobs(load, own, "deploy", platform)[2:3] == ["deploy-staging"]
    assert ("deploy-production" in jobs(load, own, "deploy", platform)) == (platform == "local")


@pytest.mark.parametrize("platform", ["github", "azure"])
def test_a_folder_is_refused_where_a_hosted_runner_would_need_it(
    load: Load, platform: Platform
) -> None:
    def refused(text: str) -> set[str]:
        found = pipelines.load("pull-request", load(text), platform)
        first = {job.id: job.steps[0].use for job in found.jobs}
        return {job for job, use in first.items() if use == "refuse"}

    assert refused(PLAIN) == {"reproduce", "gate"}
    assert refused(f"{PLAIN}storage: {{remote: s3://data}}\n") == set()
    labels = "{labels: [self-hosted], pool: lab}"
    assert refused(f"{PLAIN}runners: {{default: {labels}}}\n") == set()
    assert refused(f"{PLAIN}runners: {{gate: {labels}}}\n") == {"reproduce"}


def test_nothing_from_outside_runs_on_a_machine_of_ones_own(load: Load) -> None:
    text = f"{PLAIN}runners: {{default: {{labels: [self-hosted]}}}}\n"
    outside = Condition("same-repository")
    own = pipelines.load("pull-request", load(text), "github")
    assert all(outside in job.when for job in own.jobs)
    hosted = pipelines.load("pull-request", load(PLAIN), "github")
    assert outside not in hosted.job("tests").when
    assert all(
        outside not in job.when for job in pipelines.load("build", load(text), "github").jobs
    )


@pytest.mark.parametrize(
    ("storage", "target", "clouds"),
    [
        ("../data", "local", set()),
        ("azure://data", "local", {"azure"}),
        ("s3://data", "local", {"aws"}),
        ("s3://data, endpoint: 'https://minio.example.org'", "local", set()),
        ("s3://data", "azureml", {"aws", "azure"}),
    ],
)
def test_a_login_where_something_needs_it(
    load: Load, storage: str, target: str, clouds: set[str]
) -> None:
    text = f"{PLAIN}{WORKSPACES}storage: {{remote: {storage}}}\n"
    text = text.replace("binary", f"binary, deploy: {{target: {target}}}")
    if target == "local":
        text += "runners: {deploy: {labels: [self-hosted]}}\n"
    job = pipelines.load("deploy", load(text), "github").job("deploy-production")
    assert {cloud for step in job.steps for cloud in step.logins} == clouds
    assert any(one.scope == "id-token" for one in job.permissions) == bool(clouds)
    own = {cloud for step in job.steps for cloud in step.own}
    assert own == ({"aws"} if "endpoint" in storage else set())


def test_without_gitops_the_tests_are_left(load: Load) -> None:
    found = resolve.ejected(pipelines.load("pull-request", load(MONOREPO), "github"))
    assert [job.id for job in found.jobs] == ["tests"]
    assert found.required == ("tests",)
    made = pipelines.render(load(MONOREPO), ejected=True)
    assert [path for path, _ in made] == [
        ".github/workflows/pull-request.yml",
        ".azure-pipelines/pull-request.yml",
    ]
    assert not any(b"gitops" in text for _, text in made)


# ---------------------------------------------------------------- a repository's own


def own(root: Path, name: str, text: str) -> None:
    folder = root / ".gitops" / "workflows"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(f"version: 1\n{text}")


NIGHTLY = """\
about: Look at everything once a night.
triggers: {schedule: ["17 3 * * *"], events: [retrain]}
concurrency: {by: workflow, cancel: false}
jobs:
  look:
    timeout: 10
    permissions: []
    matrix: {python: ["3.11", "3.12"], os: [linux]}
    steps:
      - {name: Check out, use: checkout}
      - {name: Look, run: make look, env: {V: {matrix: python}, N: 2}}
  tell:
    timeout: 10
    permissions: []
    environment: staging
    steps:
      - {name: Tell, run: make tell, env: {KEY: {secret: KEY}, PLACE: {variable: PLACE}}}
"""


def test_a_workflow_of_ones_own_comes_on_both_platforms(load: Load, tmp_path: Path) -> None:
    flights = load(PLAIN)
    own(tmp_path, "nightly", NIGHTLY)
    made = dict(pipelines.render(flights, tmp_path))
    assert len(made) == 12
    on_github = YAML(typ="safe").load(made[".github/workflows/nightly.yml"])
    assert on_github["on"] == {
        "schedule": [{"cron": "17 3 * * *"}],
        "repository_dispatch": {"types": ["retrain"]},
    }
    look = on_github["jobs"]["look"]
    assert look["strategy"]["matrix"] == {"python": ["3.11", "3.12"], "os": ["linux"]}
    assert look["name"] == "look ${{ matrix.python }} ${{ matrix.os }}"
    assert look["steps"][1]["env"] == {"V": "${{ matrix.python }}", "N": "2"}
    (step,) = on_github["jobs"]["tell"]["steps"]
    assert step["env"] == {"KEY": "${{ secrets.KEY }}", "PLACE": "${{ vars.PLACE }}"}
    on_azure = YAML(typ="safe").load(made[".azure-pipelines/nightly.yml"])
    assert on_azure["schedules"] == [
        {
            "cron": "17 3 * * *",
            "displayName": "17 3 * * *",
            "branches": {"include": ["main"]},
            "always": True,
        }
    ]
    assert on_azure["resources"] == {"webhooks": [{"webhook": "retrain", "connection": "retrain"}]}
    look = on_azure["jobs"][0]
    assert look["strategy"]["matrix"] == {
        "3_11_linux": {"python": "3.11", "os": "linux"},
        "3_12_linux": {"python": "3.12", "os": "linux"},
    }
    assert look["steps"][1]["env"] == {"V": "$(python)", "N": "2"}
    tell = on_azure["jobs"][1]
    assert (tell["deployment"], tell["environment"]) == ("tell", "staging")
    (step,) = tell["strategy"]["runOnce"]["deploy"]["steps"]
    assert step["env"] == {"KEY": "$(KEY)", "PLACE": "$(PLACE)"}


@pytest.mark.parametrize("command", ["make a | tee log", "make a; make b", "make a\nmake b\n"])
def test_a_command_stops_at_the_first_failure_everywhere(
    load: Load, tmp_path: Path, command: str
) -> None:
    """A platform's shell doesn't by itself: Azure's goes on, and GitHub's misses it in a pipe."""
    step = f"{{name: A, run: {command!r}}}".replace("'", '"')
    own(tmp_path, "build", f"{PUSH}{END}{JOB % ''}".replace("{name: A, run: 'true'}", step))
    flights = load(PLAIN)
    strict = f"set -euo pipefail\n{command}"
    for platform in PLATFORMS:
        found = pipelines.load("build", flights, platform, tmp_path)
        assert found.job("a").steps[0].run == strict
    (on_github,) = YAML(typ="safe").load(github.emit(found))["jobs"]["a"]["steps"]
    (on_azure,) = YAML(typ="safe").load(azure.emit(found))["jobs"][0]["steps"]
    assert on_github["run"].strip() == on_azure["bash"].strip() == strict.strip()


def test_a_shipped_workflow_is_extended_job_by_job(load: Load, tmp_path: Path) -> None:
    own(
        tmp_path,
        "pull-request",
        "extends: pull-request\n"
        "jobs:\n"
        "  files: null\n"
        "  tests: {timeout: 5, permissions: [], steps: [{name: Test, run: make test}]}\n"
        "  docs: {timeout: 5, permissions: [], steps: [{name: Docs, run: make docs}]}\n",
    )
    found = pipelines.load("pull-request", load(PLAIN), "github", tmp_path)
    jobs = ["lint", "tests", "reproduce", "gate", "comment", "docs"]
    assert [job.id for job in found.jobs] == jobs
    assert found.job("tests").steps[0].run == "make test"
    assert found.required == ("tests", "reproduce", "gate")
    assert pipelines.names(tmp_path) == pipelines.names()


def test_a_workflow_is_replaced_as_a_whole(load: Load, tmp_path: Path) -> None:
    own(tmp_path, "build", NIGHTLY)
    found = pipelines.load("build", load(PLAIN), "azure", tmp_path)
    assert [job.id for job in found.jobs] == ["look", "tell"]


# ---------------------------------------------------------------- what is refused

JOB = "  a: {timeout: 1, permissions: [], steps: [{name: A, run: 'true'}]%s}\n"
PR = "about: x\ntriggers: {pull-request: {branches: environments}}\n"
PUSH = "about: x\ntriggers: {push: {branches: integration}}\n"
END = "concurrency: {by: branch, cancel: true}\njobs:\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("extends: nothing\n", 2, "no shipped workflow 'nothing'"),
        ("extends: build\njobs:\n  tests: null\n", 4, "no job 'tests' to take out"),
        ("extends: build\njobs:\n  build: {timeout: 1}\n", 4, "not valid under any"),
        (f"{PUSH}{END}{JOB % ', needs: [b]'}", 6, "no job 'b'"),
        (f"{PUSH}{END}{JOB % ', needs: [a]'}", 6, "a needs a"),
        (
            f"{PUSH}{END}{JOB % ', needs: [b]'}{(JOB % ', needs: [a]').replace('a:', 'b:', 1)}",
            7,
            "no job can be first: a needs b needs a",
        ),
        (f"{PUSH}required: [c]\n{END}{JOB % ''}", 4, "no job 'c'"),
        (f"{PUSH}{END}{JOB % ', environment: prod'}", 6, "no environment 'prod'"),
        (f"{PUSH}{END}{JOB % ', timeout: 0'}", 6, "timeout"),
        (f"{PUSH}{END}{JOB % ''}{JOB % ''}", 7, "a"),
        (
            f"{PUSH}{END}{JOB % ', matrix: {x: [%s]}' % ', '.join(f'v{n}' for n in range(257))}",
            6,
            "257 jobs",
        ),
        (f"{PUSH}{END}{JOB % ', matrix: b.groups'}", 6, "doesn't need the job 'b'"),
        (f"{PUSH}{END}{JOB % ', when: [{input: sure}]'}", 6, "no boolean input 'sure'"),
        (f"{PUSH}{END}{JOB % ', when: [{finished: b}]'}", 6, "doesn't need the job 'b'"),
        (
            f"{PUSH}{END}{JOB % ''}".replace("'true'", "'echo ${{ github.head_ref }}'"),
            6,
            "would be replaced",
        ),
        (
            f"{PUSH}{END}{JOB % ''}".replace("'true'", "'echo $(Build.Reason)'"),
            6,
            "would be replaced",
        ),
        (
            f"{PUSH}{END}{JOB % ''}".replace("'true'", "'gitops deploy {environment}'"),
            6,
            "stands for nothing",
        ),
        (f"{PUSH}{END}{JOB % ''}".replace("'true'", "x, env: {A: {input: b}}"), 6, "no input 'b'"),
        (
            f"{PUSH}{END}{JOB % ''}".replace("'true'", "x, env: {A: {matrix: b}}"),
            6,
            "no key of the matrix 'b'",
        ),
        (
            f"{PUSH}{END}{JOB % ''}".replace("[]", "[{scope: content, level: read, reason: r}]"),
            6,
            "no permission 'content'",
        ),
        (
            f"{PUSH}{END}{JOB % ''}".replace("[]", "[{scope: id-token, level: read, reason: r}]"),
            6,
            "id-token can't be read",
        ),
        (
            f"{PUSH}{END}{JOB % ''}".replace("run: 'true'", "use: download, artifact: b, path: p"),
            6,
            "no artifact of a job that it needs 'b'",
        ),
        (
            f"{PR}{END}{JOB % ''}".replace("'true'", "x, env: {A: {secret: B}}"),
            6,
            "reaches the secret B",
        ),
        (
            f"{PR}{END}{JOB % ''}".replace("'true'", "x, identity: [storage]"),
            6,
            "that is logged in",
        ),
        (
            f"{PR}{END}{JOB % ''}".replace("[]", "[{scope: contents, level: write, reason: r}]"),
            6,
            "may write contents",
        ),
        (
            f"{PUSH}{END}{JOB % ''}".replace("'true'", "x, env: {A: {secret: B}}"),
            6,
            "B is behind no environment's protection",
        ),
        (
            f"{PUSH}{END}{JOB % ', environment: dev, matrix: {x: [y]}'}",
            6,
            "can't have a matrix",
        ),
        (
            f"{PUSH}{END}{JOB % ', each: release'}  a-staging:{JOB[4:] % ''}",
            7,
            "two jobs a-staging",
        ),
        (
            PUSH.replace("integration", "['release/*']") + END + JOB % "",
            3,
            "no name of a branch",
        ),
        (f"{PUSH.replace('integration', '[gitops/records]')}{END}{JOB % ''}", 3, "of yours"),
        (
            PR.replace("ments}", "ments}, paths: [x]") + f"required: [a]\n{END}{JOB % ''}",
            3,
            "never get its required check",
        ),
        (f"{PR}{END}{JOB % ''}".replace("'true'", "x, token: true"), 6, "reaches the run's token"),
        (
            f"{PUSH}{END}{JOB % ', environment: dev'}".replace("'true'", "x, output: y"),
            6,
            "other names on Azure",
        ),
        (
            f"{PUSH}{END}{JOB % ''}".replace(
                "'true'}", "x, output: y}, {name: B, run: x, output: y}"
            ),
            6,
            "two steps put out 'y'",
        ),
        (
            f"{PUSH}{END}{JOB % ''}  b:{JOB[4:] % ''}".replace(
                "run: 'true'", "use: upload, artifact: c, path: p, days: 1"
            ),
            7,
            "uploaded already, by a, step 1",
        ),
        (
            PUSH.replace("push: {branches: integration}", "schedule: ['0 0 30 2 *']")
            + END
            + JOB % "",
            3,
            "never fires",
        ),
    ],
)
def test_a_wrong_definition_is_refused_with_its_place(
    load: Load, tmp_path: Path, text: str, line: int, said: str
) -> None:
    flights = load(PLAIN)
    own(tmp_path, "build", text)
    with pytest.raises(ConfigError) as caught:
        pipelines.load("build", flights, "github", tmp_path)
    assert said in caught.value.message
    assert caught.value.fix
    assert caught.value.where is not None
    assert caught.value.where.file == tmp_path / ".gitops" / "workflows" / "build.yaml"
    assert caught.value.where.line == line


@pytest.mark.parametrize(
    ("file", "before", "after", "line", "said"),
    [
        ("pull-request", "use: uv", "use: pip", 17, "'pip' is not one of"),
        ("pull-request", "timeout: 15", "timeout: 0", 12, "less than the minimum"),
        ("pull-request", "cancel: true", "stop: true", 8, "'cancel' is a required"),
        ("pull-request", "timeout: 15", "timeout: 15\n    os: mac", 12, "'os' was unexpected"),
        ("pull-request", ", reproduce, gate]", ", verify, gate]", 9, "no job 'verify'"),
        ("pull-request", "  tests:", "  required:", None, "required"),
        ("pull-request", ", reason: reads the source", "", 14, "'reason' is a required property"),
        ("pins", "3d3c42e5", "", None, "does not match"),
        ("pins", "ubuntu-24.04", "ubuntu-latest", 2, "should not be valid"),
        ("pins", "v7.0.1", "v7", None, "does not match"),
    ],
)
def test_a_wrong_shipped_definition_is_refused_with_its_place(
    definitions: Path,
    flights: config.Config,
    file: str,
    before: str,
    after: str,
    line: int | None,
    said: str,
) -> None:
    path = definitions / f"{file}.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(ConfigError, match=said) as caught:
        pipelines.load("pull-request", flights, "github", folder=definitions)
    assert caught.value.where is not None
    assert caught.value.where.file == path
    assert line is None or caught.value.where.line == line


def test_a_runner_is_of_a_job_that_there_is(load: Load, tmp_path: Path) -> None:
    text = f"{PLAIN}runners:\n  gaet: {{labels: [self-hosted]}}\n"
    with pytest.raises(ConfigError, match=r"no job 'gaet'") as caught:
        pipelines.render(load(text), tmp_path)
    assert caught.value.fix == "did you mean gate?"
    assert str(caught.value.where) == f"{tmp_path / 'gitops.yaml'}:11:3"
    own(tmp_path, "nightly", NIGHTLY)
    pipelines.render(load(f"{PLAIN}runners: {{look: {{labels: [self-hosted]}}}}\n"), tmp_path)


@pytest.mark.parametrize(
    ("runner", "said"),
    [
        ("{labels: [self hosted]}", "a label has"),
        ("{demands: [gpu]}", "a pool of yours"),
        ("{pool: lab, demands: [gpu == 1]}", "a demand is"),
        ("{label: [gpu]}", "did you mean labels"),
    ],
)
def test_a_wrong_runner_is_refused(load: Load, runner: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"{PLAIN}runners: {{gate: {runner}}}\n")
    assert said in f"{caught.value.message} {caught.value.fix}"
    assert caught.value.where is not None
    assert caught.value.where.line == 10


@pytest.mark.parametrize("name", ["nightly.yml", "Nightly.yaml", "${{ github.head_ref }}.yaml"])
def test_a_file_that_can_be_no_workflow_is_not_passed_over(
    load: Load, tmp_path: Path, name: str
) -> None:
    flights = load(PLAIN)
    own(tmp_path, "nightly", NIGHTLY)
    folder = tmp_path / ".gitops" / "workflows"
    (folder / "nightly.yaml").rename(folder / name)
    with pytest.raises(ConfigError, match="no workflow has such a name") as caught:
        pipelines.render(flights, tmp_path)
    assert caught.value.where is not None
    assert caught.value.where.file == folder / name


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{PR}required: [a]\n{END}{JOB % ''}", 4),
        ("extends: pull-request\nabout: x\n", 1),
    ],
)
def test_the_required_check_is_reported_once(
    load: Load, tmp_path: Path, text: str, line: int
) -> None:
    """A second check of its name, which passes, would stand for the first."""
    flights = load(PLAIN)
    own(tmp_path, "docs", text)
    with pytest.raises(ConfigError, match="pull-request has `required` already") as caught:
        pipelines.render(flights, tmp_path)
    assert caught.value.where is not None
    assert caught.value.where.line == line
    own(
        tmp_path,
        "docs",
        text.replace("required: [a]", "required: []") + "required: []\n" * ("extends" in text),
    )
    pipelines.render(flights, tmp_path)


def test_two_problems_are_told_at_once(load: Load, tmp_path: Path) -> None:
    flights = load(PLAIN)
    own(tmp_path, "build", f"{PUSH}{END}{JOB % ', needs: [b], environment: prod'}")
    with pytest.raises(ConfigError, match=r"no job 'b'(.|\n)*:6:.*no environment 'prod'"):
        pipelines.load("build", flights, "github", tmp_path)
