"""A stand-in for the Azure CLI: the commands that gitops gives it, and what those answer.

Words, required options, exit codes and the form of answers are those of the CLI's reference
(https://learn.microsoft.com/cli/azure/reference-index): 2 for words that it doesn't know, 3 for a
resource that isn't there, 1 for the rest. All that "Azure" has is one JSON file, $AZ_WORLD; each
call is written to $AZ_CALLS. `$AZ_KILL=N` kills whoever calls, at the Nth call: before it is done,
or after (`$AZ_KILL=N+`).
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Options = Mapping[str, str]
FLAGS = {"--all", "--only-show-errors", "--layered"}
TENANT = "11111111-1111-1111-1111-111111111111"
SUBSCRIPTION = "0a0a0a0a-0000-0000-0000-0123456789ab"
AUDIENCE = "api://AzureADTokenExchange"


class Refused(Exception):
    """What it says on stderr, and its exit code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class World:
    """What Azure has, and what the CLI knows: plain data, kept in a file."""

    logged_in: bool = True
    name: str = "ml"
    state: str = "Enabled"
    extensions: list[str] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)  # name -> location
    identities: dict[str, list[str]] = field(default_factory=dict)  # group -> names
    credentials: dict[str, list[Json]] = field(default_factory=dict)  # identity, or client id
    roles: list[Json] = field(default_factory=list)
    hubs: dict[str, Json] = field(default_factory=dict)  # name -> deployments and devices, by id

    def save(self, path: Path) -> None:
        half = path.with_suffix(".half")
        half.write_text(json.dumps(self.__dict__))
        half.replace(path)

    @classmethod
    def load(cls, path: Path) -> World:
        return cls(**json.loads(path.read_text()))


Command = Callable[[World, Options], object]
COMMANDS: dict[tuple[str, ...], tuple[frozenset[str], frozenset[str], Command]] = {}


def command(words: str, required: str = "", optional: str = "") -> Callable[[Command], Command]:
    """A command, the options that it needs, and those that it takes too."""

    def made(run: Command) -> Command:
        allowed = frozenset(optional.split()) | {"--output", "--only-show-errors"}
        COMMANDS[tuple(words.split())] = frozenset(required.split()), allowed, run
        return run

    return made


def principal(group: str, name: str) -> str:
    """The object id of an identity: the same at every run."""
    return f"principal-of-{group}-{name}"


@command("version")
def _version(world: World, options: Options) -> object:
    versions = dict.fromkeys(world.extensions, "1.0.0")
    return {"azure-cli": "2.80.0", "azure-cli-core": "2.80.0", "extensions": versions}


@command("account show")
def _account(world: World, options: Options) -> object:
    return {
        "environmentName": "AzureCloud",
        "homeTenantId": TENANT,
        "id": SUBSCRIPTION,
        "isDefault": True,
        "managedByTenants": [],
        "name": world.name,
        "state": world.state,
        "tenantId": TENANT,
        "user": {"name": "ada@example.org", "type": "user"},
    }


@command("group show", "--name")
def _group(world: World, options: Options) -> object:
    name = options["--name"]
    if name not in world.groups:
        text = f"(ResourceGroupNotFound) Resource group '{name}' could not be found."
        raise Refused(3, f"{text}\nCode: ResourceGroupNotFound\nMessage: ...")
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}",
        "location": world.groups[name],
        "managedBy": None,
        "name": name,
        "properties": {"provisioningState": "Succeeded"},
        "tags": {},
        "type": "Microsoft.Resources/resourceGroups",
    }


@command("identity list", "", "--resource-group")
def _identities(world: World, options: Options) -> object:
    group = options["--resource-group"]
    return [
        {
            "clientId": f"client-of-{group}-{name}",
            "id": f"/subscriptions/{SUBSCRIPTION}/resourcegroups/{group}/providers"
            f"/Microsoft.ManagedIdentity/userAssignedIdentities/{name}",
            "location": "westeurope",
            "name": name,
            "principalId": principal(group, name),
            "resourceGroup": group,
            "systemData": None,
            "tags": {},
            "tenantId": TENANT,
            "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
        }
        for name in world.identities.get(group, ())
    ]


