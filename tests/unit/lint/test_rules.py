"""Each rule on a file where it fires, and on one where it is silent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gitops.errors import UsageError
from gitops.pipelines.lint import RULES, Finding, Known, lint

COMMIT = "3d3c42e5aac5ba805825da76410c181273ba90b1"
OTHER = "20cfd1bf945f4377ade1205e4dbc17946fc9a30d"
PINS = {"actions/checkout": ("v7.0.1", COMMIT)}
GITHUB = ".github/workflows/ci.yml"
AZURE = "azure-pipelines/ci.yml"

GOOD = f"""\
name: ci
on:
  pull_request:
permissions: {{}}
concurrency:
  group: ci-${{{{ github.ref }}}}
  cancel-in-progress: true
jobs:
  test:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - name: Check out
        uses: actions/checkout@{COMMIT}  # v7.0.1
      - name: Test
        run: make test
"""
GOOD_AZURE = """\
trigger: none
pr:
  branches: {include: [main]}
jobs:
  - job: test
    pool: {vmImage: ubuntu-24.04}
    timeoutInMinutes: 5
    steps:
      - checkout: self
        displayName: Check out
      - bash: make test
        displayName: Test
"""


def found(
    folder: Path, files: Mapping[str, str], known: Known | None = None
) -> tuple[Finding, ...]:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return lint(folder.resolve(), (), known or Known(PINS)).findings


def put(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def run(command: str) -> str:
    return put(GOOD, ("run: make test", f"run: {command}"))


def script(*lines: str) -> str:
    body = "".join(f"\n          {line}" for line in lines)
    return put(GOOD, ("run: make test", f"run: |{body}"))


def job(text: str) -> str:
    return f"{GOOD}{text}"


def bash(command: str) -> str:
    return put(GOOD_AZURE, ("bash: make test", f"bash: {command}"))


DEPLOY = """\
  deploy:
    environment: production
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - name: Deploy
        run: make deploy
"""
SECRET = """\
        env:
          TOKEN: ${{ secrets.DEPLOY_TOKEN }}
"""
CALLED = f"""\
  call:
    uses: acme/shared/.github/workflows/ci.yml@{COMMIT}  # v1.0.0
    secrets: inherit
