"""What deploying does to the branch by itself."""

from __future__ import annotations

import pytest

from gitops import config, yamlfile
from gitops.cli.hands_deploy import Remote
from gitops.errors import AnswerNo
from tests.unit.deploy.machine import Machine
from tests.unit.validate.gate_repo import Made


def test_a_rollback_by_traffic_never_takes_a_model_to_another_kind_of_place(
    machine: Machine, better: Made
) -> None:
    line, root = machine.line, machine.line.root
    contexts = {name: f"demo-{name}" for name in ("staging", "production")}
    change: dict[yamlfile.Place, object] = {
        ("models", "demo", "deploy"): {"target": "kubernetes"},
        ("targets",): {"registry": "ghcr.io/acme", "kubernetes": {"contexts": contexts}},
    }
    yamlfile.edit(root / config.FILE, change)
    line.repo.commit("Deploy it to a cluster")
    line.git("push", "-q", "origin", "HEAD:main")
    line.build(better)
    line.promote("dev", "staging")
    line.promote("staging", "production")
    before = line.refs()
    source = Remote(root, config.load(root), "production", "origin", "kubernetes")
    with pytest.raises(AnswerNo, match="take demo from kubernetes to local") as refused:
        source.roll_back("demo", "v1.0.0", "worse in brier")
    assert refused.value.fix.startswith("gitops rollback production --to v1.0.0")
    assert line.refs() == before
