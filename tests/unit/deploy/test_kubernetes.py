"""The parts of the target `kubernetes`: logs of many pods, what is asked inside, the way in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops.cli.hands_kubernetes import Branch
from gitops.deploy.kubernetes import aks, kubectl, logs
from gitops.errors import AnswerNo, ToolError
from gitops.serve import inside, segments

NAME = "20260101T000000Z-7-000001.jsonl"


def pod(folder: Path, *lines: str, name: str = NAME) -> Path:
    """The state folder of a pod with a log of these lines."""
    path = folder / "log" / "late" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(lines)
    return folder


def collected(state: Path, uid: str, folder: Path) -> int:
    """As the target does it: what is here, what comes after it."""
    told = "\n".join(json.dumps(one) for one in inside.log(folder, logs.offsets(state, uid)))
    return logs.add(state, uid, told)


def test_the_same_name_in_two_pods_is_two_files_and_only_new_lines_come(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first, second = pod(tmp_path / "1", "a\n", "b\n"), pod(tmp_path / "2", "c\n")
    assert [collected(state, uid, one) for uid, one in (("x", first), ("y", second))] == [4, 2]
    assert collected(state, "x", first) == 0
    pod(first, "d\n", "half a li")
    assert collected(state, "x", first) == 2
    texts = sorted(path.read_text() for path in (state / "log" / "late").iterdir())
    assert texts == ["a\nb\nd\n", "c\n"]
    # The reader of logs takes them for segments.
    assert len(segments.listing(state / "log" / "late")) == 2


def test_what_was_logged_before_is_not_brought(tmp_path: Path) -> None:
    state, folder = tmp_path / "state", pod(tmp_path / "1", "old\n", "old\n", "half")
    before = logs.here(state, "u", inside.sizes(folder))
    assert list(before.values()) == [8]
    logs.skip(state, before)
    pod(folder, " a line\n", "new\n")
    assert collected(state, "u", folder) == len("half a line\nnew\n")
    (found,) = (state / "log" / "late").iterdir()
    assert found.read_bytes() == bytes(8) + b"half a line\nnew\n"
    assert found.relative_to(state).as_posix() in before


def test_a_line_longer_than_a_piece_comes_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside, "PIECE", 16)
    folder = pod(tmp_path / "1", "x" * 40 + "\n", "y\n")
    collected(tmp_path / "state", "u", folder)
    (found,) = (tmp_path / "state" / "log" / "late").iterdir()
    assert found.read_text() == "x" * 40 + "\ny\n"


@pytest.mark.parametrize(
    "path", ["log/../../x.jsonl", "/etc/passwd", f"log/late/../{NAME}", f"other/{NAME}", "log/x"]
)
def test_a_pod_names_no_place_of_its_own(path: str, tmp_path: Path) -> None:
    told = json.dumps({"path": path, "at": 0, "data": "YQo="})
    with pytest.raises(ToolError, match="has named a log"):
        logs.add(tmp_path, "u", told)
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_dont_follow_on_what_is_here_are_refused(tmp_path: Path) -> None:
    told = json.dumps({"path": f"log/late/{NAME}", "at": 5, "data": "YQo="})
    with pytest.raises(ToolError, match="has 0 bytes"):
        logs.add(tmp_path, "u", told)


def run_inside(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gitops.serve.inside", *words]
    return subprocess.run(command, input=text, capture_output=True, text=True)


def test_inside_a_package_is_copied_whole_and_once(tmp_path: Path) -> None:
    source, target = tmp_path / "models" / "late", tmp_path / "packages" / "abc"
    source.mkdir(parents=True)
    target.parent.mkdir()
    (source / "signature.json").write_text("{}")
    (target.parent / ".abc").mkdir()  # what a killed start left
    for _ in range(2):
        assert run_inside("copy", str(source), str(target)).returncode == 0
        assert [one.name for one in target.iterdir()] == ["signature.json"]
    assert run_inside("delete", "/").returncode == 2


def test_inside_only_workers_that_live_are_told(tmp_path: Path) -> None:
    workers = tmp_path / "workers"
    workers.mkdir()
    (workers / f"{os.getpid()}.json").write_text('{"generation": 3}')
    (workers / "999999999.json").write_text('{"generation": 2}')
    told = json.loads(run_inside("state", str(tmp_path)).stdout)
    assert told == {"workers": {str(os.getpid()): {"generation": 3}}}


# ---------------------------------------------------------------- the way in

AZ = """#!/bin/sh
case "$1 $2" in
"aks get-credentials")
  while [ "$1" != --file ]; do shift; done
  cat > "$2" <<'END'