"""
ON_PULL = "        if: github.event_name == 'pull_request'\n"
NOT_ON_PULL = "        if: github.event_name != 'pull_request'\n"
NO_FORK = "ne(variables['System.PullRequest.IsFork'], 'True')"
GUARD = "    if: github.event.pull_request.head.repo.full_name == github.repository\n"

# rule, file, text where it fires, its line, text where it is silent
CASES = [
    ("syntax", GITHUB, "on: {a: 1, a: 2}\n", 1, GOOD),
    ("timeout", GITHUB, put(GOOD, ("    timeout-minutes: 5\n", "")), 9, GOOD),
    ("timeout", AZURE, put(GOOD_AZURE, ("    timeoutInMinutes: 5\n", "")), 5, GOOD_AZURE),
    (
        "timeout", GITHUB, put(GOOD, ("    timeout-minutes: 5\n", "")), 9,
        put(GOOD, ("    timeout-minutes: 5\n", ""), ("    runs-on: ubuntu-24.04\n",
            f"    uses: o/r/.github/workflows/w.yml@{COMMIT}  # v1.0.0\n")),
    ),
    ("step-name", GITHUB, put(GOOD, ("name: Test\n        run", "run")), 15, GOOD),
    ("step-name", AZURE, put(GOOD_AZURE, ("\n        displayName: Test", "")), 11,
     put(GOOD_AZURE, ("checkout: self\n        displayName: Check out", "checkout: none"))),
    ("permissions", GITHUB, put(GOOD, ("permissions: {}\n", "")), 1, GOOD),
    ("cancel", GITHUB, put(GOOD, ("in-progress: true", "in-progress: false")), 2, GOOD),
    ("cancel", GITHUB, put(GOOD, ("in-progress: true", "in-progress: false")), 2,
     put(GOOD, ("in-progress: true", "in-progress: ${{ github.event_name == 'pull_request' }}"))),
    ("cancel", AZURE, put(GOOD_AZURE, ("  branches", "  autoCancel: false\n  branches")), 3,
     GOOD_AZURE),
    ("cancel-delivery", GITHUB, job(DEPLOY), 7,
     put(job(DEPLOY), ("in-progress: true", "in-progress: ${{ inputs.fast }}"))),
    ("cancel-delivery", ".github/workflows/promote.yml", GOOD, 7, put(
        GOOD, ("in-progress: true", "in-progress: false"), ("pull_request:", "push:"))),
    ("cancel-delivery", AZURE, put(
        GOOD_AZURE, ("jobs:\n", "lockBehavior: runLatest\njobs:\n"),
        ("job: test", "deployment: test")), 4,
     put(GOOD_AZURE, ("jobs:\n", "lockBehavior: runLatest\njobs:\n"))),
    ("cron", GITHUB, put(GOOD, ("on:\n", "on:\n  schedule:\n    - cron: 0 0 30 2 *\n")), 4,
     put(GOOD, ("on:\n", "on:\n  schedule:\n    - cron: 0 0 29 2 *\n"))),
    ("cron", AZURE, "schedules:\n- cron: 0 25 * * *\n  branches: {include: [main]}\n" + GOOD_AZURE,
     2, "schedules:\n- cron: 0 5 * * *\n  branches: {include: [main]}\n" + GOOD_AZURE),
    ("matrix", GITHUB, put(GOOD, ("    steps:\n", "    strategy:\n      matrix:\n        a: ["
        + ", ".join(map(str, range(17))) + "]\n        b: [" + ", ".join(map(str, range(16)))
        + "]\n    steps:\n")), 13,
     put(GOOD, ("    steps:\n", "    strategy:\n      matrix:\n        a: ["
        + ", ".join(map(str, range(16))) + "]\n        b: [" + ", ".join(map(str, range(16)))
        + "]\n    steps:\n"))),
    ("needs", GITHUB, put(GOOD, ("    steps:\n", "    needs: [tset]\n    steps:\n")), 12, GOOD),
    ("needs", GITHUB, put(job(DEPLOY), ("    environment: production\n", "    needs: test\n"),
        ("    timeout-minutes: 5\n    steps:\n      - name: Check",
         "    needs: deploy\n    timeout-minutes: 5\n    steps:\n      - name: Check")), 11,
     put(job(DEPLOY), ("    environment: production\n", "    needs: test\n"))),
    ("needs", AZURE, put(GOOD_AZURE, ("    pool:", "    dependsOn: [build]\n    pool:")), 6,
     GOOD_AZURE),
    ("pin", GITHUB, put(GOOD, (f"{COMMIT}  # v7.0.1", "v7")), 14, GOOD),
    ("pin", GITHUB, put(GOOD, (f"actions/checkout@{COMMIT}  # v7.0.1", "docker://alpine:3")), 14,
     put(GOOD, (f"actions/checkout@{COMMIT}  # v7.0.1", "./.github/actions/mine"))),
    ("pin-tag", GITHUB, put(GOOD, ("  # v7.0.1", "")), 14, GOOD),
    ("pin-tag", GITHUB, put(GOOD, ("# v7.0.1", "# v7")), 14, GOOD),
    ("pin-tag", GITHUB, put(GOOD, ("# v7.0.1", "# v7.0.0")), 14, GOOD),
    ("pin-tag", GITHUB, put(GOOD, (COMMIT, OTHER)), 14,
     put(GOOD, ("actions/checkout", "actions/unknown"))),
    ("install", GITHUB, run("pip install --upgrade pip"), 16,
     run("pip install --require-hashes -r requirements.txt")),
    ("install", GITHUB, script("set -e", "python3 -m pip install \\", "  numpy"), 18,
     script("set -e", "python3 -m pip install \\", "  --require-hashes -r lock.txt")),
    ("install", GITHUB, script("if ! sudo pip3 install x; then exit 1; fi"), 17,
     script('echo "pip install x"')),
    ("install", GITHUB, run("cd app && npm install"), 16, run("cd app && npm ci")),
    ("install", GITHUB, run("curl -fsSL https://example.org/i.sh | sudo bash"), 16,
     run("curl -fsSLo file https://example.org/file")),
    ("install", GITHUB, run("bash <(curl https://example.org/i.sh)"), 16,
     script("# curl https://example.org/i.sh | sh", "cat > note <<END", "pip install x", "END")),
    ("install", GITHUB, run("uv run pytest --locked"), 16, run("uv run --locked pytest")),
    ("install", GITHUB, run("uvx ruff check"), 16, run("uv tool list")),
    ("install", AZURE, bash("pip install dvc"), 11, bash("pip install --no-deps dist/a.whl")),
    ("injection", GITHUB, run('echo "${{ github.event.pull_request.title }}"'), 16,
     run("echo ${{ github.event.pull_request.number }} ${{ github.sha }}")),
    ("injection", GITHUB, script("true", "echo ${{ github.head_ref }}"), 18,
     script("true", 'echo "$BRANCH" "${{ github.run_id }}"')),
    ("injection", GITHUB, put(run("echo ${{ inputs.who }}"), ("on:\n",
        "on:\n  workflow_dispatch:\n    inputs: {who: {type: string}}\n")), 18,
     put(run("echo ${{ inputs.who }}"), ("on:\n",
        "on:\n  workflow_dispatch:\n    inputs: {who: {type: boolean}}\n"))),
    ("injection", GITHUB, run("echo ${{ github.event['issue'].title }}"), 16,
     run("echo ${{ github['event'].issue.number }} ${{ github.event_name }}")),
    ("injection", GITHUB, run("echo ${{ GitHub.Head_Ref }}"), 16, run("echo ${{ GitHub.SHA }}")),
    ("injection", GITHUB, run("echo ${{ toJSON(github.event) }}"), 16,
     run("echo ${{ toJSON(github.event.inputs) }}")),
    ("injection", GITHUB, run("echo ${{ toJSON(github) }}"), 16, run("echo ${{ toJSON(runner) }}")),
    ("injection", AZURE, bash("echo $(Build.SourceBranchName)"), 11,
     bash("echo $(Build.BuildId)")),
    ("injection", AZURE, "parameters: [{name: who, type: string}]\n"
        + bash("echo ${{ parameters.who }}"), 12,
     "parameters: [{name: who, type: string, values: [a, b]}]\n"
        + bash("echo ${{ parameters.who }}")),
    ("secret", GITHUB, GOOD + SECRET, 18,
     put(GOOD + SECRET, ("    steps:\n", f"{GUARD}    steps:\n"))),
    ("secret", GITHUB, GOOD + SECRET, 18, put(GOOD + SECRET, ("DEPLOY_TOKEN", "GITHUB_TOKEN"))),
    ("secret", GITHUB, GOOD + SECRET, 18, put(GOOD + SECRET, ("pull_request:", "push:"))),
    ("secret", GITHUB, put(GOOD + SECRET, ("        run", f"{ON_PULL}        run")), 19,
     put(GOOD + SECRET, ("        run", f"{NOT_ON_PULL}        run"))),
    ("secret", GITHUB, put(GOOD + SECRET, ("pull_request:", "pull_request_target:"),
                           ("        run", f"{NOT_ON_PULL}        run")), 19,
     put(GOOD + SECRET, ("pull_request:", "pull_request_target:"),
         ("    steps:\n", f"{GUARD}    steps:\n"))),
    ("secret", GITHUB, put(GOOD, ("pull_request:", "pull_request_target:"), ("# v7.0.1\n",
        "# v7.0.1\n        with: {ref: '${{ github.event.pull_request.head.sha }}'}\n")), 15,
     put(GOOD, ("pull_request:", "pull_request_target:"))),
    ("secret", GITHUB, put(GOOD, ("pull_request:", "pull_request_target:"), ("# v7.0.1\n",
        "# v7.0.1\n        with: {ref: 'refs/pull/${{ github.event.number }}/merge'}\n")), 15,
     put(GOOD, ("# v7.0.1\n", "# v7.0.1\n        with: {ref: 'refs/pull/1/merge'}\n"))),
    ("secret", GITHUB, put(GOOD, ("pull_request:", "pull_request_target:"),
        ("make test", "gh pr checkout 7 && make")), 16,
     put(GOOD, ("pull_request:", "pull_request_target:"), ("make test", "gh pr view 7"))),
    ("secret", GITHUB, put(GOOD + SECRET, ("secrets.DEPLOY_TOKEN", "toJSON(secrets)")), 18,
     put(GOOD + SECRET, ("secrets.DEPLOY_TOKEN", "toJSON(vars)"))),
    ("secret", GITHUB, GOOD + CALLED, 19,
     put(GOOD + CALLED, ("    secrets", f"{GUARD}    secrets"))),
    ("ignore", GITHUB, put(GOOD, ("minutes: 5", "minutes: 5  # gitops: ignore[pin] x")), 11, GOOD),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "file", "bad", "line", "good"),
    CASES,
    ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)],
)
def test_a_rule_fires_and_is_silent(
    rule: str, file: str, bad: str, line: int, good: str, tmp_path: Path
) -> None:
    hits = [one for one in found(tmp_path / "bad", {file: bad}) if one.rule == rule]
    assert [one.line for one in hits] == [line]
    assert hits[0].message and hits[0].fix and hits[0].column >= 1
    silent = found(tmp_path / "good", {file: good})
    assert [one for one in silent if one.rule == rule] == []


@pytest.mark.parametrize(("file", "text"), [(GITHUB, GOOD), (AZURE, GOOD_AZURE)])
def test_a_good_file_has_no_finding(file: str, text: str, tmp_path: Path) -> None:
    assert found(tmp_path, {file: text}) == ()


def test_two_checks_of_one_name(tmp_path: Path) -> None:
    second = put(GOOD, ("name: ci", "name: more"))
    (hit,) = found(tmp_path / "a", {GITHUB: GOOD, ".github/workflows/more.yml": second})
    assert (hit.rule, hit.path, hit.line) == ("check-name", ".github/workflows/more.yml", 9)
    named = put(second, ("    runs-on", "    name: other\n    runs-on"))
    assert found(tmp_path / "b", {GITHUB: GOOD, ".github/workflows/more.yml": named}) == ()
    pushed = put(second, ("pull_request:", "push:"))
    assert found(tmp_path / "c", {GITHUB: GOOD, ".github/workflows/more.yml": pushed}) == ()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("job: test", "job: tests", 8),
        ("make test", "make check", 9),
        ("    pool:", "    condition: always()\n    pool:", 9),
        ("    pool:", f"    condition: {NO_FORK}\n    pool:", 9),
    ],
)  # fmt: skip
def test_platforms_that_do_different_things(old: str, new: str, line: int, tmp_path: Path) -> None:
    pair = {GITHUB: GOOD, AZURE: GOOD_AZURE}
    assert found(tmp_path / "same", pair) == ()
    hits = found(tmp_path / "apart", {GITHUB: GOOD, AZURE: put(GOOD_AZURE, (old, new))})
    assert {one.rule for one in hits} == {"parity"}
    assert min(one.line for one in hits) == line
    elsewhere = {GITHUB: GOOD, "azure-pipelines/other.yml": put(GOOD_AZURE, (old, new))}
    assert found(tmp_path / "others", elsewhere) == ()


def test_drift_is_what_the_caller_knows(tmp_path: Path) -> None:
    found(tmp_path, {GITHUB: GOOD})
    drift = [(GITHUB, "the file was edited"), ("gitops.yaml", "not a workflow")]
    (hit,) = lint(tmp_path.resolve(), (), Known(PINS), drift).findings
    assert (hit.rule, hit.path, hit.message) == ("drift", GITHUB, "the file was edited")


def test_every_rule_has_a_test() -> None:
    assert {case[0] for case in CASES} | {"check-name", "parity", "drift"} == {
        rule.id for rule in RULES
    }


# ---------------------------------------------------------------- pins that are looked up


def test_tags_are_asked_only_where_one_was_told_to(tmp_path: Path) -> None:
    asked = []

    def tags(repository: str) -> dict[str, str]:
        asked.append(repository)
        return {"v7.0.1": COMMIT, "v1.0.0": OTHER}

    text = put(GOOD, (f"actions/checkout@{COMMIT}  # v7.0.1", f"o/r/sub@{OTHER}  # v9.9.9"))
    assert found(tmp_path, {GITHUB: text}) == ()
    (hit,) = found(tmp_path, {GITHUB: text}, Known(PINS, tags))
    assert asked == ["o/r"]
    assert (hit.rule, hit.message) == ("pin-tag", "o/r/sub: this commit is v1.0.0, not v9.9.9")
    assert hit.fix == "write # v1.0.0"


# ---------------------------------------------------------------- ignores


def test_an_ignore_with_a_reason_silences_its_rule_alone(tmp_path: Path) -> None:
    text = put(GOOD, (f"{COMMIT}  # v7.0.1", "v7  # gitops: ignore[pin] vetted by the mirror"))
    assert found(tmp_path / "line", {GITHUB: text}) == ()
    above = put(
        GOOD,
        ("        uses", "        # gitops: ignore[pin] vetted by the mirror\n        uses"),
        (f"{COMMIT}  # v7.0.1", "v7"),
    )
    assert found(tmp_path / "above", {GITHUB: above}) == ()
    other = put(text, ("ignore[pin]", "ignore[timeout]"))
    assert [one.rule for one in found(tmp_path / "other", {GITHUB: other})] == ["pin", "ignore"]


@pytest.mark.parametrize(
    ("comment", "rules", "message"),
    [
        ("# gitops: ignore[pin]", ["pin", "ignore"], "ignores without a reason"),
        ("# gitops: ignore[pins] why", ["pin", "ignore"], "there is no rule 'pins'"),
        ("# gitops: ignore[] why", ["pin", "ignore"], "there is no rule ''"),
    ],
)
def test_an_ignore_must_be_right(
    comment: str, rules: list[str], message: str, tmp_path: Path
) -> None:
    text = put(GOOD, (f"{COMMIT}  # v7.0.1", f"v7  {comment}"))
    hits = found(tmp_path, {GITHUB: text})
    assert [one.rule for one in hits] == rules
    assert hits[-1].message == message


# ---------------------------------------------------------------- files


def test_only_workflows_are_looked_at(tmp_path: Path) -> None:
    dvc = "stages: {train: {cmd: pip install x}}\n"
    files = {"conf/x.yml": "a: 1\n", ".pipelines/x.yml": "a: 1\n", ".pipelines/dvc.yaml": dvc}
    assert found(tmp_path, files) == ()
    linted = lint(tmp_path.resolve())
    assert (linted.files, linted.findings) == (0, ())
    with pytest.raises(UsageError):
        lint(tmp_path.resolve(), [tmp_path / "conf" / "x.yml"])


def test_of_a_template_only_what_it_says_itself_is_judged(tmp_path: Path) -> None:
    template = """\
