"""Python programs that tests put on PATH, or hand to git as hooks."""

import shlex
import sys


def head(*options: str) -> str:
    """The first lines of a program of our Python: `#!` takes no path with a space in it.

    `sh` reads a command that replaces it, Python a string.
    """
    line = shlex.join([sys.executable, *options])
    return f"#!/bin/sh\n'''exec' {line} \"$0\" \"$@\"\n' '''\n"
