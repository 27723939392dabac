"""The edge to forges: pull requests, reviews, comments and workflows of GitHub and Azure DevOps.

A repository without a forge (a bare one, on a disk or a server) has none of these: `of` says None.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitops.forge.model import Forge, PullRequest, Review

__all__ = ["Forge", "PullRequest", "Review", "of"]


def of(remote_url: str, env: Mapping[str, str]) -> Forge | None:
    """The forge that serves a git remote; None for a path and for a host that we don't know.

    A host that isn't GitHub's or Microsoft's own is known only where the environment names it
    (GITHUB_SERVER_URL or GH_HOST; SYSTEM_COLLECTIONURI): a token never goes to a host by guess.

    Raises:
        ConfigError: the API's address in the environment would send the token unencrypted.
    """
    from gitops.forge import address

    place = address.parse(remote_url)
    if place is None:
        return None
    if found := address.on_github(place, env):
        from gitops.forge import github

        return github.connect(found, env)
    if azure_place := address.on_azure(place, env):
        from gitops.forge import azure

        return azure.connect(azure_place, env)
    return None