parameters: [{name: who}]
steps:
  - bash: |
      echo ${{ parameters.who }}
      pip install x
    displayName: a
"""
    jobs = "jobs:\n  - job: a\n    dependsOn: [theirs]\n    steps: []\n"
    hits = found(
        tmp_path,
        {GITHUB: GOOD, ".pipelines/ci.yml": template, ".pipelines/jobs.yml": jobs},
    )
    assert [(one.rule, one.path, one.line) for one in hits] == [
        ("install", ".pipelines/ci.yml", 5), ("timeout", ".pipelines/jobs.yml", 2),
    ]  # fmt: skip


def test_a_folded_script_is_not_found_in_a_later_step(tmp_path: Path) -> None:
    folded = put(GOOD, ("run: make test", "run: >-\n          pip\n          install\n          x"))
    later = f"{folded}      - name: Say\n        run: echo 'pip install x'\n"
    hits = found(tmp_path, {GITHUB: later})
    assert [(one.rule, one.line) for one in hits] == [("install", 16)]


def test_what_is_handed_to_a_template_is_looked_at(tmp_path: Path) -> None:
    text = """\
trigger: [main]
extends:
  template: base.yml@shared
  parameters:
    jobs:
      - job: a
        timeoutInMinutes: 5
        steps:
          - bash: pip install x
            displayName: b
