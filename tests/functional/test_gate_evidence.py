"""The gate's evidence on a project that DVC built."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops.errors import EvidenceError
from gitops.validate import evidence
from tests.conftest import Command, Repository

pytestmark = pytest.mark.functional


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_BASE_REF", "SYSTEM_PULLREQUEST_TARGETBRANCH"):
        monkeypatch.delenv(name, raising=False)


def gather(root: Path) -> evidence.Evidence:
    return evidence.gather(root, "left", say=lambda line: None)


def test_a_real_build_is_evidence_wherever_it_is_cloned(
    repository: Repository, git: Command, tmp_path: Path
) -> None:
    git(repository.root, "switch", "--quiet", "-c", "feature")
    (repository.root / "README.md").write_text("# Other words\n")
    git(repository.root, "commit", "--quiet", "--all", "-m", "Words")
    with gather(repository.root) as here:
        assert here.notes == here.findings == ()
        assert here.changes == ("package: the same bytes as the champion's",)
        assert here.table.rows == 60
        assert here.champion is not None
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(repository.root), str(clone))
    with gather(clone) as there:
        assert there.test_set == here.test_set
        assert there.candidate == here.candidate
    assert git(clone, "status", "--porcelain") == ""
    assert not (clone / "models").exists()


def test_a_change_that_was_not_built_is_refused(repository: Repository, git: Command) -> None:
    git(repository.root, "switch", "--quiet", "-c", "feature")
    params = repository.root / "params.yaml"
    params.write_text(params.read_text().replace("max_iter: 150", "max_iter: 151"))
    (model,) = repository.root.glob("src/*/model.py")
    model.write_text(model.read_text() + "# more\n")
    git(repository.root, "commit", "--quiet", "--all", "-m", "Tune")
    with pytest.raises(EvidenceError) as caught:
        gather(repository.root)
    assert "train: train.max_iter in params.yaml is 151, not 150" in caught.value.message
    assert f"train: {model.relative_to(repository.root).as_posix()} changed" in caught.value.message
    assert "gitops build left" in caught.value.fix
