"""Clouds on this machine, for tests: AWS and its S3 (moto's server), Azure Blob (azurite)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

AZURITE = Path(__file__).parent / "azurite" / "node_modules" / ".bin" / "azurite-blob"
BUCKET = "models"
AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "NO_PROXY": "127.0.0.1",
}
# The account that every azurite has; no secret.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def s3() -> Iterator[str]:
    """The endpoint of an S3 service with the bucket `models`."""
    with aws() as address:
        request = urllib.request.Request(f"{address}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()
        yield address


@contextmanager
def aws() -> Iterator[str]:
    """The endpoint of all services of AWS, with nothing in it."""
    moto = str(Path(sys.executable).parent / "moto_server")
    with _service([moto, "-H", "127.0.0.1", "-p"]) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def azure() -> Iterator[str]:
    """A connection string of an Azure Blob service with the container `models`."""
    if not AZURITE.exists() or not shutil.which("node"):
        pytest.skip("no azurite here: npm ci --prefix tests/azurite")
    options = ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    command = [str(AZURITE), *options, "--blobHost", "127.0.0.1", "--blobPort"]
    with _service(command) as port:
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        parts = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": ACCOUNT,
            "AccountKey": KEY,
            "BlobEndpoint": endpoint,
        }
        words = ";".join(f"{name}={value}" for name, value in parts.items())
        from adlfs import AzureBlobFileSystem

        AzureBlobFileSystem(connection_string=words, skip_instance_cache=True).mkdir(BUCKET)
        yield words


@contextmanager
def _service(command: Sequence[str]) -> Iterator[int]:
    """Run a service, whose last word is its port; yields it once something answers there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    server = subprocess.Popen(
        [*command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                assert server.poll() is None, f"{command[0]} ended with {server.returncode}"
                time.sleep(0.1)
        else:
            pytest.fail(f"{command[0]} doesn't answer")
        yield port
    finally:
        server.terminate()
        server.wait()
