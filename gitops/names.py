"""Names of projects, models and environments: what every place that a name ends up in accepts.

A project's name becomes a folder, a Python package and a distribution; a model's name a folder, a
package and the artifact of GTO's tags (https://github.com/iterative/gto); an environment's name
the stage of those tags. Clouds add theirs: an Azure ML endpoint has 3-32 letters, digits and
hyphens and starts with a letter, a Kubernetes label 63 (RFC 1123).
"""

from __future__ import annotations

import keyword
import re
import sys
import unicodedata
from typing import Literal

from gitops.errors import ConfigError, Where

Kind = Literal["project", "model", "environment"]

LENGTH = 32
PATTERN = "^[a-z][a-z0-9]*(-[a-z0-9]+)*$"

# https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
_WINDOWS = {"con", "prn", "aux", "nul"} | {
    f"{port}{n}" for port in ("com", "lpt") for n in range(10)
}
# Plain words that YAML 1.1 or 1.2 doesn't read as text (https://yaml.org/type/bool.html).
_YAML = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
# What a generated project imports, its folders, and `test`, which Python has but does not list.
_TAKEN = {
    *("sklearn", "numpy", "pandas", "pyarrow", "onnx", "onnxruntime", "skl2onnx", "dvc", "yaml"),
    *("joblib", "scipy", "gitops", "src", "test", "tests", "data", "models"),
    # Two distributions of one name can't be locked together.
    *("scikit-learn", "pyyaml", "pytest", "ruff", "protobuf"),
}
# Letters that have no decomposition in Unicode, so that normalisation would drop them.
_FOLDED = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
)


def check(kind: Kind, name: str, where: Where | None = None) -> None:
    """Raise ConfigError, with a name that works, if a `kind` cannot be called `name`.

    An environment never becomes a Python package, so it may be `test` or `platform`.
    """
    if reason := problem(kind, name):
        raise ConfigError(
            f"the {kind} cannot be called {name!r}: {reason}",
            fix=f"call it {suggest(name)!r}",
            where=where,
        )


def package_name(project: str) -> str:
    """The Python package of a project or model: `late-flights` is imported as `late_flights`."""
    return project.replace("-", "_")


def suggest(text: str) -> str:
    """A valid name near any text, for a project, a model or an environment."""
    name = plain(text)
    if not name:
        return "project"
    if name[0].isdigit():
        name = f"ml-{name}"
    name = name[:LENGTH].rstrip("-")
    if problem("project", name):
        name = f"{name[: LENGTH - 3].rstrip('-')}-ml"
    return name


def plain(text: str) -> str:
    """`text` in lower-case letters a to z, digits and single hyphens; empty if it has none."""
    folded = unicodedata.normalize("NFKD", text.lower().translate(_FOLDED))
    words = re.sub("[^a-z0-9]+", "-", folded.encode("ascii", "ignore").decode().strip().lower())
    return words.strip("-")


def problem(kind: Kind, name: str) -> str | None:
    """Why `name` cannot be the name of a `kind`; None if it can."""
    return _grammar(name) or _reserved(name) or (_import(name) if kind != "environment" else None)


def _grammar(name: str) -> str | None:
    if not name:
        return "a name has at least one letter"
    if len(name) > LENGTH:
        return f"it has {len(name)} characters; clouds and Windows paths allow {LENGTH}"
    if not name.isascii():
        return "letters are a to z, without accents"
    if name[0].isdigit():
        return "it starts with a digit, which Python and clouds refuse"
    if not re.fullmatch(PATTERN, name):
        return "lower-case letters, digits and single hyphens between them are allowed"
    return None


def _reserved(name: str) -> str | None:
    if name in _WINDOWS:
        return "Windows keeps it for a device"
    if name in _YAML:
        return "YAML readers take the plain word for a boolean or null"
    return None


def _import(name: str) -> str | None:
    package = package_name(name)
    if keyword.iskeyword(package):
        return "it is a keyword of Python"
    if package in sys.stdlib_module_names:
        return "it would hide a module of Python's standard library"
    if package in _TAKEN:
        return "it would hide a dependency or a folder of the project"
    return None
