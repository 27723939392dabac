"""Keys, TLS and traces: only where they are asked for."""

from __future__ import annotations

import datetime
import hashlib
import http.server
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPSConnection
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gitops.errors import ConfigError
from gitops.serve.keys import Keys
from gitops.serve.refusal import Refusal
from tests.serving import PACKAGES, ROW, serving, until

CHAMPION = PACKAGES / "binary" / "package"
PATH = "/models/binary/predict"


def hashed(*keys: str) -> str:
    return "".join(f"{hashlib.sha256(key.encode()).hexdigest()}  # {key[:1]}\n" for key in keys)


def test_only_known_keys_are_let_in(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\n\n" + hashed("alpha", "beta"))
    with serving(tmp_path, CHAMPION, "--api-keys", file) as server:
        for headers in ({}, {"authorization": "Bearer gamma"}, {"authorization": "Basic alpha"}):
            found = server.predict(**headers)
            assert (found.status, found.headers["www-authenticate"]) == (401, "Bearer")
        for key in ("alpha", "beta"):
            assert server.predict(authorization=f"Bearer {key}").status == 200
            assert server.predict(authorization=f"bearer {key}").status == 200
        for path in ("/metrics", "/gitops/state", "/openapi.json", "/docs", "/v2"):
            assert server.get(path).status == 401
        assert server.post("/labels", {"labels": [{"id": "a", "label": 1}]}).status == 401
        assert server.get("/v2/health/live").status == 200
        assert server.get("/v2/health/ready").status == 200
        server.headers["authorization"] = "Bearer alpha"
        assert server.get("/openapi.json").json["security"] == [{"key": []}]
        file.write_text(hashed("gamma"))  # keys change without a restart
        until(lambda: server.predict(authorization="Bearer gamma").status == 200)
        assert server.predict(authorization="Bearer alpha").status == 401
        file.write_text("no hash\n")  # what can't be read leaves the keys as they were
        until(lambda: "keys" in {line["event"] for line in server.said()})
        assert server.predict(authorization="Bearer gamma").status == 200
        text = server.log.read_text()
        assert "alpha" not in text
        assert "Bearer" not in text


@pytest.mark.parametrize(("text", "what"), [("", "no API key"), ("abc\n", "not a SHA-256")])
def test_a_file_without_keys_lets_nobody_in(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(ConfigError, match=what):
        Keys(file)
    with pytest.raises(ConfigError, match="can't be read"):
        Keys(tmp_path / "none")


def test_keys_are_checked_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(hashed("alpha"))
    keys = Keys(file)
    keys.check({b"authorization": b"Bearer alpha"})
    for header in (b"", b"Bearer", b"Bearer ", b"Bearer alph", b"Bearer alphaa", b"alpha"):
        with pytest.raises(Refusal) as caught:
            keys.check({b"authorization": header})
        assert caught.value.status == 401


def certificate(folder: Path, name: str, issuer: str | None = None) -> Path:
    """A certificate of 127.0.0.1 and its key, as NAME.pem and NAME.key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    parent, signer = subject, key
    if issuer is not None:
        parent = x509.load_pem_x509_certificate((folder / f"{issuer}.pem").read_bytes()).subject
        loaded = serialization.load_pem_private_key((folder / f"{issuer}.key").read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(parent)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / f"{name}.pem"


def test_clients_prove_themselves_by_a_certificate(tmp_path: Path) -> None:
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "server", "authority")
    certificate(tmp_path, "client", "authority")
    certificate(tmp_path, "stranger")
    options: list[str | Path] = [
        "--tls-cert",
        tmp_path / "server.pem",
        "--tls-key",
        tmp_path / "server.key",
    ]

    def ask(port: int, client: str | None) -> int:
        context = ssl.create_default_context(cafile=str(authority))
        if client is not None:
            context.load_cert_chain(tmp_path / f"{client}.pem", tmp_path / f"{client}.key")
        connection = HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status
        finally:
            connection.close()

    with serving(tmp_path / "one", CHAMPION, *options, ready=False) as server:
        until(lambda: ask(server.port, None) == 200)
    both: list[str | Path] = [*options, "--client-ca", authority]
    with serving(tmp_path / "two", CHAMPION, *both, ready=False) as server:
        until(lambda: ask(server.port, "client") == 200)
        for stranger in (None, "stranger"):
            with pytest.raises(OSError):  # reset, or an alert: it depends on timing
                ask(server.port, stranger)
        assert ask(server.port, "client") == 200


def test_half_a_certificate_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gitops", "serve", str(CHAMPION), "--tls-cert", "x.pem"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, "give --tls-cert and --tls-key" in done.stderr) == (2, True)
    command += ["--tls-key", "x.key"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, "no such file" in done.stderr) == (3, True)


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP endpoint, and what was sent to it."""
    got: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", got
        server.shutdown()


def test_traces_go_on_where_the_caller_began(
    tmp_path: Path, collector: tuple[str, list[bytes]]
) -> None:
    url, got = collector
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with serving(tmp_path, CHAMPION, "--otlp", url) as server:
        server.predict(traceparent=f"00-{trace}-{parent}-01")
        server.post(PATH, {"row": {**ROW, "carrier": 77}}, traceparent=f"00-{trace}-{parent}-01")
        assert server.end() == 0
    spans = [
        span
        for raw in got
        for resource in ExportTraceServiceRequest.FromString(raw).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.name == f"POST {PATH}"
    ]
    assert {span.trace_id.hex() for span in spans} == {trace}
    assert {span.parent_span_id.hex() for span in spans} == {parent}
    noted = [{one.key: one.value for one in span.attributes} for span in spans]
    assert {one["http.response.status_code"].int_value for one in noted} == {200, 422}
    answered = next(one for one in noted if "gitops.model" in one)
    assert answered["gitops.model"].string_value == "binary"
    assert answered["gitops.rows"].int_value == 1
    assert b"2004" not in b"".join(got)


def test_without_being_asked_nothing_is_sent(tmp_path: Path) -> None:
    """The worker imports nothing of OpenTelemetry."""
    with serving(tmp_path, CHAMPION) as server:
        (pid,) = server.workers()
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "opentelemetry" not in maps
        command = [sys.executable, "-X", "importtime", "-c", "import gitops.serve.worker"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert "opentelemetry" not in done.stderr
