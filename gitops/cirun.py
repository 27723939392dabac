"""The run of a CI platform that we are in."""

from __future__ import annotations

import os
from urllib.parse import quote


def url() -> str:
    """Its address on GitHub or Azure DevOps, by the variables that they set; "" elsewhere."""
    server, repository = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    run = os.environ.get("GITHUB_RUN_ID")
    if server and repository and run:
        return f"{server}/{repository}/actions/runs/{run}"
    collection, project = (
        os.environ.get(f"SYSTEM_{name}") for name in ("COLLECTIONURI", "TEAMPROJECT")
    )
    build = os.environ.get("BUILD_BUILDID")
    if collection and project and build:
        return f"{collection}{quote(project)}/_build/results?buildId={build}"
    return ""
