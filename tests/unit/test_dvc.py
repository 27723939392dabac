from __future__ import annotations

import json
import shutil
import socket
import sys
from pathlib import Path

import pytest

from gitops import dvc, dvcremote
from gitops.errors import ConfigError, EvidenceError, ToolError
from tests.unit import dvc_repo
from tests.unit.dvc_repo import STAGE, clone, repo

__all__ = ["clone", "repo"]

PIPELINE = f"""\
{STAGE % ""}\
  two:
    cmd: {sys.executable} -c "import pathlib; pathlib.Path('final.json').write_text('1')"
    deps: [out]
    metrics: [{{final.json: {{cache: false}}}}]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built and pushed repository; tests work on copies of it."""
    return dvc_repo.make(tmp_path_factory.mktemp("made"), PIPELINE)


def test_what_is_tracked(repo: Path) -> None:
    items = {item.path: item for item in dvc.tracked(repo, ["."])}
    assert {path: item.stage for path, item in items.items()} == {
        "final.json": "two",
        "out": "one",
        "table.csv": None,
    }
    assert not items["final.json"].cached
    assert all(dvc.hash_of(repo / path) == item.md5 for path, item in items.items())


def test_data_in_folders_of_others_is_theirs(repo: Path) -> None:
    (repo / "other").mkdir()
    (repo / "other" / "t.csv.dvc").write_text(f"outs:\n- md5: '{'0' * 32}'\n  path: t.csv\n")
    everything = {item.path for item in dvc.tracked(repo, ["."])}
    assert everything - {item.path for item in dvc.tracked(repo, ["."], ["other"])} == {
        "other/t.csv"
    }


def test_stages_are_told_apart_by_their_pipeline() -> None:
    addresses = ["train", "models/a/dvc.yaml:train", "models/ab/dvc.yaml:package"]
    assert dvc.stages_of(addresses, "dvc.yaml") == ("train",)
    assert dvc.stages_of(addresses, "models/a/dvc.yaml") == ("train",)
    assert dvc.stages_of(addresses, "models/ab/dvc.yaml") == ("package",)
    assert dvc.stages_of(addresses, "models/b/dvc.yaml") == ()


def test_stages_that_take_whatever_python_there_is(tmp_path: Path) -> None:
    commands = {
        "plain": "python split.py",
        "second": "mkdir -p models && python3.12 train.py",
        "set": "SEED=1 python train.py",
        "locked": "uv run --locked python train.py",
        "other": "make python",
    }
    stages: dict[str, object] = {name: {"cmd": cmd} for name, cmd in commands.items()}
    stages["lines"] = {"cmd": ["true", "python a.py"]}
    stages["each"] = {"foreach": [1], "do": {"cmd": "python ${item}.py"}}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    found = dvc.outside_the_lock(tmp_path / "dvc.yaml")
    assert found == ("plain", "second", "set", "lines", "each")


def test_what_would_run_is_told_without_the_data(clone: Path) -> None:
    assert dvc.would_run(clone, []) == ()
    pipeline = clone / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("write_text('1')", "write_text('2')"))
    assert dvc.would_run(clone, []) == ("two",)
    assert not (clone / "out").exists()


def stored(repo: Path, path: str) -> bool:
    md5 = dvc.file_md5(repo / path)
    return (repo.parent / "storage" / "files" / "md5" / md5[:2] / md5[2:]).is_file()


def test_what_is_to_be_pushed_first_is_and_what_can_t_be_is_said(repo: Path) -> None:
    shutil.rmtree(repo.parent / "storage")
    (repo.parent / "storage").mkdir()
    assert dvc.stale(repo, [], push=["table.csv"]) == {}
    assert stored(repo, "table.csv")
    with pytest.raises(ToolError, match=r"dvc push --with-deps nowhere && dvc status"):
        dvc.stale(repo, [], push=["nowhere"])
    (repo / "more.csv").write_text("c\n3\n")
    dvc.add(repo, "more.csv", push=True)
    assert stored(repo, "more.csv")
    (repo / ".gitignore").write_text("*.dvc\n")
    (repo / "other.csv").write_text("c\n4\n")
    with pytest.raises(ToolError, match=r"'other\.csv\.dvc' is git-ignored"):
        dvc.add(repo, "other.csv")


def test_a_missing_storage_folder_is_said_with_the_fix(repo: Path) -> None:
    shutil.rmtree(repo.parent / "storage")
    with pytest.raises(ToolError, match="isn't there") as error:
        dvc.push(repo)
    assert "mkdir" in error.value.fix


