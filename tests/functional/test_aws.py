"""What is generated for AWS, applied to a simulated one: the bucket of states, roles, DVC's store.

Moto answers, and with `/moto-api/reset-auth` it enforces the rights of who asks.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitops import cloudnames, config, yamlfile
from gitops.scaffold import infrastructure
from tests import iam, stores
from tests.conftest import run

if TYPE_CHECKING:
    from tests.conftest import Command, Gitops, Table

pytestmark = pytest.mark.functional

CONFIG = """\
version: 1
project: churn
models: {left: {task: binary}}
infrastructure: {provider: aws, id: k7q2m9xd}
"""


@pytest.fixture
def cloud() -> Iterator[str]:
    """The address of an AWS of its own, where everything is allowed at first."""
    with stores.aws() as address:
        yield address


def client(service: str, cloud: str, **credentials: str) -> Any:
    import boto3

    given = {"aws_access_key_id": "test", "aws_secret_access_key": "test", **credentials}
    return boto3.client(service, endpoint_url=cloud, region_name=iam.REGION, **given)


def generated(text: str, folder: Path) -> Path:
    for file in infrastructure.rendered(config.parse(text.encode(), Path("gitops.yaml"))):
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).write_bytes(file.content)
    return folder / "infrastructure"


def names(environment: str) -> Mapping[str, str]:
    return cloudnames.of(config.parse(CONFIG.encode(), Path("gitops.yaml")), environment)


# ---------------------------------------------------------------- the bootstrap


def bootstrap(top: Path, cloud: str, **more: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("aws")
    if program is None:
        pytest.skip("the AWS CLI isn't installed, which the bootstrap is for")
    env = {"PATH": f"{Path(program).parent}:/usr/bin:/bin", "HOME": str(top.parent)}
    env |= {**stores.AWS, "AWS_ENDPOINT_URL": cloud, **more}
    return subprocess.run(
        ["sh", top / "bootstrap.sh"], env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1"])
def test_the_bootstrap_makes_the_bucket_of_states(region: str, cloud: str, tmp_path: Path) -> None:
    text = CONFIG.replace("k7q2m9xd}", f"k7q2m9xd, region: {region}}}")
    top = generated(text, tmp_path)
    for _ in range(2 if region == "eu-west-1" else 1):  # said again, it changes nothing
        done = bootstrap(top, cloud)
        assert done.returncode == 0, done.stderr
    s3, bucket = client("s3", cloud), names(cloudnames.STATE)["bucket"]
    assert [one["Name"] for one in s3.list_buckets()["Buckets"]] == [bucket]
    place = s3.get_bucket_location(Bucket=bucket)["LocationConstraint"]
    assert place == (region if region != "us-east-1" else None)
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert list(block.values()) == [True] * 4
    (owner,) = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert owner["ObjectOwnership"] == "BucketOwnerEnforced"
    (older,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert older["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    (deny,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert deny["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    lock = {"Bucket": bucket, "Key": "env-dev/terraform.tfstate.tflock", "IfNoneMatch": "*"}
    with pytest.raises(s3.exceptions.ClientError, match="403"):
        s3.put_object(**lock, Body=b"not by TLS")
    # Terraform's lock: whoever comes second can't write it.
    s3.delete_bucket_policy(Bucket=bucket)
    s3.put_object(**lock, Body=b"first")
    with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
        s3.put_object(**lock, Body=b"second")


def test_the_bootstrap_stops_at_the_first_failure(cloud: str, tmp_path: Path) -> None:
    top = generated(CONFIG, tmp_path)
    done = bootstrap(top, cloud, AWS_ENDPOINT_URL_S3="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1")
    assert done.returncode != 0
    assert "127.0.0.1:9" in done.stderr
    assert client("s3", cloud).list_buckets()["Buckets"] == []


# ---------------------------------------------------------------- roles, and what they may


def provide(cloud: str, roles: iam.Roles) -> dict[str, dict[str, str]]:
    """The roles as they are generated, in the simulated cloud; credentials of each by its name."""
    identities, tokens = client("iam", cloud), client("sts", cloud)
    identities.create_open_id_connect_provider(
        Url="https://token.actions.githubusercontent.com", ClientIDList=["sts.amazonaws.com"]
    )
    found = {}
    for role, statements in roles.rights.items():
        who = role.removeprefix("deploy/")
        name = role.replace("/", "-")
        trust = {"Version": "2012-10-17", "Statement": roles.trust[who]}
        made = identities.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        rights = {"Version": "2012-10-17", "Statement": statements}
        identities.put_role_policy(
            RoleName=name, PolicyName="rights", PolicyDocument=json.dumps(rights)
        )
        shown = identities.get_role_policy(RoleName=name, PolicyName="rights")["PolicyDocument"]
        assert shown == rights
        said = tokens.assume_role_with_web_identity(
            RoleArn=made["Role"]["Arn"], RoleSessionName="job", WebIdentityToken="a.job.token"
        )["Credentials"]
        found[role] = {
            "aws_access_key_id": said["AccessKeyId"],
            "aws_secret_access_key": said["SecretAccessKey"],
            "aws_session_token": said["SessionToken"],
        }
    return found


def enforce(cloud: str) -> None:
    """From now on whoever asks needs the right to it."""
    request = urllib.request.Request(
        f"{cloud}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}
    )
    urllib.request.urlopen(request, timeout=30).close()


def test_roles_reach_their_own_and_no_more(cloud: str, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    roles = iam.evaluated(generated(CONFIG, tmp_path) / "shared", tmp_path / "scratch")
    assert roles.rights.keys() == {
        "ci",
        "read",
        "deploy/dev",
        "deploy/staging",
        "deploy/production",
    }
    state, dvc = (names(one)["bucket"] for one in (cloudnames.STATE, cloudnames.SHARED))
    admin = client("s3", cloud)
    for bucket in (state, dvc):
        place = {"LocationConstraint": iam.REGION}
        admin.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    states = [f"env-{one}/terraform.tfstate" for one in ("dev", "production")]
    for key in (*states, "shared/terraform.tfstate"):
        admin.put_object(Bucket=state, Key=key, Body=b"{}")
    admin.put_object(Bucket=dvc, Key="churn/files/md5/ab/cd", Body=b"data")
    credentials = provide(cloud, roles)
    enforce(cloud)

    def can(role: str, what: str, bucket: str, key: str) -> bool:
        s3 = client("s3", cloud, **credentials[role])
        more = {"Body": b"{}"} if what == "put_object" else {}
        try:
            getattr(s3, what)(Bucket=bucket, Key=key, **more)
        except s3.exceptions.ClientError as error:
            assert "AccessDenied" in str(error) or "403" in str(error), error
            return False
        return True

    stored = "churn/files/md5/ab/cd"
    expected = {
        ("ci", "get_object", dvc, stored): True,
        ("ci", "put_object", dvc, stored): True,
        ("ci", "delete_object", dvc, stored): False,
        ("ci", "get_object", state, states[0]): False,
        ("read", "get_object", dvc, stored): True,
        ("read", "put_object", dvc, stored): False,
        ("read", "get_object", state, states[0]): True,
        ("read", "put_object", state, states[0]): False,
        ("read", "get_object", state, "shared/terraform.tfstate"): False,
        ("deploy/dev", "get_object", dvc, stored): True,
        ("deploy/dev", "put_object", dvc, stored): False,
        ("deploy/dev", "put_object", state, states[0]): True,
        ("deploy/dev", "delete_object", state, states[0]): False,
        ("deploy/dev", "put_object", state, f"{states[0]}.tflock"): True,
        ("deploy/dev", "delete_object", state, f"{states[0]}.tflock"): True,
        ("deploy/dev", "get_object", state, states[1]): False,
        ("deploy/dev", "put_object", state, states[1]): False,
        ("deploy/dev", "put_object", state, "shared/terraform.tfstate"): False,
        ("deploy/production", "put_object", state, states[1]): True,
        ("deploy/production", "put_object", state, states[0]): False,
    }
    assert {call: can(*call) for call in expected} == expected
    for role, bucket in (("ci", dvc), ("read", state), ("deploy/dev", state)):
        client("s3", cloud, **credentials[role]).list_objects_v2(Bucket=bucket)
    own = client("iam", cloud, **credentials["deploy/dev"])
    with pytest.raises(own.exceptions.ClientError, match="AccessDenied"):
        own.put_role_policy(RoleName="deploy-dev", PolicyName="more", PolicyDocument="{}")


# ---------------------------------------------------------------- DVC's store, as it is generated


Store = Callable[[Path, str, Mapping[str, str]], str]
TABLE = "data/customers.csv"


@pytest.fixture
def dvc(installed: Path, git_identity: dict[str, str]) -> Store:
    """`dvc(cwd, word, env)`, of the table, as whoever the environment says."""
    home, program = {**git_identity, "DVC_NO_ANALYTICS": "1"}, installed / "dvc"
    return lambda cwd, word, env: run([program, word, f"{TABLE}.dvc"], cwd, {**home, **env})


def provisioned(gitops: Gitops, folder: Path, table: str, provider: str) -> tuple[Path, str]:
    """A repository that `new` has made for a cloud, and its storage's URL."""
    (folder / "customers.csv").write_text(table)
    words = ["--data", "customers.csv", "--target", "left", "--no-input"]
    done = gitops(folder, "new", "churn", *words, "--set", f"infrastructure={provider}")
    assert done.code == 0, done.err
    return folder / "churn", config.load(folder / "churn").storage.remote