apiVersion: v1
kind: Config
clusters: [{name: flights, cluster: {server: 'https://flights.example.org'}}]
contexts: [{name: flights, context: {cluster: flights, user: u}}]
users: [{name: u, user: {exec: {command: kubelogin, apiVersion: v1, args: []}}}]
END
  ;;
"account get-access-token") echo '{"accessToken": "secret", "expires_on": 1800000000}' ;;
*) exit 1 ;;
esac
"""


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def test_a_clusters_login_is_asked_for_each_time_and_lies_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "az", AZ)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    file = aks.kubeconfig("flights", "group", tmp_path / "state" / "kubeconfig")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "secret" not in file.read_text()
    (user,) = yaml.safe_load(file.read_text())["users"]
    plugin = user["user"]["exec"]
    done = subprocess.run([plugin["command"], *plugin["args"]], capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert told["apiVersion"] == plugin["apiVersion"]
    assert told["status"] == {
        "token": "secret",
        "expirationTimestamp": "2027-01-15T08:00:00Z",
    }


def test_who_isnt_logged_in_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "az", "#!/bin/sh\necho 'Please run az login' >&2\nexit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    with pytest.raises(ToolError, match="Please run az login"):
        aks.kubeconfig("flights", "group", tmp_path / "kubeconfig")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("Error from server (Conflict): the object has been modified", AnswerNo),
        ("Error from server (AlreadyExists): it already exists", AnswerNo),
        ("Unable to connect to the server: dial tcp: i/o timeout", ToolError),
    ],
)
def test_a_write_that_lost_a_race_is_told_from_one_that_failed(
    said: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "kubectl", f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    document: dict[str, Any] = {"kind": "ConfigMap", "metadata": {"name": "a"}}
    with pytest.raises(error):
        kubectl.Kubectl("a", "b").put(document)


def test_what_isnt_there_is_told_from_a_cluster_that_cant_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    missing = 'Error from server (NotFound): configmaps "a" not found'
    program(tmp_path / "bin", "kubectl", f"#!/bin/sh\necho '{missing}' >&2\nexit 1\n")
    assert kubectl.Kubectl("a", "b").get("configmap", "a") is None
    # What kubectl itself didn't find says nothing of the cluster.
    for broken in (
        "Unable to connect to the server: getting credentials: exec: executable az not found",
        "error: context was not found for specified context: a",
    ):
        program(tmp_path / "bin", "kubectl", f"#!/bin/sh\necho '{broken}' >&2\nexit 1\n")
        with pytest.raises(ToolError, match="not found"):
            kubectl.Kubectl("a", "b").get("configmap", "a")


# ---------------------------------------------------------------- delivery by a branch

BRANCH = "refs/heads/gitops/deploy/production"


@pytest.fixture
def line(tmp_path: Path, plain: None) -> tuple[Path, Path]:
    """A clone and its bare remote."""
    origin, root = tmp_path / "origin.git", tmp_path / "clone"
    git("init", "--quiet", "--bare", str(origin))
    git("clone", "--quiet", str(origin), str(root))
    git("-C", str(root), "commit", "--quiet", "--allow-empty", "--message", "First")
    git("-C", str(root), "push", "--quiet", "origin", "HEAD:main")
    return root, origin


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_branch_has_what_is_served_and_nothing_moves_without_a_change(
    line: tuple[Path, Path],
) -> None:
    root, origin = line
    branch = Branch(root, "origin", "production")
    space = {"kind": "Namespace", "metadata": {"name": "a"}}
    one = {"kind": "ConfigMap", "metadata": {"name": "plan"}, "data": {"a": "1"}}
    assert branch.remove("served", {}) is False
    branch.put("served", [space, one])
    shown = git("--git-dir", str(origin), "show", f"{BRANCH}:served.yaml")
    assert list(yaml.safe_load_all(shown)) == [one]  # a namespace would be pruned with its state
    tip = git("--git-dir", str(origin), "rev-parse", BRANCH)
    branch.put("served", [space, one])
    assert git("--git-dir", str(origin), "rev-parse", BRANCH) == tip
    branch.put("aside", [one])
    assert branch.remove("aside", {}) is True
    listed = git("--git-dir", str(origin), "ls-tree", "--name-only", BRANCH)
    assert listed.split() == ["served.yaml"]
    assert git("--git-dir", str(origin), "rev-list", "--count", BRANCH) == "3"
    assert git("-C", str(root), "branch", "--list").split() == ["*", "main"]  # none of the user's


def test_a_branch_that_the_remote_refuses_is_an_error(line: tuple[Path, Path]) -> None:
    root, origin = line
    hook = origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'no deploys today' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(ToolError, match="no deploys today"):
        Branch(root, "origin", "production").put("served", [{"kind": "ConfigMap"}])
