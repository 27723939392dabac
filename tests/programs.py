"""Python programs that tests put on PATH, or hand to git as hooks; what others need to run."""

import os
import pwd
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def head(*options: str) -> str:
    """The first lines of a program of our Python: `#!` takes no path with a space in it.

    `sh` reads a command that replaces it, Python a string.
    """
    line = shlex.join([sys.executable, *options])
    return f"#!/bin/sh\n'''exec' {line} \"$0\" \"$@\"\n' '''\n"


def has_name() -> bool:
    """Whether the system has a name for this user: PostgreSQL and SSH take no other, DVC does."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def ssh_key(path: Path) -> None:
    """Make a key without a passphrase; skips where `ssh-keygen` is missing or refuses this user."""
    if not (shutil.which("ssh-keygen") and has_name()):
        pytest.skip("ssh-keygen isn't here, or takes no user whose id has no name (/etc/passwd)")
    line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(line, check=True)
