"""Repositories on remotes of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import stores
from tests.unit.stored_repo import StoredRepo


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with stores.s3() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def azure() -> Iterator[str]:
    with stores.azure() as connection:
        yield connection


@pytest.fixture
def stored(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> StoredRepo:
    """A repository on a remote of the kind that the test asks for: `folder`, `s3` or `azure`."""
    kind = getattr(request, "param", "folder")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root, url = tmp_path / "repo", str(tmp_path / "storage")
    options: dict[str, str] = {}
    if kind == "folder":
        Path(url).mkdir()
    if kind == "s3":
        for name, value in stores.AWS.items():
            monkeypatch.setenv(name, value)
        url = f"s3://{stores.BUCKET}/{tmp_path.name}"
        options["endpointurl"] = request.getfixturevalue("s3")
    if kind == "azure":
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        url = f"azure://{stores.BUCKET}/{tmp_path.name}"
        options["connection_string"] = request.getfixturevalue("azure")
    return StoredRepo(root, url, options).start()
