"""Nothing that came from a secret is said or written: not by us, nor by what we start."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest

from gitops.validate.verdict import digest_of
from tests.conftest import PROJECT

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Repository

pytestmark = pytest.mark.functional

NAMES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "ARM_CLIENT_SECRET"),
    *("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"),
    *("AZURE_CLIENT_SECRET", "ARM_OIDC_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
    *("GITHUB_TOKEN", "GH_TOKEN", "SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT"),
    *("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET", "PGPASSWORD", "SERVING_API_KEY"),
)
# With signs that URLs and JSON write otherwise.
CANARIES = {name: f"cAnary/{number:02}+{name.lower()}=x" for number, name in enumerate(NAMES)}
IN_GIT, IN_DVC, IN_DATABASE = "cAnary-of-git-remote", "cAnary-of-dvc-remote", "cAnary-of-database"
SECRETS = (*CANARIES.values(), IN_GIT, IN_DVC, IN_DATABASE)
CLOSED = "127.0.0.1:1"  # nobody listens at this port
# What we start may repeat all that it was given.
LOUD = '#!/bin/sh\nenv | grep cAnary >&2\necho "asked: $*" >&2\nexit 1\n'

COMMANDS: tuple[tuple[str, ...], ...] = (
    *(("doctor", "--json"), ("status",), ("--debug", "log", "--json"), ("affected", "--json")),
    *(("--debug", "promote", "dev", "staging"), ("promote", "dev", "staging", "--json")),
    *(("data", "ingest"), ("--debug", "data", "ingest", "--json")),
    *(("build", "--json"), ("verify", "--objects", "--json"), ("gate", "--base", "HEAD~1")),
    *(("--debug", "deploy", "staging", "--once"), ("gc", "--json"), ("lint", "--json")),
    *(("infra", "plan", "staging"), ("--debug", "infra", "plan", "staging", "--json")),
    ("gate", "--post", "report", "--pull-request", "7", "--json"),
    ("--debug", "setup", "github"),
)
# Where the storage can't be reached.
FAR: tuple[tuple[str, ...], ...] = (
    *(("doctor",), ("build", "--push"), ("--debug", "verify", "--json")),
    ("--debug", "build", "--on", "far", "--json"),
)


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it is, as URLs and JSON have it, and in base64 wherever it starts."""
    yield from {one.encode() for one in (secret, quote(secret, safe=""), quote_plus(secret))}
    yield json.dumps(secret)[1:-1].replace("/", "\\/").encode()
    for before in range(3):
        text = base64.b64encode(b"\0" * before + secret.encode() + b"\0" * 3)
        yield text[4 if before else 0 : -8]


FORMS = {secret: tuple(forms(secret)) for secret in SECRETS}


def leaks(data: bytes) -> list[str]:
    """The secrets that are in there, in any form."""
    return [secret for secret, found in FORMS.items() if any(one in data for one in found)]


def files(*folders: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 22
    }


def test_each_form_is_found() -> None:
    for secret in SECRETS:
        basic = base64.b64encode(f"x-access-token:{secret}".encode())
        for text in (secret.encode(), quote(secret, safe="").encode(), basic):
            assert leaks(b"a " + text + b" b") == [secret]


@pytest.fixture
def loud(
    light: Repository, git: Command, dvc: Command, tmp_path: Path, git_identity: dict[str, str]
) -> Mapping[str, str]:
    """Variables for a repository all of whose remotes are out of reach, and want secrets."""
    file = light.root / "gitops.yaml"
    text = file.read_text().replace(
        "  left: {task: binary, framework: custom, data: data/customers.csv}\n",
        "  left:\n    task: binary\n    framework: custom\n    data: data/customers.csv\n"
        "    source: {kind: sql, url_env: FLIGHTS_DB, table: customers, order_by: [customer]}\n",
    )
    text += "ci: [github]\ncompute:\n  far: {azureml: {cluster: gpu, workspace: w, group: g}}\n"
    text += "infrastructure: {provider: azure, id: k7q2m9xd}\n"
    file.write_text(text)
    dvc(light.root, "remote", "add", "far", "s3://models/churn")
    place = light.root / "infrastructure" / "environments" / "staging"
    place.mkdir(parents=True)
    (place / "main.tf").write_text('output "a" {\n  value = 1\n}\n')
    git(light.root, "add", "--all")
    git(light.root, "commit", "--quiet", "-m", "Declare what is elsewhere")
    git(light.root, "remote", "add", "origin", f"https://ada:{IN_GIT}@{CLOSED}/o/r.git")
    verdict = json.loads((PROJECT / "tests/contracts/verdict/valid/fail.json").read_text())
    verdict |= {"model": "left", "environment": "staging"}
    verdict["digest"] = digest_of(verdict)
    (light.root / "report").mkdir()
    (light.root / ".git" / "info" / "exclude").write_text("/report\n")
    (light.root / "report" / "verdict.json").write_text(json.dumps(verdict))
    tools, temporary = tmp_path / "tools", tmp_path / "temporary"
    tools.mkdir()
    temporary.mkdir()
    for name in ("az", "terraform", "tofu", "kubectl", "aws", "databricks", "docker", "podman"):
        (tools / name).write_text(LOUD)
        (tools / name).chmod(0o755)
    return {
        **CANARIES,
        "FLIGHTS_DB": f"postgresql://ada:{IN_DATABASE}@{CLOSED}/flights?connect_timeout=2",
        "ARM_SUBSCRIPTION_ID": "11111111-2222-3333-4444-555555555555",
        "GITHUB_SERVER_URL": f"https://{CLOSED}",
        "GITHUB_API_URL": f"http://{CLOSED}",
        "GITHUB_REPOSITORY": "o/r",
        "TMPDIR": str(temporary),
        "PATH": f"{tools}:{git_identity['PATH']}",
    }


def test_no_secret_is_said_or_written(
    light: Repository, gitops: Gitops, loud: Mapping[str, str], dvc: Command, tmp_path: Path
) -> None:
    places = (light.root, light.storage, tmp_path / "home", tmp_path / "temporary")
    for name, value in (
        ("endpointurl", f"http://{CLOSED}"),
        ("access_key_id", "a"),
        ("secret_access_key", IN_DVC),
    ):
        dvc(light.root, "remote", "modify", "--local", "far", name, value)
    before = files(*places)
    said: dict[str, list[str]] = {}
    codes = {}
    masked = 0
    for storage, commands in (("storage", COMMANDS), ("far", FAR)):
        dvc(light.root, "remote", "default", "--local", storage)
        for command in commands:
            done = gitops(light.root, *command, env=loud)
            name = f"{storage}: {' '.join(command)}"
            text = done.out + done.err
            codes[name] = done.code
            if found := leaks(text.encode()):
                said[name] = [*found, text]
            assert done.code != 70, f"{name}: {text}"
            masked += text.count("***")
    written = {
        str(path.relative_to(tmp_path)): found
        for path, data in files(*places).items()
        if before.get(path) != data and (found := leaks(data))
    }
    # Where the user put it.
    written.pop("churn/.dvc/config.local", None)
    assert (said, written) == ({}, {})
    # Where ONNX Runtime keeps the number by which it reports.
    assert not (tmp_path / "home" / ".cache" / "Microsoft").exists()
    # They did fail, by what is out of reach, and what was started did tell what it knows.
    assert set(codes.values()) >= {0, 3, 4}, codes
    assert 2 not in codes.values(), codes
    assert masked > 10, codes