@command("identity federated-credential list", "--identity-name --resource-group")
def _credentials(world: World, options: Options) -> object:
    group, name = options["--resource-group"], options["--identity-name"]
    if name not in world.identities.get(group, ()):
        raise Refused(3, f"(ResourceNotFound) The Resource '{name}' was not found.")
    return [
        {
            "audiences": one.get("audiences", [AUDIENCE]),
            "id": f"/subscriptions/{SUBSCRIPTION}/.../{one['name']}",
            "issuer": one["issuer"],
            "name": one["name"],
            "resourceGroup": group,
            "subject": one["subject"],
            "systemData": None,
            "type": "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
        }
        for one in world.credentials.get(name, ())
    ]


@command("ad app federated-credential list", "--id")
def _app_credentials(world: World, options: Options) -> object:
    client = options["--id"]
    if client not in world.credentials:
        text = f"Resource '{client}' does not exist or one of its queried reference-property"
        raise Refused(3, f"{text} objects are not present.")
    return [
        {
            "audiences": one.get("audiences", [AUDIENCE]),
            "description": None,
            "id": f"id-of-{one['name']}",
            "issuer": one["issuer"],
            "name": one["name"],
            "subject": one["subject"],
        }
        for one in world.credentials[client]
    ]


@command("role assignment list", "", "--all --assignee --scope")
def _roles(world: World, options: Options) -> object:
    assert options.get("--all") == "true", "only those of the subscription are listed without it"
    return [
        {
            "condition": None,
            "conditionVersion": None,
            "createdBy": None,
            "createdOn": "2026-01-01T00:00:00.000000+00:00",
            "delegatedManagedIdentityResourceId": None,
            "description": None,
            "id": f"{one['scope']}/providers/Microsoft.Authorization/roleAssignments/{number}",
            "name": str(number),
            "principalId": one["principal"],
            "principalName": "",
            "principalType": "ServicePrincipal",
            "roleDefinitionId": f"/subscriptions/{SUBSCRIPTION}/.../{one['role']}",
            "roleDefinitionName": one["role"],
            "scope": one["scope"],
            "type": "Microsoft.Authorization/roleAssignments",
            "updatedBy": None,
            "updatedOn": "2026-01-01T00:00:00.000000+00:00",
        }
        for number, one in enumerate(world.roles)
    ]


# ---------------------------------------------------------------- IoT Edge
# A device: `tags`, whether it is `online`, and the `images` that it can run. What an online device
# reports is what the hub's deployments come to: the base of the highest priority that it fits, and
# of each module the layer of the highest priority, if that is higher than the base's.

_AGENT = "$edgeAgent"
_MODULE = "properties.desired.modules."
_HUB = "--hub-name"


def hub(*devices: tuple[str, str], images: str = "") -> Json:
    """A hub with these devices (name, tag `environment`), online; `images`: what they can't run."""
    made = {
        name: {"tags": {"environment": tag}, "online": True, "broken": images.split()}
        for name, tag in devices
    }
    return {"deployments": {}, "devices": made}


def _hub(world: World, options: Options) -> Json:
    found: Json | None = world.hubs.get(options[_HUB])
    if found is None:
        raise Refused(3, f"Cannot find IoT Hub {options[_HUB]} in the current subscription.")
    return found


def _deployment(world: World, options: Options) -> Json:
    found: Json | None = _hub(world, options)["deployments"].get(options["--deployment-id"])
    if found is None:
        raise Refused(3, "{'Message': 'ErrorCode:ConfigurationNotFound'}")
    return found


def _fits(device: Json, condition: str) -> bool:
    """`tags.environment='x'`, and several of them joined by AND."""
    for part in re.split(r"\s+and\s+", condition.strip(), flags=re.I):
        found = re.fullmatch(r"tags\.(\w+)\s*=\s*'([^']*)'", part)
        if found is None:
            raise Refused(1, f"{{'Message': 'ErrorCode:ArgumentInvalid; {condition}'}}")
        if device["tags"].get(found[1]) != found[2]:
            return False
    return True


