"""How a job's machine gets its programs: the same on each platform but for folders and words."""

from __future__ import annotations

from dataclasses import dataclass

from gitops.pipelines.model import Pins, Step

_TOOL = """\
{first}uv venv "{temp}/gitops"
uv pip install --python "{temp}/gitops" --require-hashes --requirement .gitops/tool/requirements.txt
{path}
"""
_TERRAFORM = """\
{first}curl -fsSL --output "{temp}/terraform.zip" \\
  https://releases.hashicorp.com/terraform/{version}/terraform_{version}_linux_amd64.zip
echo "{hash}  {temp}/terraform.zip" | sha256sum --check --quiet
unzip -q "{temp}/terraform.zip" terraform -d "{temp}/terraform"
{path}
"""
# In a folder that what comes later knows, too: on Azure each task logs in with its own settings.
_AZ_ML = """\
{first}export AZURE_EXTENSION_DIR="{temp}/az-extensions"
az extension add --name ml --version {version} --yes --only-show-errors
{variable}
"""


@dataclass(frozen=True)
class Machine:
    """A platform's words: `first`, what a script begins with, and its temporary folder `temp`.

    `path`, `variable` and `error` are commands with a `{}`: a folder that later steps have on
    PATH, a variable of ours (by its name) that they have, and an error that the run shows.
    """

    temp: str
    path: str
    variable: str
    error: str
    first: str = ""


def command(step: Step, pins: Pins, on: Machine) -> str:
    """The command of a step that brings a program, or refuses; of any other its own."""
    words = {"first": on.first, "temp": on.temp}
    if step.use == "tool":
        return _TOOL.format(**words, path=on.path.format(f"{on.temp}/gitops/bin"))
    if step.use == "terraform":
        path = on.path.format(f"{on.temp}/terraform")
        pinned = {"version": pins.terraform, "hash": pins.terraform_hash}
        return _TERRAFORM.format(**words, **pinned, path=path)
    if step.use == "az-ml":
        variable = on.variable.format("AZURE_EXTENSION_DIR")
        return _AZ_ML.format(**words, version=pins.az_ml, variable=variable)
    if step.use == "refuse":
        return f"{on.error.format(step.run)}\nexit 1\n"
    return step.run