"""
    alone = "trigger: [main]\nextends: {template: base.yml@shared}\n"
    hits = found(tmp_path, {AZURE: text, "azure-pipelines/alone.yml": alone})
    assert [(one.rule, one.path, one.line) for one in hits] == [("install", AZURE, 9)]
    assert lint(tmp_path.resolve()).files == 2


def test_files_and_folders_can_be_named(tmp_path: Path) -> None:
    bad = put(GOOD, ("    timeout-minutes: 5\n", ""))
    found(
        tmp_path, {GITHUB: bad, "ci/azure.yml": put(GOOD_AZURE, ("    timeoutInMinutes: 5\n", ""))}
    )
    root = tmp_path.resolve()
    assert [one.path for one in lint(root).findings] == [GITHUB]
    assert [one.path for one in lint(root, [tmp_path / "ci"]).findings] == ["ci/azure.yml"]
    assert [one.path for one in lint(root, [tmp_path / GITHUB]).findings] == [GITHUB]
    with pytest.raises(UsageError):
        lint(root, [tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError):
        lint(root, [tmp_path / "empty"])


def test_deployments_and_conditional_steps_are_seen(tmp_path: Path) -> None:
    text = """\
trigger: [main]
stages:
  - stage: one
    jobs:
      - deployment: ship
        timeoutInMinutes: 5
        environment: production
        strategy:
          runOnce:
            deploy:
              steps:
                - ${{ if eq(1, 1) }}:
                    - task: AzureCLI@2
                      inputs:
                        scriptType: bash
                        inlineScript: |
                          set -e
                          pip install x
            on:
              failure:
                steps:
                  - script: npm i
                    displayName: b
  - stage: two
    dependsOn: [three]
    jobs: []
"""
    hits = found(tmp_path, {AZURE: text})
    assert [(one.rule, one.line) for one in hits] == [
        ("step-name", 13), ("install", 18), ("install", 22), ("needs", 25),
    ]  # fmt: skip
