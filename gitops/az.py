"""The edge to Azure's command line: one command, one answer.

It keeps the login and knows how each kind of person and job logs in, so nothing here holds a token.
"""

from __future__ import annotations

from typing import Any

from gitops import jsontext, proc
from gitops.errors import ToolError

LOGIN = "az login, then az account set --subscription NAME"
_SECONDS = 300.0
_MISSING = 3  # its exit code where a resource isn't there


class Missing(ToolError):
    """What was asked for isn't there."""


def ask(*words: str) -> Any:  # noqa: ANN401
    """The answer to `az WORDS`, as JSON is read; None where it says nothing.

    Raises:
        Missing: the resource isn't there.
        ToolError: there's no Azure CLI, nobody is logged in, or it failed.
    """
    command = ["az", *words, "--output", "json", "--only-show-errors"]
    done = proc.run(command, check=False, timeout=_SECONDS)
    if done.code == _MISSING:
        raise Missing(done.err.strip().removeprefix("ERROR: ") or "it isn't there")
    if done.code and "az login" in done.err:
        raise ToolError("the Azure CLI isn't logged in", fix=LOGIN)
    if done.code:
        raise proc.failed(command, done)
    try:
        return jsontext.loads(done.out) if done.out.strip() else None
    except ValueError as error:
        raise ToolError(f"az {words[0]} wrote no JSON: {done.out.strip()[:200]}") from error


def extensions() -> tuple[str, ...]:
    """The extensions that are installed, asked without a network.

    Raises:
        ToolError: as `ask`.
    """
    found = ask("version")
    return tuple((found or {}).get("extensions") or ())
