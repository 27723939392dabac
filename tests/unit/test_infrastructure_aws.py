"""`infrastructure: {provider: aws}` as code: offline checks, whom roles trust, what they may."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gitops import cloudnames, config, pipelines, trust
from gitops.config.infrastructure import Components
from gitops.infra import check, schema
from gitops.scaffold import new, provision, sync
from gitops.setup import azure as setup_azure
from gitops.setup import github as setup_github
from gitops.setup import wishes
from tests import iam
from tests.unit.scaffolds import Scaffold, git, scaffold
from tests.unit.test_infrastructure import (
    ODD_BRANCH,
    PROJECT,
    SECRETS,
    files,
    findings,
    lay,
    parse,
)

HEAD = """\
version: 1
project: flights
ci: [github, azure]
models: {late: {task: binary}, price: {task: regression, path: price}}
infrastructure:
  provider: aws
  id: k7q2m9xd
"""
PARTS = {
    "eks": "{gpu: {size: g4dn.xlarge}}",
    "sagemaker": "{}",
    "alerts": "{emails: [ml@example.org, ops@example.org]}",
    "budget": "{amount: 200, emails: [ml@example.org]}",
}
ALL = "".join(["  components:\n", *(f"    {part}: {text}\n" for part, text in PARTS.items())])
COMBINATIONS = {
    "core": HEAD,
    "private-core": HEAD + "  private: true\n",
    **{part: f"{HEAD}  components:\n    {part}: {text}\n" for part, text in PARTS.items()},
    "private-sagemaker": f"{HEAD}  private: true\n  components: {{sagemaker: {{}}}}\n",
    "everything": HEAD + ALL,
    "private-everything": f"{HEAD}  private: true\n{ALL}",
    "github-only": HEAD.replace("[github, azure]", "[github]"),
    "azure-only": HEAD.replace("[github, azure]", "[azure]"),
    "one-environment": HEAD + "environments: [{name: qa, branch: main}]\n",
    "first-region": HEAD + "  region: us-east-1\n  components: {eks: {}}\n",
}


@pytest.fixture(autouse=True)
def _checkov(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of `make .checkov/ready`, where it's there."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{PROJECT / '.checkov' / 'bin'}")


def test_every_component_is_among_the_combinations() -> None:
    assert PARTS.keys() == {*Components.of("aws")}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_finding(name: str, tmp_path: Path) -> None:
    wanted = ("format", "syntax", "arguments", "reasons")
    done = check.run(lay(COMBINATIONS[name], tmp_path), wanted)
    assert [one.name for one in done] == list(wanted)
    assert [each for one in done for each in one.findings] == []
    assert {one.state for one in done[1:]} == {"passed"}


def test_no_finding_of_security(everything: iam.Roles, tmp_path: Path) -> None:
    """In one run, since the program takes long to start; policies as values beside their code."""
    for name in ("everything", "private-everything"):
        lay(COMBINATIONS[name] + "environments: [{name: dev, branch: main}]\n", tmp_path / name)
    literal(everything.rights, tmp_path / "policies.tf")
    assert findings(tmp_path, "security") == []


def test_the_table_has_every_type_that_templates_use(tmp_path: Path) -> None:
    for name in ("everything", "private-everything"):
        found = schema.folders(lay(COMBINATIONS[name], tmp_path / name))
        assert schema.unknown(found) == ()
        assert schema.providers(found) == (f"aws {schema.table()['version']['aws']}",)


# ---------------------------------------------------------------- each check fires

SHARED, CORE = "shared/main.tf", "modules/environment/main.tf"
DEV, EKS = "environments/dev/main.tf", "modules/environment/eks.tf"
MUTATIONS = [
    ("format", SHARED, "  force_destroy = false", "  force_destroy   = false", "fmt"),
    ("syntax", SHARED, 'resource "aws_s3_bucket" "dvc" {', "resource {{", "isn't HCL"),
    ("arguments", SHARED, "  block_public_acls  ", "  block_pubic_acls  ", "'block_public_acls'"),
    ("arguments", SHARED, "  image_tag_mutability =", "  tag_mutability =", "has no argument"),
    ("arguments", SHARED, "  name                 = each.value\n", "", "needs 'name'"),
    ("arguments", SHARED, "  versioning_configuration {", "  versioning {", "no block"),
    ("arguments", SHARED, '    status = "Enabled"\n', "", "versioning_configuration needs"),
    ("arguments", SHARED, "aws_s3_bucket.dvc.arn", "aws_s3_bucket.dvs.arn", "there is no"),
    ("arguments", SHARED, "aws_s3_bucket.dvc.arn", "aws_s3_bucket.dvc.urn", "no attribute"),
    ("arguments", SHARED, "aws_partition.current.part", "aws_partition.this.part", "data.aws"),
    ("arguments", SHARED, "= local.dvc", "= local.dvs", "no local.dvs; did you mean 'dvc'"),
    ("arguments", CORE, 'var.names["bucket"]', 'var.name["bucket"]', "no var.name"),
    ("arguments", EKS, "  role_arn  ", "  rolearn  ", "needs 'role_arn'"),
    ("arguments", EKS, "    min_size     = 1\n", "", "scaling_config needs 'min_size'"),
    ("arguments", EKS, "  access_scope {", "  scope {", "no block 'scope'"),
    ("arguments", DEV, "  namespace =", "  namespaces =", "needs the variable 'namespace'"),
    ("reasons", SHARED, ": nothing waits for what is stored here", "", "CKV2_AWS_62 is skipped"),
]


@pytest.mark.parametrize(("name", "file", "old", "new", "finding"), MUTATIONS)
def test_each_check_fires(
    name: str, file: str, old: str, new: str, finding: str, tmp_path: Path
) -> None:
    top = lay(f"{HEAD}{ALL}environments: [{{name: dev, branch: main}}]\n", tmp_path)
    mutate(top / file, old, new)
    found = findings(top, name)
    assert any(finding in one for one in found), found
    assert any(file in one for one in found)


def mutate(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


INSECURE = [
    ("  block_public_acls       = true", "  block_public_acls       = false", "CKV_AWS_53"),
    ('"IMMUTABLE"', '"MUTABLE"', "CKV_AWS_51"),
    ("scan_on_push = true", "scan_on_push = false", "CKV_AWS_163"),
    ("  # checkov:skip=CKV_AWS_144: three zones of one region", "  # one region", "CKV_AWS_144"),
]


def test_rules_of_security_fire(tmp_path: Path) -> None:
    """All at once, since the program takes long to start: settings, a skip, and a policy."""
    top = lay(COMBINATIONS["core"], tmp_path / "core")
    for old, new_, _ in INSECURE:
        mutate(top / SHARED, old, new_)
    too_much = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    literal({"ci": too_much}, tmp_path / "policies.tf")
    found = findings(tmp_path, "security")
    for rule in (*(rule for _, _, rule in INSECURE), "CKV_AWS_62", "CKV_AWS_63"):
        assert any(rule in one for one in found), (rule, found)


def literal(rights: Mapping[str, Sequence[iam.Statement]], path: Path) -> None:
    """Policies without an expression in them: rules of security see through none."""
    text = ""
    for role, statements in rights.items():
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        text += f'resource "aws_iam_role_policy" "{role.replace("/", "_")}" {{\n  role = "{role}"\n'
        text += f"  policy = jsonencode({document})\n}}\n"
    path.write_text(text)


# ---------------------------------------------------------------- whom roles trust


def roles(text: str, tmp_path: Path) -> iam.Roles:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return iam.evaluated(lay(text, tmp_path) / "shared", scratch)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> iam.Roles:
    return roles(COMBINATIONS["private-everything"], tmp_path_factory.mktemp("everything"))


def trusted(statements: Sequence[iam.Statement], by: str) -> set[str]:
    """The subjects that a role trusts, of the provider `by`; each statement must be strict."""
    found: set[str] = set()
    for one in statements:
        assert one["Effect"] == "Allow"
        assert one["Action"] == "sts:AssumeRoleWithWebIdentity"
        (provider,) = one["Principal"].values()
        host = provider.partition("oidc-provider/")[2]
        assert one["Condition"].keys() == {"StringEquals"}
        conditions = one["Condition"]["StringEquals"]
        assert conditions.keys() == {f"{host}:aud", f"{host}:sub"}
        if host.startswith(by):
            found |= {*iam.listed(conditions[f"{host}:sub"])}
    assert not any("*" in one or "?" in one for one in found)
    return found


def presented(declared: config.Config) -> dict[str, set[str]]:
    """What GitHub writes into the tokens of the jobs that log in, read from the workflows.

    https://docs.github.com/en/actions/reference/security/oidc
    """
    found: dict[str, set[str]] = {}
    for name in pipelines.names():
        pipeline = pipelines.load(name, declared, "github")
        for job in pipeline.jobs:
            if not any("aws" in step.logins for step in job.steps):
                continue
            if job.environment:
                found.setdefault(job.environment, set()).add(f"environment:{job.environment}")
            elif pipeline.triggers.pull_request:
                found.setdefault(trust.READ, set()).add("pull_request")
            else:
                branches = pipeline.triggers.push or [one.branch for one in declared.environments]
                said = {f"ref:refs/heads/{one}" for one in branches}
                found.setdefault(trust.CI, set()).update(said)
    return found


@pytest.mark.parametrize("name", ["core", "github-only", "one-environment"])
def test_roles_trust_exactly_what_workflows_present(name: str, tmp_path: Path) -> None:
    text = COMBINATIONS[name] + "storage: {remote: s3://models/flights}\n"
    declared = parse(text)
    found = roles(text, tmp_path).trust
    said = presented(declared)
    assert found.keys() == {trust.CI, trust.READ, *(one.name for one in declared.environments)}
    for who, statements in found.items():
        theirs = {f"{iam.SUBJECT}:{one}" for one in said.get(who, set())}
        assert trusted(statements, "token.actions") == theirs, who
    facts: Any = SimpleNamespace(subject=iam.SUBJECT)
    everybody = {subject for _, subject in setup_github.subjects(declared, facts)}
    assert everybody == {f"{iam.SUBJECT}:{one}" for each in said.values() for one in each}


@pytest.mark.parametrize("name", ["core", "azure-only"])
def test_roles_trust_exactly_the_connections_of_pipelines(name: str, tmp_path: Path) -> None:
    text = COMBINATIONS[name] + "storage: {remote: s3://models/flights}\n"
    declared = parse(text)
    said: dict[str, set[str]] = {}
    for path, content in pipelines.render(declared):
        if path.startswith(".azure"):
            for connection in re.findall(r"awsCredentials: (\S+)", content.decode()):
                who = connection.removeprefix("gitops").removeprefix("-") or trust.CI
                said.setdefault(who, set()).add(f"{iam.CONNECTIONS}/{connection}")
    found = roles(text, tmp_path).trust
    assert {who: trusted(one, "vstoken") for who, one in found.items()} == said
    place: Any = SimpleNamespace(trust=lambda _: None)
    told = "\n".join(setup_azure.by_hand(declared, (), (), {}, place))
    for connection in (one.rpartition("/")[2] for each in said.values() for one in each):
        assert f"connection {connection} that uses OIDC" in told


def test_any_branch_is_trusted_by_its_very_name(tmp_path: Path) -> None:
    text = HEAD + f"environments: [{{name: dev, branch: {json.dumps(ODD_BRANCH)}}}]\n"
    found = trusted(roles(text, tmp_path).trust[trust.CI], "token.actions")
    assert found == {f"{iam.SUBJECT}:ref:refs/heads/{ODD_BRANCH}"}


def test_without_an_organisation_github_alone_is_trusted(tmp_path: Path) -> None:
    shared = lay(COMBINATIONS["core"], tmp_path) / "shared"
    (tmp_path / "scratch").mkdir()
    found = iam.evaluated(shared, tmp_path / "scratch", connections=False).trust
    assert {len(statements) for statements in found.values()} == {1}
    assert all(trusted(statements, "token.actions") for statements in found.values())


def test_setup_asks_for_roles() -> None:
    declared = parse(COMBINATIONS["core"])
    assert wishes.variables(declared) == wishes.AWS
    said = ["AWS_ROLE_ARN=a", "AWS_READ_ROLE_ARN=b", "dev:AWS_ROLE_ARN=c"]
    assert wishes.given(declared, said)["dev/AWS_ROLE_ARN"] == "c"
    facts: Any = SimpleNamespace(subject=iam.SUBJECT, claims=(), owner="OWNER", admin=True)
    told = "\n".join(setup_github.by_hand(declared, facts, ()))
    assert "--set AWS_ROLE_ARN=... (ci), --set AWS_READ_ROLE_ARN=... (read)" in told
    assert "AZURE" not in told


def test_the_workflow_plans_as_who_reads_and_applies_as_the_environment() -> None:
    declared = parse(COMBINATIONS["core"])
    made = {path: content.decode() for path, content in pipelines.render(declared)}
    github = made[".github/workflows/infrastructure.yml"]
    assert github.count("role-to-assume: ${{ vars.AWS_READ_ROLE_ARN }}") == 3
    assert github.count("role-to-assume: ${{ vars.AWS_ROLE_ARN }}") == 3
    assert "AZURE" not in github
    azure = made[".azure-pipelines/infrastructure.yml"]
    connections = re.findall(r"awsCredentials: (\S+)", azure)
    own = [f"gitops-{one.name}" for one in declared.environments]
    assert connections == ["gitops-read"] * 3 + own
    assert azure.count("AWS_REGION: eu-west-1") == 6


# ---------------------------------------------------------------- what roles may

# Actions that take no resource, or no narrower one, says the service authorization reference.
UNBOUND = {
    *("ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"),
    *("eks:DescribeAddonConfiguration", "eks:DescribeAddonVersions"),
    "ec2:GetInstanceTypesFromInstanceRequirements",
}
HERE = f"{iam.REGION}:{iam.ACCOUNT}"


def names(environment: str) -> Mapping[str, str]:
    return cloudnames.of(parse(HEAD), environment)


STATE, DVC = names(cloudnames.STATE)["bucket"], names(cloudnames.SHARED)["bucket"]
BUCKET, ROLE = names("dev")["bucket"], names("dev")["role"]


def test_every_statement_names_what_it_is_about(everything: iam.Roles) -> None:
    assert len(everything.rights) == 2 + 5 * 3
    for role, statements in everything.rights.items():
        assert len({one["Sid"] for one in statements}) == len(statements), role
        for one in statements:
            assert one["Effect"] == "Allow"
            for action in iam.listed(one["Action"]):
                service, _, name = action.partition(":")
                assert name not in ("*", ""), (role, action)
                assert "*" not in name or (service, name) == ("s3", "GetBucket*"), (role, action)
                # Looks only, hands over only, and makes the roles that are Amazon's own.
                if service == "iam":
                    assert name in ("GetRole", "ListAttachedRolePolicies", "PassRole") or (
                        name == "CreateServiceLinkedRole" and one["Condition"]
                    ), (role, action)
                if "*" in iam.listed(one["Resource"]):
                    assert action in UNBOUND or name.startswith("Describe"), (role, action)
                if name == "PassRole":
                    assert one["Condition"].keys() == {"StringEquals"}, role


def test_every_statement_has_its_reason() -> None:
    for name in ("private-everything", "everything"):
        text = files(COMBINATIONS[name])["infrastructure/shared/policies.tf"].decode()
        statements = re.findall(r"\{\n(.*?)\n +Effect += ", text, re.DOTALL)
        assert len(statements) > 25
        for one in statements:
            reason, sid = one.rsplit("\n", 1)
            assert re.search(r"# [A-Z].{20,}[.]$", reason), sid
    # Rights are given where a person applies, and by no pipeline.
    others = [c for p, c in files(COMBINATIONS["everything"]).items() if "/shared/" not in p]
    assert not any(b'resource "aws_iam' in one for one in others)


MAY: list[tuple[str, str, str, bool]] = [
    ("ci", "s3:PutObject", f"arn:aws:s3:::{DVC}/flights/files/md5/ab/cd", True),
    ("ci", "s3:DeleteObject", f"arn:aws:s3:::{DVC}/flights/files/md5/ab/cd", False),
    ("ci", "s3:PutObject", f"arn:aws:s3:::{BUCKET}/models/x", False),
    ("ci", "s3:GetObject", f"arn:aws:s3:::{STATE}/env-dev/terraform.tfstate", False),
    (
        "ci",
        "ecr:PutImage",
        f"arn:aws:ecr:{HERE}:repository/{names('shared')['repository']}/flights/late",
        True,
    ),
    ("ci", "ecr:PutImage", f"arn:aws:ecr:{HERE}:repository/another", False),
    ("read", "s3:GetObject", f"arn:aws:s3:::{DVC}/flights/files/md5/ab/cd", True),
    ("read", "s3:PutObject", f"arn:aws:s3:::{DVC}/flights/files/md5/ab/cd", False),
    ("read", "s3:GetObject", f"arn:aws:s3:::{STATE}/env-production/terraform.tfstate", True),
    ("read", "s3:GetObject", f"arn:aws:s3:::{STATE}/shared/terraform.tfstate", False),
    ("read", "s3:PutObject", f"arn:aws:s3:::{STATE}/env-dev/terraform.tfstate.tflock", False),
    ("deploy/dev", "s3:PutObject", f"arn:aws:s3:::{STATE}/env-dev/terraform.tfstate", True),
    ("deploy/dev", "s3:DeleteObject", f"arn:aws:s3:::{STATE}/env-dev/terraform.tfstate", False),
    (
        "deploy/dev",
        "s3:DeleteObject",
        f"arn:aws:s3:::{STATE}/env-dev/terraform.tfstate.tflock",
        True,
    ),
    ("deploy/dev", "s3:GetObject", f"arn:aws:s3:::{STATE}/env-production/terraform.tfstate", False),
    ("deploy/dev", "s3:PutObject", f"arn:aws:s3:::{STATE}/shared/terraform.tfstate", False),
    ("deploy/dev", "s3:CreateBucket", f"arn:aws:s3:::{BUCKET}", True),
    ("deploy/dev", "s3:PutBucketPolicy", f"arn:aws:s3:::{DVC}", False),
    ("deploy/dev", "s3:PutBucketPolicy", f"arn:aws:s3:::{names('production')['bucket']}", False),
    ("deploy/dev", "s3:PutObject", f"arn:aws:s3:::{BUCKET}/models/late.tar.gz", True),
    ("deploy/dev", "s3:PutObject", f"arn:aws:s3:::{BUCKET}/captured/x", False),
    (
        "deploy/dev",
        "eks:CreateNodegroup",
        f"arn:aws:eks:{HERE}:cluster/{names('dev')['cluster']}",
        True,
    ),
    (
        "deploy/dev",
        "eks:DeleteCluster",
        f"arn:aws:eks:{HERE}:cluster/{names('production')['cluster']}",
        False,
    ),
    (
        "deploy/dev",
        "sagemaker:CreateEndpoint",
        f"arn:aws:sagemaker:{HERE}:endpoint/{names('dev')['endpoint']}-late",
        True,
    ),
    (
        "deploy/dev",
        "sagemaker:CreateEndpoint",
        f"arn:aws:sagemaker:{HERE}:endpoint/{names('production')['endpoint']}-late",
        False,
    ),
    (
        "deploy/dev",
        "budgets:ModifyBudget",
        f"arn:aws:budgets::{iam.ACCOUNT}:budget/{names('dev')['cost_budget']}",
        True,
    ),
    ("deploy/dev", "iam:CreateRole", f"arn:aws:iam::{iam.ACCOUNT}:role/mine", False),
    ("deploy/dev", "iam:PutRolePolicy", f"arn:aws:iam::{iam.ACCOUNT}:role/{ROLE}-deploy", False),
    ("deploy/dev", "iam:PassRole", f"arn:aws:iam::{iam.ACCOUNT}:role/{ROLE}-serving", False),
    ("workload/dev", "s3:GetObject", f"arn:aws:s3:::{DVC}/flights/files/md5/ab/cd", True),
    ("workload/dev", "s3:PutObject", f"arn:aws:s3:::{BUCKET}/logs/x", True),
    (
        "workload/dev",
        "secretsmanager:GetSecretValue",
        f"arn:aws:secretsmanager:{HERE}:secret:{ROLE}/db",
        True,
    ),
    (
        "workload/dev",
        "secretsmanager:GetSecretValue",
        f"arn:aws:secretsmanager:{HERE}:secret:{names('production')['role']}/db",
        False,
    ),
    ("jobs/dev", "s3:PutObject", f"arn:aws:s3:::{DVC}/flights/files/md5/ab/cd", False),
    ("serving/dev", "s3:GetObject", f"arn:aws:s3:::{BUCKET}/models/late.tar.gz", True),
    ("serving/dev", "s3:PutObject", f"arn:aws:s3:::{BUCKET}/models/late.tar.gz", False),
]


@pytest.mark.parametrize(("role", "action", "resource", "may"), MAY)
def test_a_role_may_what_it_is_for_and_no_more(
    role: str, action: str, resource: str, may: bool, everything: iam.Roles
) -> None:
    assert iam.allows(everything.rights[role], action, resource) == may


@pytest.mark.parametrize(
    ("end", "service", "may"),
    [
        ("cluster", "eks.amazonaws.com", True),
        ("cluster", "lambda.amazonaws.com", False),
        ("serving", "sagemaker.amazonaws.com", True),
        ("workload", "pods.eks.amazonaws.com", True),
        ("workload", "ec2.amazonaws.com", False),
        ("deploy", "sagemaker.amazonaws.com", False),
    ],
)
def test_a_role_is_handed_to_its_own_service(
    end: str, service: str, may: bool, everything: iam.Roles
) -> None:
    resource = f"arn:aws:iam::{iam.ACCOUNT}:role/{ROLE}-{end}"
    rights = everything.rights["deploy/dev"]
    assert iam.allows(rights, "iam:PassRole", resource, iam_PassedToService=service) == may


# ---------------------------------------------------------------- only what is declared


def resources(text: str) -> set[str]:
    joined = b"\n".join(files(text).values()).decode()
    return set(re.findall(r'^resource "aws_(\w+)"', joined, re.MULTILINE))


NETWORK = {
    *("vpc", "default_security_group", "subnet", "route_table", "route_table_association"),
    *("internet_gateway", "vpc_endpoint"),
}


@pytest.mark.parametrize(
    ("part", "types"),
    [
        (
            "eks",
            {
                *NETWORK,
                *("eks_cluster", "eks_node_group", "eks_addon", "eks_access_entry"),
                *("eks_access_policy_association", "eks_pod_identity_association"),
                "iam_role_policy_attachment",
            },
        ),
        ("sagemaker", set()),
        (
            "alerts",
            {
                *("sns_topic", "sns_topic_subscription", "cloudwatch_metric_alarm"),
                "cloudwatch_log_metric_filter",
            },
        ),
        ("budget", {"budgets_budget"}),
    ],
)
def test_a_component_brings_its_own_and_no_more(part: str, types: set[str]) -> None:
    assert resources(COMBINATIONS[part]) - resources(COMBINATIONS["core"]) == types


def test_the_core_needs_no_network() -> None:
    assert not NETWORK & resources(COMBINATIONS["core"])
    assert "internet_gateway" not in resources(COMBINATIONS["private-everything"])


def test_gpus_scale_to_nothing() -> None:
    text = files(COMBINATIONS["everything"])[f"infrastructure/{EKS}"].decode()
    group = text.partition('"aws_eks_node_group" "gpu"')[2]
    assert "min_size     = 0" in group
    assert "desired_size = 0" in group
    bare = files(HEAD + "  components: {eks: {}}\n")[f"infrastructure/{EKS}"]
    assert b"gpu" not in bare


def test_private_is_private_everywhere() -> None:
    made = files(COMBINATIONS["private-everything"])
    assert b"endpoint_public_access  = false" in made[f"infrastructure/{EKS}"]
    for path in (SHARED, CORE):
        assert b"ObjectsFromInside" in made[f"infrastructure/{path}"]
    text = made["infrastructure/shared/network.tf"]
    assert b"map_public_ip_on_launch = false" in text
    assert b"internet_gateway" not in text
    assert b'"0.0.0.0/0"\n    gateway_id' not in text


ACCOUNT_ID = re.compile(r"(?<![\d.])\d{12}(?![\d.])|AKIA[A-Z0-9]{16}")


@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_secret_and_no_account_in_any_file(name: str) -> None:
    for path, content in files(COMBINATIONS[name]).items():
        assert not SECRETS.search(content.decode()), path
        assert not ACCOUNT_ID.search(content.decode()), path


def test_the_scan_for_accounts_fires() -> None:
    assert ACCOUNT_ID.search(f"arn:aws:iam::{iam.ACCOUNT}:role/x")
    assert ACCOUNT_ID.search("AKIA" + "A" * 16)


def test_the_bootstrap_has_no_fault(tmp_path: Path) -> None:
    for name in ("core", "first-region"):
        script = lay(COMBINATIONS[name], tmp_path / name) / "bootstrap.sh"
        tool = Path(sys.executable).with_name("shellcheck")
        done = subprocess.run([tool, script], capture_output=True, text=True)
        assert done.stdout == ""


def test_roots_keep_their_states_in_the_bucket_that_the_bootstrap_makes(tmp_path: Path) -> None:
    top = lay(COMBINATIONS["core"], tmp_path)
    assert f"\nbucket={STATE}\n" in (top / "bootstrap.sh").read_text()
    for folder, key in (("shared/versions.tf", "shared"), ("environments/dev/main.tf", "env-dev")):
        root = (top / folder).read_text()
        assert re.search(rf'bucket +=\s"{STATE}"', root)
        assert re.search(rf'key +=\s"{key}/terraform.tfstate"', root)
        assert "use_lockfile = true" in root


# ---------------------------------------------------------------- add, new


def test_add_declares_aws_and_then_changes_nothing(tmp_path: Path) -> None:
    made: Scaffold = scaffold(tmp_path, {"a.txt": b"a\n"})
    done = provision.add(made.root, {"provider": "aws", "eks": ""})
    assert "infrastructure/shared/policies.tf" in done.files
    declared = config.load(made.root).infrastructure
    assert declared is not None
    assert (declared.provider, declared.region, declared.generator) == (
        "aws",
        "eu-west-1",
        "terraform-aws",
    )
    git(made.root, "add", "--all")
    git(made.root, "commit", "--quiet", "--message", "more")
    assert provision.add(made.root, {"eks": "{nodes: 3}"}).files == ("gitops.yaml",)
    assert not sync.survey(made.root).changes


@pytest.mark.parametrize(
    ("answers", "remote", "account"),
    [
        ({"infrastructure": "aws"}, r"s3://flights-shared-[a-z0-9]{6}/flights", None),
        ({"infrastructure": "azure"}, "azure://dvc/flights", r"flightsshared[a-z0-9]{6}"),
        ({"infrastructure": "aws", "storage": "s3://mine/x"}, "s3://mine/x", None),
        ({"infrastructure": "local"}, "../flights-storage", None),
        ({}, "../flights-storage", None),
    ],
)
def test_new_stores_where_infrastructure_puts_it(
    answers: Mapping[str, str], remote: str, account: str | None
) -> None:
    provisioned = new.infrastructure("flights", answers)
    found = new.storage("flights", answers, provisioned)
    assert re.fullmatch(remote, found.remote)
    assert re.fullmatch(account or "None", str(found.account))
    if provisioned is not None and "storage" not in answers and "id" in provisioned:
        text = HEAD.partition("infrastructure:")[0] + f"infrastructure: {json.dumps(provisioned)}"
        shared = cloudnames.of(parse(text), cloudnames.SHARED)
        assert shared["bucket" if "bucket" in shared else "storage"] in f"{found}"
