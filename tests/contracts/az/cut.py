"""Cut commands.json out of what the Azure CLI itself says of its commands (`--help`).

A stand-in for `az` takes what is there and refuses all else, so that tests need no cloud:

    pip install azure-cli
    python tests/contracts/az/cut.py az
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

TARGET = Path(__file__).with_name("commands.json")
COMMANDS = (
    "account show",
    "ad signed-in-user show",
    "bicep build",
    "bicep build-params",
    "deployment group what-if",
    "deployment sub what-if",
    "provider register",
    *(f"stack {kind} {verb}" for kind in ("group", "sub") for verb in ("create", "delete", "show")),
)
_OPTION = re.compile(r"^    (--?[a-z][\w-]*(?: --?\w[\w-]*)*) *(\[Required\])? *:(.*)$")


def options(said: str) -> dict[str, dict[str, object]]:
    """By an option's first name: all its names, whether it must be there, and its values."""
    found: dict[str, dict[str, object]] = {}
    texts: dict[str, str] = {}
    name = ""
    for line in said.partition("\nExamples\n")[0].splitlines():
        if one := _OPTION.match(line):
            names = one[1].split()
            name = names[0]
            found[name] = {"names": names, "required": bool(one[2])}
            texts[name] = one[3]
        elif name and line.startswith("     "):
            texts[name] += f" {line.strip()}"
        else:
            name = ""
    for name, text in texts.items():
        if values := re.search(r"Allowed values: ([\w, -]+)\.", text):
            found[name]["values"] = values[1].split(", ")
    return found


def main(az: str) -> None:
    def ask(*words: str) -> str:
        done = subprocess.run([az, *words], check=True, capture_output=True, text=True)
        return done.stdout

    version = json.loads(ask("version", "--output", "json"))["azure-cli"]
    rows = [
        f"  {json.dumps(one)}: {json.dumps(options(ask(*one.split(), '--help')))}"
        for one in COMMANDS
    ]
    head = f' "source": "azure-cli {version}",\n "commands": {{\n'
    TARGET.write_text("{\n" + head + ",\n".join(rows) + "\n }\n}\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
