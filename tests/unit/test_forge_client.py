"""What we do when a forge is slow, refuses, breaks off, or is somebody else."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gitops import forge
from gitops.errors import ToolError
from gitops.forge.azure import Azure
from gitops.forge.client import Unsure
from gitops.forge.github import GitHub
from tests.forge_contract import Reply
from tests.forge_server import Fault, Server, serve
from tests.forge_simulator import Simulator
from tests.unit.test_forge import BASE, HEAD, seed


@dataclass
class Patient:
    """A simulated GitHub, our way to it, and the seconds that we would have waited."""

    simulator: Simulator
    server: Server
    github: GitHub
    azure: Azure
    waits: list[float]

    def fail(self, *replies: Reply | None, matches: str = "", after: bool = False) -> None:
        self.server.faults = [Fault(matches, one, after) for one in replies]


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    simulator, waits = seed(tmp_path), list[float]()
    simulator.teams = {"acme/leads": ("ann",), "flights/leads": ("ann",)}
    with serve(simulator) as server:
        github = forge.of(server.github_url, server.github_env)
        azure = forge.of(server.azure_url, server.azure_env)
        assert isinstance(github, GitHub)
        assert isinstance(azure, Azure)
        github = replace(github, client=replace(github.client, pause=waits.append))
        azure = replace(azure, client=replace(azure.client, pause=waits.append))
        yield Patient(simulator, server, github, azure, waits)


@pytest.mark.parametrize("status", [502, 503, 504, 429])
def test_an_overloaded_forge_is_asked_again(patient: Patient, status: int) -> None:
    patient.fail(Reply(status), Reply(status))
    assert patient.github.members("acme/leads") == ("ann",)
    assert patient.waits == [1, 2]


def test_patience_ends(patient: Patient) -> None:
    patient.fail(*[Reply(502)] * 9)
    with pytest.raises(ToolError, match="GET /orgs/acme/teams/leads/members: GitHub answered 502"):
        patient.github.members("acme/leads")
    assert patient.waits == [1, 2, 4]


NOW = datetime(2040, 1, 1, tzinfo=UTC)  # this machine's clock is a decade off


def http_date(time: datetime) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize(
    ("status", "headers", "message", "wait"),
    [
        (403, {"Retry-After": "7"}, "", 7),
        (429, {"Retry-After": "7"}, "", 7),
        (503, {"Retry-After": http_date(NOW + timedelta(seconds=9))}, "", 9),
        (
            403,
            {
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": str(int(NOW.timestamp()) + 5),
            },
            "",
            5,
        ),
        (403, {}, "You have exceeded a secondary rate limit.", 60),
        (429, {"Retry-After": "soon"}, "", 60),
    ],
)
def test_a_limit_is_waited_for_as_the_forge_says(
    patient: Patient,
    status: int,
    headers: dict[str, str],
    message: str,
    wait: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda *_: http_date(NOW))
    patient.fail(Reply(status, {"message": message}, headers))
    assert patient.github.members("acme/leads") == ("ann",)
    assert patient.waits == [wait]


def test_a_limit_of_an_hour_is_an_error_at_once(patient: Patient) -> None:
    patient.fail(Reply(429, {"message": "slow down"}, {"Retry-After": "3600"}))
    with pytest.raises(ToolError, match="answered 429: slow down") as caught:
        patient.github.members("acme/leads")
    assert "later" in caught.value.fix
    assert patient.waits == []


def test_a_token_without_a_permission_is_told_which(patient: Patient) -> None:
    message = {"message": "Resource not accessible by integration"}
    patient.fail(Reply(403, message))
    with pytest.raises(ToolError) as caught:
        patient.github.open_or_update(HEAD, BASE, "x", "")
    assert caught.value.message.endswith("answered 403: Resource not accessible by integration")
    assert caught.value.fix == "give the token in GITHUB_TOKEN the permission `pull_requests=read`"
    patient.fail(Reply(403, message, {"X-Accepted-GitHub-Permissions": "pull_requests=admin"}))
    with pytest.raises(ToolError) as caught:
        patient.github.open_or_update(HEAD, BASE, "x", "")
    assert "`pull_requests=admin`" in caught.value.fix
    patient.fail(Reply(403, message))
    with pytest.raises(ToolError) as caught:
        patient.azure.open_or_update(HEAD, BASE, "x", "")
    assert "SYSTEM_ACCESSTOKEN the permission `vso.code" in caught.value.fix
    assert patient.waits == []


def test_the_setting_that_keeps_actions_from_opening_pull_requests_is_named(
    patient: Patient,
) -> None:
    message = "GitHub Actions is not permitted to create or approve pull requests."
    patient.fail(Reply(403, {"message": message}), matches="^POST ")
    with pytest.raises(ToolError) as caught:
        patient.github.open_or_update(HEAD, BASE, "x", "")
    assert "Settings, Actions, General" in caught.value.fix


@pytest.mark.parametrize("reply", [Reply(502), Reply(504), None])
def test_an_answer_that_is_lost_leaves_one_of_everything(
    patient: Patient, reply: Reply | None
) -> None:
    for one in (patient.github, patient.azure):
        patient.simulator.pulls.clear()
        patient.fail(reply, reply, matches="^POST ", after=True)
        found = one.open_or_update(HEAD, BASE, "x", "")
        assert (found.number, found.created) == (1, False)
        one.comment(1, "late", "PASS")
        (pull,) = patient.simulator.pulls
        assert [comment.text for comment in pull.comments] == ["<!-- gitops:late -->\nPASS"]
        assert patient.server.faults == []


def test_a_deployment_is_never_started_twice(patient: Patient) -> None:
    patient.fail(None, matches="^POST ", after=True)
    with pytest.raises(Unsure, match="broke off"):
        patient.github.dispatch("deploy", BASE, {})
    patient.fail(Reply(502), matches="^POST ", after=True)
    with pytest.raises(Unsure) as caught:
        patient.github.dispatch("deploy", BASE, {})
    assert caught.value.fix == "it may have been carried out: look before trying again"
    assert len(patient.simulator.dispatched) == 2
    assert patient.waits == []


@pytest.mark.parametrize("status", [401, 203, 302])
def test_a_token_that_azure_does_not_know_gets_the_sign_in_page(
    patient: Patient, status: int
) -> None:
    patient.fail(Reply(status, b"<html>Sign in</html>"))
    with pytest.raises(ToolError, match=f"answered {status}") as caught:
        patient.azure.members("flights/leads")
    assert caught.value.fix.startswith("the token in SYSTEM_ACCESSTOKEN is unknown or has expired")


def test_a_redirect_is_not_followed(patient: Patient) -> None:
    """It would turn a POST into a GET, and lead elsewhere."""
    patient.fail(
        Reply(301, {}, {"Location": f"{patient.server.root}/api/v3/orgs/x/teams/y/members"})
    )
    with pytest.raises(ToolError, match="301") as caught:
        patient.github.members("acme/leads")
    assert "git remote set-url" in caught.value.fix
    assert len(patient.server.requests) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"a": 1}', b"null", b"\xff", b"[{}]"])
def test_an_answer_of_somebody_else_is_no_bug_of_ours(patient: Patient, body: bytes) -> None:
    for one in (patient.github, patient.azure):
        patient.fail(Reply(200, body))
        with pytest.raises(ToolError, match=r"no JSON|has no"):
            one.members("flights/leads")


def test_the_token_is_in_no_message_and_no_url(patient: Patient) -> None:
    for one, secret in ((patient.github, "ghs_secret"), (patient.azure, "azure_secret")):
        patient.fail(Reply(422, {"message": f"bad token {secret}", "errors": [f"Bearer {secret}"]}))
        with pytest.raises(ToolError) as caught:
            one.members("flights/leads")
        assert secret not in str(caught.value)
        assert "***" in str(caught.value)
        assert secret not in repr(one)
    assert not any("secret" in f"{one.path}{one.query}" for one in patient.server.requests)
    headers = [one.headers["Authorization"] for one in patient.server.requests]
    assert headers == ["Bearer ghs_secret", "Bearer azure_secret"]


def test_a_personal_token_of_azure_and_the_second_name_of_githubs(patient: Patient) -> None:
    env = {"AZURE_DEVOPS_EXT_PAT": "pat", "GITHUB_TOKEN": "", "GH_TOKEN": "gh"}
    server = patient.server
    for url, known in (
        (server.azure_url, server.azure_env | {"SYSTEM_ACCESSTOKEN": ""}),
        (server.github_url, server.github_env),
    ):
        found = forge.of(url, known | env)
        assert found
        with pytest.raises(ToolError, match="404"):
            found.members("flights/nobody")
    headers = [one.headers["Authorization"] for one in server.requests]
    assert headers == ["Basic OnBhdA==", "Bearer gh"]


def test_without_a_token_nothing_is_sent(patient: Patient) -> None:
    for url, env, name, mine in (
        (patient.server.github_url, patient.server.github_env, "GITHUB_TOKEN", "GH_TOKEN"),
        (
            patient.server.azure_url,
            patient.server.azure_env,
            "SYSTEM_ACCESSTOKEN",
            "AZURE_DEVOPS_EXT_PAT",
        ),
    ):
        found = forge.of(url, {key: value for key, value in env.items() if "TOKEN" not in key})
        assert found
        with pytest.raises(ToolError, match=f"needs a token: {name} and") as caught:
            found.members("acme/leads")
        assert f"export {mine}=" in caught.value.fix
    assert patient.server.requests == []


def test_netrc_does_not_take_the_tokens_place(
    patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n", "utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    patient.github.members("acme/leads")
    assert patient.server.requests[0].headers["Authorization"] == "Bearer ghs_secret"


def test_a_forge_that_is_down_is_an_error_with_its_address(patient: Patient) -> None:
    env = patient.server.github_env
    patient.server.shutdown()
    patient.server.server_close()
    found = forge.of(patient.server.github_url, env)
    assert isinstance(found, GitHub)
    found = replace(found, client=replace(found.client, pause=patient.waits.append))
    with pytest.raises(ToolError, match=r"GitHub at 127\.0\.0\.1:\d+ can't be reached"):
        found.open_or_update(HEAD, BASE, "x", "")
    assert patient.waits == [1, 2, 4]


def test_a_proxy_is_honoured(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's port is closed: its error proves that the way went there."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    found = forge.of("https://github.com/acme/flights", {"GH_TOKEN": "secret"})
    assert isinstance(found, GitHub)
    found = replace(found, client=replace(found.client, pause=patient.waits.append))
    with pytest.raises(ToolError, match="the proxy refused or can't be reached"):
        found.members("acme/leads")


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, *plain) + made.public_bytes(pem))
    return path


def test_a_certificate_that_nobody_vouches_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on stderr."""

    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        env = {"GITHUB_API_URL": f"https://localhost:{server.server_port}", "GITHUB_TOKEN": "x"}
        found = forge.of("https://github.com/acme/flights", env)
        assert isinstance(found, GitHub)
        waits = list[float]()
        found = replace(found, client=replace(found.client, pause=waits.append))
        with pytest.raises(ToolError, match="certificate that isn't trusted") as caught:
            found.members("acme/leads")
        assert "REQUESTS_CA_BUNDLE" in caught.value.fix
        assert (asked, waits) == ([], [])
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
        assert found.members("acme/leads") == ()
        assert asked == ["Bearer x"]
        server.shutdown()
