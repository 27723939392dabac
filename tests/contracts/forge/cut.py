"""Cut the operations that `gitops/forge` uses out of GitHub's API description.

    python tests/contracts/forge/cut.py api.github.com.json > tests/contracts/forge/github.json

Texts and examples are left out; everything that a request or an answer must be is kept as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PULLS = "/repos/{owner}/{repo}/pulls"
REPOSITORY = "/repos/{owner}/{repo}"
ENVIRONMENT = f"{REPOSITORY}/environments/{{environment_name}}"
POLICIES = f"{ENVIRONMENT}/deployment-branch-policies"
RULESETS = f"{REPOSITORY}/rulesets"
VARIABLES = f"{REPOSITORY}/actions/variables"
COMMENTS = "/repos/{owner}/{repo}/issues/{issue_number}/comments"
OPERATIONS = (
    ("get", PULLS),
    ("post", PULLS),
    ("patch", f"{PULLS}/{{pull_number}}"),
    ("get", f"{PULLS}/{{pull_number}}/reviews"),
    ("get", "/orgs/{org}/teams/{team_slug}/members"),
    ("post", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches"),
    ("get", "/repos/{owner}/{repo}/issues/{issue_number}/events"),
    ("get", COMMENTS),
    ("post", COMMENTS),
    ("patch", "/repos/{owner}/{repo}/issues/comments/{comment_id}"),
    ("get", REPOSITORY),
    ("patch", REPOSITORY),
    ("get", f"{REPOSITORY}/actions/oidc/customization/sub"),
    ("get", f"{REPOSITORY}/actions/permissions/workflow"),
    ("put", f"{REPOSITORY}/actions/permissions/workflow"),
    ("get", f"{REPOSITORY}/environments"),
    ("get", ENVIRONMENT),
    ("put", ENVIRONMENT),
    ("get", POLICIES),
    ("post", POLICIES),
    ("delete", f"{POLICIES}/{{branch_policy_id}}"),
    ("get", RULESETS),
    ("post", RULESETS),
    ("get", f"{RULESETS}/{{ruleset_id}}"),
    ("put", f"{RULESETS}/{{ruleset_id}}"),
    ("get", f"{REPOSITORY}/rules/branches/{{branch}}"),
    ("post", VARIABLES),
    ("get", f"{VARIABLES}/{{name}}"),
    ("patch", f"{VARIABLES}/{{name}}"),
    ("post", f"{ENVIRONMENT}/variables"),
    ("get", f"{ENVIRONMENT}/variables/{{name}}"),
    ("patch", f"{ENVIRONMENT}/variables/{{name}}"),
    ("get", "/users/{username}"),
    ("get", "/orgs/{org}/teams/{team_slug}"),
    ("get", "/apps/{app_slug}"),
)
KEPT = ("operationId", "parameters", "requestBody", "responses")


def bare(node: Any, *, names: bool = False) -> Any:
    """Without descriptions and examples (`names`: the keys are names, not keywords)."""
    if isinstance(node, list):
        return [bare(one) for one in node]
    if not isinstance(node, dict):
        return node
    texts = ("description", "summary", "title", "example", "examples", "externalDocs")
    return {
        key: bare(value, names=key in ("properties", "schemas", "parameters", "responses"))
        for key, value in node.items()
        if names or not (key in texts or key.startswith("x-"))
    }


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def cut(description: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "openapi": description["openapi"],
        "info": {"license": description["info"]["license"]},
        "paths": {},
        "components": {},
    }
    waiting: list[str] = []
    for method, path in OPERATIONS:
        operation = description["paths"][path][method]
        kept = bare({key: operation[key] for key in KEPT if key in operation})
        found["paths"].setdefault(path, {})[method] = kept
        waiting += references(kept)
    while waiting:
        kind, name = waiting.pop().removeprefix("#/components/").split("/")
        if name not in found["components"].setdefault(kind, {}):
            kept = bare(description["components"][kind][name])
            found["components"][kind][name] = kept
            waiting += references(kept)
    return found


if __name__ == "__main__":
    text = json.dumps(cut(json.loads(Path(sys.argv[1]).read_text("utf-8"))), sort_keys=True)
    sys.stdout.write(text.replace('}, "', '},\n"') + "\n")
