"""The address of the CI run that we are in."""

from __future__ import annotations

import pytest

from gitops import cirun

_GITHUB = {
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_REPOSITORY": "org/flights",
    "GITHUB_RUN_ID": "17",
}
_AZURE = {
    "SYSTEM_COLLECTIONURI": "https://azure.example/org/",
    "SYSTEM_TEAMPROJECT": "ML team",
    "BUILD_BUILDID": "18",
}


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_GITHUB, *_AZURE):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        (_GITHUB, "https://github.example/org/flights/actions/runs/17"),
        (_AZURE, "https://azure.example/org/ML%20team/_build/results?buildId=18"),
        ({}, ""),
    ],
)
def test_the_run_has_an_address(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cirun.url() == url


@pytest.mark.parametrize("missing", [*_GITHUB, *_AZURE])
def test_half_of_the_variables_are_no_run(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name, value in (_GITHUB if missing in _GITHUB else _AZURE).items():
        if name != missing:
            monkeypatch.setenv(name, value)
    assert cirun.url() == ""
