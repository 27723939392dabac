"""A stand-in for the Azure CLI: the few commands that we use, as their official descriptions say.

https://github.com/MicrosoftDocs/azure-docs-cli (latest/docs-ref-autogen/ml, .../storage/blob.yml).
It keeps what there is in `$AZ_STANDIN/state.json`, refuses what Azure refuses, and runs a real
`gitops serve` behind each deployment, with a router (`az_router.py`) before them that splits,
mirrors and collects. `$AZ_STANDIN/wishes.json` may ask for faults:

    {"at": 7, "do": "fail" | "kill-before" | "kill-after"}   at the n-th call; kill: who called us
    {"says": "text"}       every call fails with that text
    {"slow": 3}            operations are under way for so many looks
    {"containers": false}  deployments are there without a server
    {"broken": true}       deployments don't come up
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import yaml

Json = dict[str, Any]
TOP = Path(os.environ.get("AZ_STANDIN", "."))
PYTHON = sys.executable
ROUTER = Path(__file__).with_name("az_router.py")
WORKSPACE = ("--resource-group", "--workspace-name")
# For each command what it must have, and what it may.
ML: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "online-endpoint create": ((), ("--file", "--name", "--auth-mode", "--no-wait", "--set")),
    "online-endpoint update": (
        (),
        ("--file", "--name", "--no-wait", "--set", "--traffic", "--mirror-traffic"),
    ),
    "online-endpoint show": (("--name",), ()),
    "online-endpoint delete": (("--name",), ("--no-wait", "--yes")),
    "online-endpoint get-credentials": (("--name",), ()),
    "online-deployment create": (
        ("--file",),
        ("--name", "--endpoint-name", "--no-wait", "--set", "--all-traffic"),
    ),
    "online-deployment update": ((), ("--file", "--name", "--endpoint-name", "--no-wait", "--set")),
    "online-deployment show": (("--name", "--endpoint-name"), ()),
    "online-deployment list": (("--endpoint-name",), ()),
    "online-deployment delete": (("--name", "--endpoint-name"), ("--no-wait", "--yes")),
    "online-deployment get-logs": (("--name", "--endpoint-name"), ("--lines", "--container")),
    "batch-endpoint create": ((), ("--file", "--name", "--no-wait", "--set")),
    "batch-endpoint update": ((), ("--file", "--name", "--no-wait", "--set", "--defaults")),
    "batch-endpoint show": (("--name",), ()),
    "batch-endpoint delete": (("--name",), ("--no-wait", "--yes")),
    "batch-deployment create": (("--file",), ("--name", "--endpoint-name", "--no-wait", "--set")),
    "batch-deployment update": ((), ("--file", "--name", "--endpoint-name", "--no-wait", "--set")),
    "batch-deployment show": (("--name", "--endpoint-name"), ()),
    "batch-deployment list": (("--endpoint-name",), ()),
    "batch-deployment delete": (("--name", "--endpoint-name"), ("--no-wait", "--yes")),
    "datastore show": (("--name",), ()),
}
ACCOUNT = ("--account-name", "--auth-mode")
MATCH = ("--if-match", "--if-none-match")
BLOB: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "list": (("--container-name",), (*ACCOUNT, "--prefix", "--num-results", "--marker")),
    "download": (
        ("--container-name", "--name", "--file"),
        (*ACCOUNT, *MATCH, "--no-progress"),
    ),
    "upload": (
        ("--container-name", "--name", "--file"),
        (*ACCOUNT, *MATCH, "--no-progress", "--overwrite"),
    ),
}
SWITCHES = (
    "--no-wait",
    "--yes",
    "--overwrite",
    "--no-progress",
    "--all-traffic",
    "--only-show-errors",
)
GLOBAL = ("--output", "--only-show-errors")
NAME = re.compile(r"(?!.*--)[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]")


def fail(text: str, code: int = 1) -> NoReturn:
    print(f"ERROR: {text}", file=sys.stderr)
    raise SystemExit(code)


def parsed(words: list[str], known: tuple[tuple[str, ...], tuple[str, ...]]) -> Json:
    """Flags and their values; what isn't known is refused as az refuses it."""
    required, optional = known
    found: Json = {}
    rest = list(words)
    while rest:
        flag = rest.pop(0)
        if flag not in (*required, *optional, *GLOBAL):
            fail(f"unrecognized arguments: {flag}", 2)
        if flag in SWITCHES:
            found[flag] = True
            continue
        if not rest or rest[0].startswith("--"):
            fail(f"argument {flag}: expected one argument", 2)
        found[flag] = rest.pop(0)
    for flag in required:
        if flag not in found:
            fail(f"the following arguments are required: {flag}", 2)
    return found


