"""git in CI: the checkout keeps no credentials, and nobody has set a name.

The run's own token is given to those git processes alone that speak to the remote, by their
environment, and git sends it only to the server that the platform names.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import urlsplit

from gitops import loopback

_WHO = ("AUTHOR", "COMMITTER")


def credentials(env: Mapping[str, str]) -> dict[str, str]:
    """Variables by which git logs in to GitHub or Azure DevOps; none outside of their runs.

    https://git-scm.com/docs/git-config, GIT_CONFIG_COUNT and http.<url>.extraHeader: an empty value
    takes back those that the checkout may have set.
    """
    server, header = "", ""
    if env.get("GITHUB_ACTIONS") == "true" and env.get("GITHUB_TOKEN"):
        secret = base64.b64encode(f"x-access-token:{env['GITHUB_TOKEN']}".encode()).decode()
        server, header = env.get("GITHUB_SERVER_URL", ""), f"AUTHORIZATION: basic {secret}"
    elif env.get("TF_BUILD") and env.get("SYSTEM_ACCESSTOKEN"):
        server = env.get("SYSTEM_COLLECTIONURI", "")
        header = f"AUTHORIZATION: bearer {env['SYSTEM_ACCESSTOKEN']}"
    url = urlsplit(server)
    if not url.netloc or (url.scheme != "https" and url.hostname not in loopback.HOSTS):
        return {}
    key = f"http.{url.scheme}://{url.netloc}/.extraheader"
    first = int(env.get("GIT_CONFIG_COUNT") or 0)
    found = {"GIT_CONFIG_COUNT": str(first + 2)}
    for number, value in enumerate(("", header), start=first):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def identity(env: Mapping[str, str]) -> dict[str, str]:
    """Variables that say whose commits and tags these are: whoever started the run."""
    if any(env.get(f"GIT_{who}_{what}") for who in _WHO for what in ("NAME", "EMAIL")):
        return {}
    if env.get("GITHUB_ACTIONS") == "true" and env.get("GITHUB_ACTOR"):
        name, number = env["GITHUB_ACTOR"], env.get("GITHUB_ACTOR_ID", "")
        # The address that GitHub itself gives to commits made on its pages.
        mail = f"{number}+{name}@users.noreply.github.com" if number else ""
    elif env.get("TF_BUILD") and env.get("BUILD_REQUESTEDFOR"):
        name, mail = env["BUILD_REQUESTEDFOR"], env.get("BUILD_REQUESTEDFOREMAIL", "")
    else:
        return {}
    mail = mail or "noreply@localhost"
    return {
        f"GIT_{who}_{what}": text
        for who in _WHO
        for what, text in (("NAME", name), ("EMAIL", mail))
    }
