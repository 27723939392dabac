"""The way into a cluster of Azure's: as whom `az` is logged in, with no secret on the disk.

`az` writes where the cluster is; the login is a token that kubectl asks us for each time (a
client-go credential plugin: `python -m gitops.deploy.kubernetes.aks`), as kubelogin does.
"""

from __future__ import annotations

import json
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from gitops import proc
from gitops.errors import ToolError

# The Entra ID application of every AKS cluster: https://learn.microsoft.com/azure/aks/kubelogin-authentication
_SERVER = "6dae42f8-4368-4678-94ff-3960e28e3630"
_VERSION = "client.authentication.k8s.io/v1"
_SECONDS = 120.0


def kubeconfig(cluster: str, group: str, file: Path) -> Path:
    """A kubeconfig for a cluster in a resource group, with a context of its name.

    Raises:
        ToolError: `az` isn't there or not logged in, or may not read the cluster.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_name(f".{file.name}.{secrets.token_hex(4)}")  # others read `file` meanwhile
    try:
        _written(cluster, group, half)
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)
    return file


def _written(cluster: str, group: str, file: Path) -> None:
    words = ["aks", "get-credentials", "--name", cluster, "--resource-group", group]
    done = proc.run(
        ["az", *words, "--file", str(file), "--overwrite-existing", "--only-show-errors"],
        check=False,
        timeout=_SECONDS,
    )
    if done.code:
        raise ToolError(
            f"the cluster {cluster} can't be reached: {done.err.strip()[:500]}",
            fix="az login; may this account read the cluster? gitops infra apply makes it",
        )
    document = yaml.safe_load(file.read_text("utf-8"))
    for user in document["users"]:
        user["user"] = {"exec": _plugin()}
    file.write_text(yaml.safe_dump(document), "utf-8")
    file.chmod(0o600)


def _plugin() -> dict[str, Any]:
    return {
        "apiVersion": _VERSION,
        "command": sys.executable,
        "args": ["-m", "gitops.deploy.kubernetes.aks"],
        "interactiveMode": "Never",
        "provideClusterInfo": False,
    }


def credential() -> dict[str, Any]:
    """A token for the cluster, as kubectl wants it. Raises ToolError if `az` gives none.

    https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
    """
    words = ["account", "get-access-token", "--resource", _SERVER, "--output", "json"]
    told = json.loads(proc.run(["az", *words], timeout=_SECONDS).out)
    status = {"token": told["accessToken"]}
    if "expires_on" in told:
        ends = datetime.fromtimestamp(int(told["expires_on"]), UTC)
        status["expirationTimestamp"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"apiVersion": _VERSION, "kind": "ExecCredential", "status": status}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(credential()))