def stored_data(root: Path) -> str:
    """The key, below the storage's URL, of the object that holds the table."""
    (tracked,) = yamlfile.read(root / f"{TABLE}.dvc").data["outs"]
    return f"files/md5/{tracked['md5'][:2]}/{tracked['md5'][2:]}"


def altered(content: bytes) -> bytes:
    """Other bytes, as many: what only a hash can tell."""
    return content[:-2] + content[-1:] + content[-2:-1]


def test_dvc_stores_as_the_role_of_builds_and_fetches_as_that_of_pull_requests(
    cloud: str, gitops: Gitops, git: Command, dvc: Store, churn: Table, tmp_path: Path
) -> None:
    root, url = provisioned(gitops, tmp_path, churn(), "aws")
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    shared = root / "infrastructure" / "shared"
    assert f'dvc   = "{bucket}"' in (shared / "policies.tf").read_text()
    (tmp_path / "scratch").mkdir()
    roles = iam.evaluated(shared, tmp_path / "scratch")
    admin = client("s3", cloud)
    admin.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": iam.REGION})
    credentials = provide(cloud, roles)
    enforce(cloud)

    def as_role(role: str) -> dict[str, str]:
        given = {name.upper(): value for name, value in credentials[role].items()}
        return {**stores.AWS, **given, "AWS_ENDPOINT_URL": cloud}

    dvc(root, "push", as_role("ci"))
    git(tmp_path, "clone", "--quiet", str(root), "clone")
    dvc(tmp_path / "clone", "pull", as_role("read"))
    assert (tmp_path / "clone" / TABLE).read_bytes() == (root / TABLE).read_bytes()

    key = f"{prefix}/{stored_data(root)}"
    ci = client("s3", cloud, **credentials["ci"])
    whole = ci.get_object(Bucket=bucket, Key=key)["Body"].read()
    ci.put_object(Bucket=bucket, Key=key, Body=altered(whole))
    refuses_altered_bytes(gitops, git, tmp_path, as_role("read"))


