"""A project with code of its own, and a model around which it runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from gitops import package, uv
from gitops.serve import model as models
from gitops.serve.model import Model
from gitops.serve.plan import Log, Serve, Served, Variant

PACKAGES = Path(__file__).parents[2] / "contracts" / "packages"
ROW = {
    "distance": 500,
    "delay": 3.5,
    "holiday": True,
    "carrier": "AA",
    "time": "2013-05-01T10:00:00Z",
}


def project(folder: Path, **files: str) -> Path:
    """A locked project without dependencies; `files` by their names without `.py`."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "flights"\nversion = "0"\nrequires-python = ">=3.11"\n'
    )
    subprocess.run([uv.binary(), "lock", "--offline", "--quiet"], cwd=folder, check=True)
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def with_our_libraries(root: Path) -> Path:
    """The project's Python finds what the tests have: polars, without a download."""
    (root / ".python-version").write_text("{}.{}\n".format(*sys.version_info))
    (root / "build.env").write_text(f"PYTHONPATH={sysconfig.get_path('purelib')}\n")
    return root


def as_command(folder: Path, task: str, command: list[str]) -> Path:
    """The package of a task as one of a declared command."""
    shutil.copytree(PACKAGES / task / "package", folder)
    signature = folder / "signature.json"
    document = json.loads(signature.read_text())
    document["runtime"] = {"kind": "command", "command": command}
    signature.write_text(json.dumps(document))
    (folder / "model.onnx").unlink()
    return folder


def model(task: str = "binary", folder: Path | None = None) -> Model:
    """A loaded variant of a package."""
    found = package.read(folder or PACKAGES / task / "package")
    variant = Variant(f"{task}@v1.0.0", f"{task}#production#1", found.folder, found.digest)
    return Model(task, variant, found, models.decoder(found, Served(variant)))


def serve(workdir: Path, script: str | None = None, redact: tuple[str, ...] = ()) -> Serve:
    return Serve(workdir=workdir, script=script, log=Log(redact=redact))


def body(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"rows": rows}).encode()
