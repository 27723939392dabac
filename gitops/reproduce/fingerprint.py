"""What a build's bytes depend on beside the commit: the machine and the fixed environment."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass, fields
from pathlib import Path

from gitops import uv

# They choose the BLAS kernel, and with it the last bits of everything but trees.
_KERNEL_VARIABLES = (
    "OPENBLAS_CORETYPE",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
)


@dataclass(frozen=True)
class Fingerprint:
    """Equal fingerprints promise equal bytes.

    `cpu_features` is a SHA-256 of the instruction sets, `blas` the settings that choose its
    kernels, `env_lock` a SHA-256 over uv.lock and build.env.
    """

    python: str
    implementation: str
    platform: str
    machine: str
    cpu_features: str
    blas: str
    threads: int
    env_lock: str

    def differences(self, other: Fingerprint) -> tuple[str, ...]:
        """Names of the parts that differ."""
        return tuple(
            field.name
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        )


def of(root: Path) -> Fingerprint:
    """The fingerprint of building `root` on this machine, now."""
    pinned = root / ".python-version"
    threads = uv.fixed_environment(root).get("OMP_NUM_THREADS", "")
    return Fingerprint(
        python=pinned.read_text("utf-8").strip() if pinned.is_file() else platform.python_version(),
        implementation=platform.python_implementation(),
        platform=f"{platform.system()} {'-'.join(platform.libc_ver())}".strip(" -"),
        machine=platform.machine(),
        cpu_features=_cpu(),
        blas=" ".join(
            f"{name}={os.environ[name]}" for name in _KERNEL_VARIABLES if name in os.environ
        ),
        threads=int(threads) if threads.isdigit() and int(threads) else os.cpu_count() or 1,
        env_lock=_digest(root / "uv.lock", root / "build.env"),
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    text = platform.processor()
    if info.is_file():
        for line in info.read_text("utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in {"flags", "Features"}:
                text = " ".join(sorted(value.split()))
                break
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()