def reported(hub: Json, device: Json) -> dict[str, str]:
    """The images that a device is told to run, by module; none without a base."""
    fitting = [one for one in hub["deployments"].values() if _fits(device, one["targetCondition"])]
    fitting.sort(key=lambda one: one["priority"])
    agents = [(one["priority"], one["content"]["modulesContent"][_AGENT]) for one in fitting]
    bases = [each for each in agents if "properties.desired" in each[1]]
    if not bases:
        return {}
    floor, base = bases[-1]
    modules = base["properties.desired"]["modules"]
    found = {name: one["settings"]["image"] for name, one in modules.items()}
    for priority, agent in agents:
        for key, module in agent.items() if priority > floor else ():
            if key.startswith(_MODULE):
                found[key.removeprefix(_MODULE)] = module["settings"]["image"]
    return found


@command("iot edge deployment list", _HUB)
def _list(world: World, options: Options) -> object:
    return list(_hub(world, options)["deployments"].values())


@command(
    "iot edge deployment create",
    "--deployment-id --hub-name --content",
    "--labels --target-condition --priority --metrics --layered",
)
def _create(world: World, options: Options) -> object:
    here, id = _hub(world, options)["deployments"], options["--deployment-id"]
    if not re.fullmatch(r"[a-z0-9\-+%_*!']{1,128}", id):
        raise Refused(1, f"{{'Message': 'ErrorCode:ConfigurationIdInvalid; {id}'}}")
    if id in here:
        raise Refused(1, f"{{'Message': 'ErrorCode:ConfigurationAlreadyExists; {id}'}}")
    content = json.loads(Path(options["--content"]).read_text())
    content = content.get("content", content)
    if "modulesContent" not in content:
        raise Refused(2, "Edge deployment payloads require property: modulesContent")
    agent = content["modulesContent"][_AGENT]
    if ("properties.desired" in agent) == ("--layered" in options):
        raise Refused(1, "a base deployment is not layered, and a layer has no properties.desired")
    for text in _options_of(content):
        if not isinstance(text, str) or not isinstance(json.loads(text), dict):
            raise Refused(1, "createOptions is a text that holds a JSON object")
    condition = options.get("--target-condition", "")
    query = f"select deviceId from devices where {condition}" if condition else ""
    here[id] = {
        "content": content,
        "contentType": "assignment",
        "createdTimeUtc": "2026-01-01T00:00:00Z",
        "etag": "MQ==",
        "id": id,
        "labels": json.loads(options.get("--labels", "{}")),
        "lastUpdatedTimeUtc": "2026-01-01T00:00:00Z",
        "metrics": {**json.loads(Path(options["--metrics"]).read_text()), "results": {}},
        "priority": int(options.get("--priority", "0")),
        "schemaVersion": "2.0",
        "systemMetrics": {"queries": {"targetedCount": query}, "results": {}},
        "targetCondition": condition,
    }
    return here[id]


def _options_of(value: object) -> list[object]:
    if not isinstance(value, dict):
        return []
    here = [value["createOptions"]] if "createOptions" in value else []
    return [*here, *(found for one in value.values() for found in _options_of(one))]


@command("iot edge deployment update", "--deployment-id --hub-name --set")
def _update(world: World, options: Options) -> object:
    found = _deployment(world, options)
    name, equals, text = options["--set"].partition("=")
    if not equals or name not in ("labels", "priority", "targetCondition"):
        raise Refused(1, f"{name}: IoT Edge deployment content is immutable")
    found[name] = text if name == "targetCondition" else json.loads(text)
    return found


@command("iot edge deployment delete", "--deployment-id --hub-name")
def _delete(world: World, options: Options) -> None:
    _deployment(world, options)
    del _hub(world, options)["deployments"][options["--deployment-id"]]


_RUNS = re.compile(
    r"SELECT deviceId FROM devices\.modules WHERE moduleId = '\$edgeAgent' AND"
    r" properties\.reported\.modules\.\[\[([\w-]+)\]\]\.settings\.image = '([^']+)' AND"
    r" properties\.reported\.modules\.\[\[\1\]\]\.runtimeStatus"
    r" (= 'running'|IN \['failed', 'backoff', 'unhealthy'\])"
)