def test_a_dead_endpoint_is_said_at_once(repo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    point_to(repo, f"http://127.0.0.1:{port}")
    with pytest.raises(ToolError, match=rf"127\.0\.0\.1:{port} gave no answer"):
        dvc.push(repo)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_endpoint_that_takes_connections_and_says_nothing_is_dead(
    repo: Path, scheme: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        point_to(repo, f"{scheme}://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(ToolError, match="gave no answer"):
            dvcremote.preflight(repo)


def test_behind_a_proxy_the_proxy_is_asked(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to(repo, "https://storage.invalid")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert dvcremote.preflight(repo).url == "s3://bucket/x"
    with pytest.raises(ToolError, match="gave no answer"):
        dvcremote.preflight(repo)


@pytest.mark.parametrize(
    ("url", "variable", "value"),
    [
        ("s3://bucket/x", "AWS_ENDPOINT_URL", "http://{}"),
        ("azure://bucket/x", "AZURE_STORAGE_CONNECTION_STRING", "BlobEndpoint=http://{}/account;"),
    ],
)
def test_the_environment_may_name_the_service(
    repo: Path, monkeypatch: pytest.MonkeyPatch, url: str, variable: str, value: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    config = repo / ".dvc" / "config"
    config.write_text(config.read_text().replace("../../storage", url))
    monkeypatch.setenv(variable, value.format(address))
    with pytest.raises(ToolError, match=f"{address}.* gave no answer"):
        dvcremote.preflight(repo)


def test_a_password_in_the_url_is_not_shown(repo: Path) -> None:
    config = repo / ".dvc" / "config"
    secret = "ssh://someone:hidden@127.0.0.1:1/x"
    config.write_text(config.read_text().replace("../../storage", secret))
    with pytest.raises(ToolError, match=r"ssh://127\.0\.0\.1:1") as error:
        dvcremote.preflight(repo)
    assert "hidden" not in str(error.value)


def point_to(repo: Path, endpoint: str) -> None:
    config = repo / ".dvc" / "config"
    lines = [line for line in config.read_text().splitlines() if " url = " not in line]
    lines += ["    url = s3://bucket/x", f"    endpointurl = {endpoint}"]
    config.write_text("\n".join(lines) + "\n")


def test_a_pipeline_that_cannot_be_read_is_said(repo: Path) -> None:
    (repo / "dvc.yaml").write_text("stages: [")
    with pytest.raises(ToolError, match=r"dvc repro --dry"):
        dvc.would_run(repo, [])


def test_no_remote_is_said(repo: Path) -> None:
    (repo / ".dvc" / "config").write_text("")
    with pytest.raises(ConfigError, match="no default remote"):
        dvcremote.remote(repo)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("{path: ../../elsewhere, md5: %s}", "is not in the subpath"),
        ("{path: out/../../../elsewhere, md5: %s}", "is not in the subpath"),
        ("{path: /etc/hosts, md5: %s}", "is not in the subpath"),
        ("{path: away/x, md5: %s}", "is not in the subpath"),
        ("{path: ., md5: %s}", ". is no data"),
        ("{path: .git, md5: %s}", ".git is no data"),
        ("{path: out/../.git/hooks, md5: %s}", "is no data"),
        ("{path: .dvc/config, md5: %s}", "is no data"),
        ("{path: out, md5: ../../../../x}", "has the hash '../../../../x'"),
        ("{path: out}", "KeyError"),
        ("7", "TypeError"),
    ],
)
def test_what_is_no_data_of_ours_is_never_touched(repo: Path, out: str, message: str) -> None:
    (repo / "away").symlink_to(repo.parent)
    text = "stages: {one: {cmd: x, outs: [" + out.replace("%s", "d" * 32) + "]}}"
    (repo / "dvc.lock").write_text(text)
    with pytest.raises(EvidenceError) as caught:
        dvc.tracked(repo, ["."])
    assert message in caught.value.message
    (repo / "dvc.lock").unlink()
    (repo / "x.dvc").write_text("outs: [" + out.replace("%s", "d" * 32) + "]")
    with pytest.raises(EvidenceError, match="not as DVC writes it"):
        dvc.tracked(repo, ["."])


@pytest.mark.parametrize("text", ["a: " + "[" * 200_000, "a: " + "[" * 200_000 + "]" * 200_000])
def test_a_file_that_is_nested_without_end_ends_nothing(repo: Path, text: str) -> None:
    (repo / "dvc.lock").write_text(text)
    with pytest.raises(ConfigError, match="deeper than 64"):
        dvc.tracked(repo, ["."])