@contextmanager
def state() -> Iterator[Json]:
    """All that there is, for one of us at a time; written when it was changed without an error."""
    TOP.mkdir(parents=True, exist_ok=True)
    with (TOP / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = TOP / "state.json"
        now: Json = {"endpoints": {}, "batch": {}, "calls": 0, "etag": 0}
        now = json.loads(path.read_text()) if path.exists() else now
        yield now
        half = path.with_suffix(".part")
        half.write_text(json.dumps(now, indent=1))
        half.replace(path)


def wishes() -> Json:
    path = TOP / "wishes.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def document(flags: Json, now: Json, what: str) -> Json:
    """The YAML that is handed over; a copy stays for the official readers to look at."""
    path = Path(flags["--file"])
    found = yaml.safe_load(path.read_text("utf-8"))
    folder = TOP / "handed" / f"{now['calls']:04}-{what}"
    folder.mkdir(parents=True, exist_ok=True)
    for one in path.parent.iterdir():
        shutil.copy(one, folder / one.name)
    found.update(
        {
            flag[2:].replace("-", "_"): flags[flag]
            for flag in ("--name", "--endpoint-name")
            if flag in flags
        }
    )
    if not NAME.fullmatch(str(found.get("name"))):
        fail(f"(BadRequest) the name {found.get('name')!r} breaks the rules")
    return dict(found)


def begun(one: Json, state_name: str) -> None:
    """An operation is under way, for as many looks as somebody wishes."""
    one["pending"], one["provisioning_state"] = int(wishes().get("slow", 0)), state_name


def idle(one: Json) -> None:
    if one.get("pending"):
        fail("(Conflict) There is already an operation in progress on this resource. Code: 409")


def looked(one: Json) -> None:
    """A look brings what is under way forward."""
    if one["provisioning_state"] in ("Succeeded", "Failed"):
        return
    if one["pending"]:
        one["pending"] -= 1
        return
    pid = one.get("pid")
    if pid is None or is_ready(one):
        one["provisioning_state"] = "Succeeded"
    elif not Path(f"/proc/{pid}").exists():
        one["provisioning_state"] = "Failed"


def is_ready(one: Json) -> bool:
    route = one["document"]["environment"]["inference_config"]["readiness_route"]["path"]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{one['port']}{route}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def started(one: Json) -> None:
    """The container: our real server, on the package that the image was made of."""
    if not wishes().get("containers", True):
        if wishes().get("broken"):
            one["provisioning_state"], one["log"] = "Failed", "it fell over"
        return
    place = one["document"]["environment"]
    digest = place["image"].rpartition("@sha256:")[2]
    folder = TOP / "images" / digest
    if not folder.is_dir():
        one["provisioning_state"], one["pending"] = "Failed", 0
        one["log"] = f"no image {place['image']}"
        return
    one["port"] = free_port()
    variables = {
        str(name): str(value)
        for name, value in (one["document"].get("environment_variables") or {}).items()
    }
    log = TOP / f"container-{one['port']}.log"
    one["log"] = str(log)
    with log.open("ab") as out:
        one["pid"] = subprocess.Popen(
            [PYTHON, "-m", "gitops", "serve", str(folder), "--listen", f"127.0.0.1:{one['port']}"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, **variables},
        ).pid  # fmt: skip


def ended(one: Json) -> None:
    if pid := one.pop("pid", None):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return


def endpoint(now: Json, kind: str, name: str) -> Json:
    found = now["endpoints" if kind == "online" else "batch"].get(name)
    if found is None:
        fail(f"(ResourceNotFound) the endpoint {name} was not found", 3)
    return dict_of(found)


def dict_of(found: Any) -> Json:
    assert isinstance(found, dict)
    return found


def deployment(now: Json, kind: str, flags: Json) -> Json:
    name = flags["--name"]
    found = endpoint(now, kind, flags["--endpoint-name"])["deployments"].get(name)
    if found is None:
        fail(f"(ResourceNotFound) the deployment {name} was not found", 3)
    return dict_of(found)


def shown(one: Json) -> Json:
    """What `show` answers of an endpoint or deployment: in the words of the YAML."""
    hidden = ("deployments", "document", "pid", "port", "pending", "log", "router", "router_pid")
    return {name: value for name, value in one.items() if name not in hidden}


# ---------------------------------------------------------------- az ml


def endpoint_create(now: Json, kind: str, flags: Json) -> Json:
    made = document(flags, now, f"{kind}-endpoint")
    every = now["endpoints" if kind == "online" else "batch"]
    old = every.get(made["name"])
    if old:
        idle(old)
    one = every[made["name"]] = {**(old or {"deployments": {}}), **made}
    # Whoever creates an endpoint that is there overwrites it, its traffic, too.
    one |= {"traffic": {}, "mirror_traffic": {}} if kind == "online" else {"defaults": {}}
    if kind == "online" and "router" not in one:
        one["router"] = free_port()
    if kind == "online" and "router_pid" not in one and wishes().get("containers", True):
        one["router_pid"] = subprocess.Popen(
            [PYTHON, str(ROUTER), made["name"], str(one["router"])],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        ).pid  # fmt: skip
    begun(one, "Creating")
    return shown(one)


def endpoint_update(now: Json, kind: str, flags: Json) -> Json:
    made = document(flags, now, f"{kind}-endpoint") if "--file" in flags else {}
    one = endpoint(now, kind, flags["--name"])
    idle(one)
    if made and kind == "online":
        one |= {"traffic": {}, "mirror_traffic": {}}
    one |= made
    if "--set" in flags:
        path, _, value = flags["--set"].partition("=")
        first, _, second = path.partition(".")
        if (first, kind) != ("defaults", "batch") or value not in one["deployments"]:
            fail(f"(BadRequest) can't set {flags['--set']}")
        one.setdefault(first, {})[second] = value
    if kind == "online":
        for flag, key in (("--traffic", "traffic"), ("--mirror-traffic", "mirror_traffic")):
            if flag in flags:
                pairs = (pair.split("=") for pair in flags[flag].split())
                one[key] = {name.lower(): int(share) for name, share in pairs}
        split(one)
    begun(one, "Updating")
    return shown(one)


def split(one: Json) -> None:
    """Azure's rules on traffic."""
    traffic = {name: share for name, share in one["traffic"].items() if share}
    mirror = {name: share for name, share in one["mirror_traffic"].items() if share}
    for name in {**one["traffic"], **one["mirror_traffic"]}:
        if name not in one["deployments"]:
            fail(f"(BadRequest) traffic for {name}, which is no deployment")
    if sum(traffic.values()) not in (0, 100):
        fail("(BadRequest) Total traffic has to either be 0 or sum up to 100")
    if len(mirror) > 1 or any(share > 50 for share in mirror.values()):
        fail("(BadRequest) mirror traffic: one deployment, and at most 50 %")
    if set(mirror) & set(traffic):
        fail("(BadRequest) a deployment with traffic can't be mirrored to")
    for name in traffic:
        if one["deployments"][name]["provisioning_state"] != "Succeeded":
            fail(f"(BadRequest) {name} isn't ready for traffic")
    one["traffic"], one["mirror_traffic"] = traffic, mirror


def endpoint_show(now: Json, kind: str, flags: Json) -> Json:
    one = endpoint(now, kind, flags["--name"])
    looked(one)
    if kind == "online":
        one["scoring_uri"] = f"http://127.0.0.1:{one['router']}{scoring(one)}"
        # As the SDK does: deployments without traffic are named with nought.
        others = dict.fromkeys(set(one["deployments"]) - set(one["mirror_traffic"]), 0)
        return {**shown(one), "traffic": {**others, **one["traffic"]}}
    return shown(one)


def scoring(one: Json) -> str:
    for each in one["deployments"].values():
        return str(each["document"]["environment"]["inference_config"]["scoring_route"]["path"])
    return "/score"


def endpoint_delete(now: Json, kind: str, flags: Json) -> None:
    one = endpoint(now, kind, flags["--name"])
    idle(one)
    for each in one["deployments"].values():
        ended(each)
    if pid := one.get("router_pid"):
        os.kill(pid, signal.SIGTERM)
    del now["endpoints" if kind == "online" else "batch"][flags["--name"]]


def endpoint_credentials(now: Json, kind: str, flags: Json) -> Json:
    one = endpoint(now, kind, flags["--name"])
    token = hashlib.sha256(str(one["router"]).encode()).hexdigest()
    return {"primaryKey": token} if one["auth_mode"] == "key" else {"accessToken": token}


def deployment_put(now: Json, kind: str, flags: Json, *, new: bool) -> Json:
    made = document(flags, now, f"{kind}-deployment")
    at = endpoint(now, kind, made["endpoint_name"])
    idle(at)
    old = at["deployments"].get(made["name"])
    if old is None and not new:
        fail(f"(ResourceNotFound) the deployment {made['name']} was not found", 3)
    if old is not None:
        if new and kind == "online":
            fail(f"(UserError) the deployment {made['name']} already exists: use update")
        idle(old)
        ended(old)
    one: Json = {key: made[key] for key in ("name", "endpoint_name", "tags") if key in made}
    at["deployments"][made["name"]] = one
    one["document"] = made
    begun(one, "Creating" if new else "Updating")
    if kind == "online":
        started(one)
    return shown(one)


def deployment_show(now: Json, kind: str, flags: Json) -> Json:
    one = deployment(now, kind, flags)
    looked(one)
    return shown(one)


def deployment_delete(now: Json, kind: str, flags: Json) -> None:
    at, name = endpoint(now, kind, flags["--endpoint-name"]), flags["--name"]
    one = deployment(now, kind, flags)
    idle(at)
    idle(one)
    if kind == "online" and (at["traffic"].get(name) or at["mirror_traffic"].get(name)):
        fail(f"(BadRequest) the deployment {name} has live traffic: set it to 0 before")
    ended(one)
    del at["deployments"][name]


def ml(now: Json, words: list[str]) -> Any:
    noun, verb, *rest = words
    known = ML.get(f"{noun} {verb}")
    if known is None:
        fail(f"'{verb}' is misspelled or not recognized by the system.", 2)
    flags = parsed(rest, ((*known[0], *WORKSPACE), known[1]))
    if noun == "datastore":
        return {"name": flags["--name"], "account_name": "account", "container_name": "container"}
    kind, _, what = noun.partition("-")
    if verb == "delete" and "--yes" not in flags:
        fail("Unable to prompt for confirmation as no tty available. Use --yes.")
    if what == "endpoint":
        does: dict[str, Any] = {"create": endpoint_create, "update": endpoint_update}
        does.update({"show": endpoint_show, "get-credentials": endpoint_credentials})
        return (
            endpoint_delete(now, kind, flags) if verb == "delete" else does[verb](now, kind, flags)
        )
    if verb in ("create", "update"):
        return deployment_put(now, kind, flags, new=verb == "create")
    if verb == "list":
        every = endpoint(now, kind, flags["--endpoint-name"])["deployments"].values()
        return [shown(one) for one in every]
    if verb == "get-logs":
        path = Path(str(deployment(now, kind, flags).get("log")))
        return path.read_text()[-2000:] if path.is_file() else str(path)
    return (
        deployment_delete(now, kind, flags)
        if verb == "delete"
        else deployment_show(now, kind, flags)
    )


# ---------------------------------------------------------------- az storage blob


def blob(now: Json, words: list[str]) -> Any:
    verb, *rest = words
    flags = parsed(rest, BLOB[verb])
    if flags.get("--account-name") != "account" or flags["--container-name"] != "container":
        fail("(AccountNotFound) no such account or container")
    top = TOP / "blobs"
    etags = now.setdefault("etags", {})
    if verb == "list":
        names = sorted(str(one.relative_to(top)) for one in top.rglob("*") if one.is_file())
        return [
            {"name": name, "properties": {"contentLength": (top / name).stat().st_size}}
            for name in names
            if name.startswith(flags.get("--prefix", ""))
        ]
    name, file = flags["--name"], Path(flags["--file"])
    path, etag = top / name, etags.get(flags["--name"], '"0x0"')
    if verb == "download":
        if not path.is_file():
            fail("The specified blob does not exist. ErrorCode:BlobNotFound", 3)
        shutil.copy(path, file)
        return {"name": name, "properties": {"etag": etag}}
    if path.is_file():
        if flags.get("--if-none-match") == "*" or "--overwrite" not in flags:
            fail("The specified blob already exists. ErrorCode:BlobAlreadyExists")
        if flags.get("--if-match", etag) != etag:
            fail("The condition specified is not met. ErrorCode:ConditionNotMet")
    elif "--if-match" in flags:
        fail("The condition specified is not met. ErrorCode:ConditionNotMet")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, path)
    now["etag"] += 1
    etags[name] = f'"0x{now["etag"]:X}"'
    return {"etag": etags[name]}


def main() -> None:
    run(sys.argv[1:])


def run(words: list[str]) -> None:
    wish = wishes()
    if says := wish.get("says"):
        fail(says)
    with state() as now:
        now["calls"] += 1
        mine, what = now["calls"] == wish.get("at"), wish.get("do")
        with (TOP / "calls.txt").open("a") as file:
            file.write(" ".join(words) + "\n")
    if mine and what == "fail":
        fail("(InternalServerError) something went wrong on our side")
    if mine and what == "kill-before":
        os.kill(os.getppid(), signal.SIGKILL)
        raise SystemExit(1)
    with state() as now:
        if words[:2] == ["account", "show"]:
            parsed(words[2:], ((), ()))
            answer: Any = {"id": "11111111-2222-3333-4444-555555555555"}
        elif words[0] == "ml":
            answer = ml(now, words[1:])
        elif words[:2] == ["storage", "blob"]:
            answer = blob(now, words[2:])
        else:
            fail(f"'{words[0]}' is misspelled or not recognized by the system.", 2)
    if mine and what == "kill-after":
        os.kill(os.getppid(), signal.SIGKILL)
    if answer is not None:
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
