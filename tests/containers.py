"""Images on this machine without a daemon: a base of its own Python, a registry, a place for all.

No registry of others is needed: the base image holds the Python that runs the tests, with the
libraries that it needs and the wheels' usual ones.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.serving import until
from tests.unit.deploy.machine import free_ports

PROGRAMS = ("buildah", "podman", "skopeo", "runc", "docker-registry")
_LEFT_OUT = {"test", "idlelib", "__pycache__", "tkinter", "lib2to3", "turtledemo", "ensurepip"}
# What every wheel for Linux may take for granted (PEP 600) and Python doesn't load itself.
_LIBRARIES = ("libstdc++.so.6", "libgcc_s.so.1", "librt.so.1", "libpthread.so.0", "libdl.so.2")


@dataclass(frozen=True)
class Containers:
    """`base` is an image, `registry` the host and port of a registry, `env` what programs need."""

    base: str
    registry: str
    env: dict[str, str]

    def run(self, *words: str) -> str:
        """A program to its end, and what it said."""
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    @contextmanager
    def container(self, name: str, image: str, *words: str) -> Iterator[None]:
        """A container of the image, on this machine's own network, until the block ends."""
        limits = ["--ulimit", "nofile=1024:4096", "--ulimit", "nproc=1000:2000"]
        runs = ["podman", "--runtime", str(shutil.which("runc")), "run", "--detach", "--name", name]
        runs += [*limits, "--network=host", "--read-only", "--tls-verify=false", "--cap-drop=all"]
        self.run(*runs, "--tmpfs", "/tmp", image, *words)
        try:
            yield
        finally:
            self.run("podman", "rm", "--force", "--time", "5", name)


@contextmanager
def containers(folder: Path) -> Iterator[Containers]:
    """All that building, pushing and running needs; a skip where it can't be had."""
    missing = [one for one in PROGRAMS if shutil.which(one) is None]
    if missing or os.getuid():
        pytest.skip(f"no containers here: {', '.join(missing) or 'only root needs no set-up'}")
    store = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else folder
    store = store / f"gitops-test-{os.getpid()}"
    env = _settings(folder, store)
    (port,) = free_ports(1)
    made = Containers("localhost/base:test", f"127.0.0.1:{port}", env)
    try:
        _base(made, folder)
        with _registry(folder, port):
            yield made
    finally:
        subprocess.run(["podman", "unmount", "--all"], env=env, capture_output=True)
        shutil.rmtree(store, ignore_errors=True)


def _settings(folder: Path, store: Path) -> dict[str, str]:
    settings = folder / "storage.conf"
    settings.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{store}/graph"\nrunroot = "{store}/run"\n'
    )
    return {**os.environ, "CONTAINERS_STORAGE_CONF": str(settings), "STORAGE_DRIVER": "vfs"}


def _base(made: Containers, folder: Path) -> None:
    root = folder / "context" / "root"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    prefix = Path(sys.base_prefix)
    library = root / "usr" / "local" / "lib" / version
    (root / "usr" / "local" / "bin").mkdir(parents=True)

    def left_out(where: str, names: Sequence[str]) -> set[str]:
        if Path(where).name == "site-packages":
            return {one for one in names if not one.startswith("pip")}
        return {one for one in names if one in _LEFT_OUT or one.startswith("config-")}

    shutil.copytree(prefix / "lib" / version, library, symlinks=True, ignore=left_out)
    program = (prefix / "bin" / version).resolve()
    shutil.copy(program, root / "usr" / "local" / "bin" / "python3")
    (root / "usr" / "local" / "bin" / "python").symlink_to("python3")
    cache = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    usual = [
        Path(found[1])
        for name in _LIBRARIES
        if (found := re.search(rf"{re.escape(name)} \(.*x86-64.*\) => (\S+)", cache))
    ]
    loader = re.findall(r"(/lib\S*/ld-linux\S+)", _loaded([program]))
    needed = re.findall(
        r"(/\S+\.so\S*)(?= \()", _loaded([program, *usual, *library.glob("lib-dynload/*.so")])
    )
    for one in {*needed, *loader, *map(str, usual)}:
        copy = root / one.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(one).resolve(), copy)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc" / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    (folder / "context" / "Containerfile").write_text("FROM scratch\nCOPY root /\n")
    made.run("buildah", "build", "--isolation", "chroot", "--tag", made.base, f"{folder}/context")


def _loaded(files: Sequence[Path]) -> str:
    return subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True).stdout


@contextmanager
def _registry(folder: Path, port: int) -> Iterator[None]:
    settings = folder / "registry.yml"
    settings.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        f'http: {{addr: "127.0.0.1:{port}"}}\nlog: {{level: error}}\n'
    )
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", settings], stdout=log, stderr=log)
    try:

        def answers() -> bool:
            with socket.create_connection(("127.0.0.1", port), 1):
                return True

        until(answers)
        yield
    finally:
        process.terminate()
        process.wait(60)