@command(
    "iot edge deployment show-metric", "--deployment-id --hub-name --metric-id", "--metric-type"
)
def _metric(world: World, options: Options) -> object:
    here, found = _hub(world, options), _deployment(world, options)
    kind = "systemMetrics" if options.get("--metric-type") == "system" else "metrics"
    metric = options["--metric-id"]
    if metric not in found[kind]["queries"]:
        text = f"The metric '{metric}' is not defined in the configuration '{found['id']}'"
        raise Refused(1, text)
    query, devices = found[kind]["queries"][metric], here["devices"]
    if kind == "systemMetrics":
        names = [name for name, one in devices.items() if _fits(one, found["targetCondition"])]
    elif asked := _RUNS.fullmatch(query):
        names = [
            name
            for name, one in devices.items()
            if one["online"]
            and reported(here, one).get(asked[1]) == asked[2]
            and (asked[2] in one["broken"]) == asked[3].startswith("IN")
        ]
    else:
        raise Refused(1, f"{{'Message': 'ErrorCode:ArgumentInvalid; {query}'}}")
    return {"metric": metric, "query": query, "result": [{"deviceId": name} for name in names]}


# ---------------------------------------------------------------- the program


def answer(world: World, arguments: list[str]) -> object:
    """What the command says, or Refused."""
    at = next((n for n, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    words, rest = tuple(arguments[:at]), arguments[at:]
    if words not in COMMANDS:
        raise Refused(2, f"'{' '.join(words)}' is misspelled or not recognized by the system.")
    required, allowed, run = COMMANDS[words]
    options: dict[str, str] = {}
    while rest:
        name = rest.pop(0)
        if name not in required | allowed:
            raise Refused(2, f"unrecognized arguments: {name}")
        if name not in FLAGS and (not rest or rest[0].startswith("--")):
            raise Refused(2, f"argument {name}: expected one argument")
        options[name] = "true" if name in FLAGS else rest.pop(0)
    if missing := sorted(required - set(options)):
        raise Refused(2, f"the following arguments are required: {', '.join(missing)}")
    if not world.logged_in and words != ("version",):
        raise Refused(1, "Please run 'az login' to setup account.")
    return run(world, options)


def main() -> int:
    path, calls = Path(os.environ["AZ_WORLD"]), Path(os.environ["AZ_CALLS"])
    with calls.open("a") as file:
        file.write(json.dumps(sys.argv[1:]) + "\n")
    number = len(calls.read_text().splitlines())
    kill = os.environ.get("AZ_KILL", "")
    if kill == str(number):
        os.kill(os.getppid(), signal.SIGKILL)
        return 1
    world = World.load(path)
    try:
        said = answer(world, sys.argv[1:])
    except Refused as refused:
        sys.stderr.write(f"ERROR: {refused}\n")
        return refused.code
    world.save(path)
    if kill == f"{number}+":
        os.kill(os.getppid(), signal.SIGKILL)
    if said is not None:
        print(json.dumps(said, indent=2))
    return 0


@dataclass(frozen=True)
class Az:
    """The program in a folder for PATH, and the world that it knows."""

    folder: Path
    env: Mapping[str, str]

    @property
    def world(self) -> World:
        return World.load(Path(self.env["AZ_WORLD"]))

    def put(self, world: World) -> None:
        world.save(Path(self.env["AZ_WORLD"]))

    @property
    def calls(self) -> list[list[str]]:
        path = Path(self.env["AZ_CALLS"])
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def install(folder: Path, world: World) -> Az:
    """Write the program `az`; `env` has what a caller's environment needs, PATH not included."""
    bin_ = folder / "az-bin"
    bin_.mkdir(parents=True)
    program = bin_ / "az"
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -S -E "{Path(__file__).resolve()}" "$@"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    env = {"AZ_WORLD": str(folder / "world.json"), "AZ_CALLS": str(folder / "calls.jsonl")}
    found = Az(bin_, env)
    found.put(world)
    return found


if __name__ == "__main__":
    sys.exit(main())