def refuses_altered_bytes(
    gitops: Gitops, git: Command, folder: Path, env: Mapping[str, str]
) -> None:
    git(folder, "clone", "--quiet", str(folder / "churn"), "late")
    done = gitops(folder / "late", "build", env=env)
    assert done.code == 3, done.err
    assert TABLE in done.err
    assert "corrupt in the remote" in done.err
    assert not (folder / "late" / TABLE).exists()


def test_dvc_stores_in_what_is_generated_for_azure(
    gitops: Gitops, git: Command, dvc: Store, churn: Table, tmp_path: Path
) -> None:
    with stores.azure() as connection:
        from adlfs import AzureBlobFileSystem

        root, url = provisioned(gitops, tmp_path, churn(), "azure")
        container = url.removeprefix("azure://").partition("/")[0]
        text = (root / "infrastructure" / "shared" / "main.tf").read_text()
        assert f'name               = "{container}"' in text
        assert f'"{config.load(root).storage.account}"' in text
        blobs = AzureBlobFileSystem(connection_string=connection, skip_instance_cache=True)
        blobs.mkdir(container)
        env = {"AZURE_STORAGE_CONNECTION_STRING": connection, "NO_PROXY": "127.0.0.1"}
        dvc(root, "push", env)
        git(tmp_path, "clone", "--quiet", str(root), "clone")
        dvc(tmp_path / "clone", "pull", env)
        assert (tmp_path / "clone" / TABLE).read_bytes() == (root / TABLE).read_bytes()
        path = f"{url.removeprefix('azure://')}/{stored_data(root)}"
        blobs.pipe_file(path, altered(blobs.cat_file(path)))
        refuses_altered_bytes(gitops, git, tmp_path, env)
