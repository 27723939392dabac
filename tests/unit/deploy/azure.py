"""A repository whose model is deployed to Azure ML, by a stand-in for `az`."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from gitops import config
from gitops.deploy.ask import Answer
from gitops.deploy.state import State
from gitops.scaffold import targets
from tests.unit.deploy.machine import SECONDS, Machine, Ran, meanwhile, people
from tests.unit.promote.line import Line
from tests.unit.validate import conftest as tables

AZ = Path(__file__).resolve().parents[2] / "az.py"
PLACES = """\
environments:
  - {{name: dev, branch: main}}
  - {{name: staging, branch: release/staging, policy: lax}}
  - name: production
    branch: release/production
    policy: lax
    rollout: {rollout}
targets:
  azureml:
    batch: {batch}
    workspaces:
      staging: {{name: demo-staging, resource_group: demo-staging}}
      production: {{name: demo-production, resource_group: demo-production}}
"""
# `gitops`, without the clocks, and with a registry in which an image is its package's folder.
RUN = """
import os, shutil
from pathlib import Path
from gitops.cli import hands_image, main
from gitops.deploy.azureml import target
from gitops.serve import collected

class Images:
    def __init__(self, root, config, commit, say):
        pass

    def __call__(self, variant):
        place = Path(os.environ["AZ_STANDIN"]) / "images" / variant.package
        if not place.exists():
            half = place.with_name(f".{os.getpid()}")
            shutil.copytree(variant.folder, half)
            half.rename(place)
        return f"registry.example.org/demo@sha256:{variant.package}"

hands_image.Images = Images
target.EVERY = target.LOOK = collected.NEAR = 0.0
collected.LATE = float(os.environ.get("AZ_LATE", "900"))
main()
"""


def files(line: Line) -> None:
    """What the generator makes of gitops.yaml."""
    for one in targets.rendered(config.load(line.root)):
        line.repo.write(str(one.path), one.content.decode())


@dataclass(frozen=True)
class Cloud(Machine):
    """`top` is all that the stand-in keeps."""

    top: Path = field(default_factory=Path)
    program: ClassVar[str] = RUN

    def state(self, environment: str) -> State:
        (found,) = self.home.glob(f"*/{environment}.azureml")
        return State(found)

    def wish(self, **what: object) -> None:
        (self.top / "wishes.json").write_text(json.dumps(what))

    def az(self, *words: str) -> Ran:
        """Ask the stand-in, as a person would."""
        done = subprocess.run(["az", *words], capture_output=True, text=True, timeout=SECONDS)
        return Ran(done.returncode, done.stdout, done.stderr)

    def there(self) -> dict[str, Any]:
        """What there is in the cloud."""
        path = self.top / "state.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def name(self, environment: str) -> str:
        from gitops import cloudnames

        return cloudnames.endpoint(self.line.config, environment, "demo")

    def deployed(self, environment: str) -> dict[str, Any]:
        """Traffic, mirror and states of the deployments."""
        one = self.there()["endpoints"][self.name(environment)]
        states = {name: each["provisioning_state"] for name, each in one["deployments"].items()}
        return {"traffic": one["traffic"], "mirror": one["mirror_traffic"], "states": states}

    def post(self, environment: str, body: object, token: str | None = None) -> Answer:
        """Ask the endpoint, as a caller does."""
        words = ("--resource-group", "g", "--workspace-name", "w", "--name", self.name(environment))
        shown = self.az("ml", "online-endpoint", "show", *words).document
        given = self.az("ml", "online-endpoint", "get-credentials", *words).document
        return posted(shown["scoring_uri"], body, token or given["accessToken"])

    def release(self, environment: str) -> str:
        answer = self.post(environment, {"rows": people(1)})
        assert answer.status == 200, answer.body
        (one,) = [
            each["tags"]["release"]
            for each in self.there()["endpoints"][self.name(environment)]["deployments"].values()
            if each["document"]["tags"]["package"][:12] == answer.body["release"].partition("@")[2]
        ]
        return str(one)

    def stop(self) -> None:
        """No container and no router stays behind."""
        for one in self.there().get("endpoints", {}).values():
            pids = [each.get("pid") for each in one["deployments"].values()]
            for pid in (*pids, one["router_pid"]):
                with suppress(ProcessLookupError, TypeError):
                    os.kill(pid, signal.SIGKILL)


def posted(uri: str, body: object, token: str) -> Answer:
    at = urlsplit(uri)
    connection = http.client.HTTPConnection(str(at.hostname), at.port, timeout=SECONDS)
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    try:
        connection.request("POST", at.path, json.dumps(body), headers)
        answer = connection.getresponse()
        return Answer(answer.status, json.loads(answer.read()))
    finally:
        connection.close()


@contextmanager
def used(cloud: Cloud, environment: str, *, ids: bool = False) -> Iterator[list[int]]:
    """Users of an endpoint, and somebody who tells what came true: statuses of all answers.

    `ids`: callers name their requests.
    """
    frame = tables.people(count=4000, seed=11)
    rows, labels = people(4000, 11), frame["label"].to_list()
    words = ("--resource-group", "g", "--workspace-name", "w", "--name", cloud.name(environment))
    uri = cloud.az("ml", "online-endpoint", "show", *words).document["scoring_uri"]
    credentials = cloud.az("ml", "online-endpoint", "get-credentials", *words).document
    seen: list[int] = []
    place = cloud.top / "blobs" / "gitops" / environment / "labels"
    place.mkdir(parents=True, exist_ok=True)

    told: list[str] = []

    def use() -> None:
        at = len(seen)
        body = {"rows": [rows[at % len(rows)]], **({"id": f"call-{at}"} if ids else {})}
        answer = posted(uri, body, credentials["accessToken"])
        seen.append(answer.status)
        if answer.status == 200:
            label = str(labels[at % len(rows)]).lower()
            told.append(json.dumps({"id": answer.body["id"], "label": label}))
        if len(seen) % 25 == 0:
            half = place.parent / ".half"
            half.write_text("\n".join(told) + "\n")
            half.replace(place / "told.jsonl")

    with meanwhile(use, pause=0.01):
        yield seen
