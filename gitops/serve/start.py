"""From the command line to a running server."""

from __future__ import annotations

import fcntl
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gitops.errors import ConfigError, UsageError, Where
from gitops.serve import plan as plans
from gitops.serve import supervisor, traces
from gitops.serve.keys import Keys
from gitops.serve.options import Options

if TYPE_CHECKING:
    from gitops.serve.bench import Report


def serve(
    packages: Sequence[Path],
    *,
    plan: Path | None,
    state: Path | None,
    listen: str,
    settings: Mapping[str, Any],
    say: Callable[[str], None],
    answering: str = "",
) -> None:
    """Serve until told to end; `answering` is JSON that says how packages answer.

    Raises:
        GitopsError: nothing can be served so.
    """
    host, port = address(listen)
    with _folder(state) as folder:
        made = (
            None
            if plan is not None
            else plan_of(packages, logged=state is not None, answering=answering)
        )

        def prepare() -> None:
            if made is not None and not (folder / plans.NAME).exists():
                folder.mkdir(parents=True, exist_ok=True)
                plans.write(folder / plans.NAME, made)

        if made is not None:
            (folder / plans.NAME).unlink(missing_ok=True)  # an earlier server's
        prepare()
        options = Options(
            plan=(plan or folder / plans.NAME).absolute(),
            state=folder.absolute(),
            kept=state is not None,
            **settings,
        )
        _check(options)
        listening = supervisor.listen(host, port)
        options = replace(options, connections=supervisor.raise_limit(options.connections))
        scheme = "http" if options.tls_cert is None else "https"
        shown = f"[{host}]" if ":" in host else host
        url = f"{scheme}://{shown}:{listening.getsockname()[1]}"
        say(f"listening on {url} ({url}/docs shows how to ask); Ctrl-C ends it")
        with listening:
            supervisor.Supervisor(options, listening, prepare).run()


def bench(
    folder: Path,
    *,
    url: str | None,
    rows: Path | None,
    each: int,
    connections: int,
    seconds: float,
    settings: Mapping[str, Any],
    say: Callable[[str], None],
) -> Report:
    """Measure a server of the package in `folder`: our own, or the one at `url`.

    Raises:
        GitopsError: nothing can be measured so.
    """
    from gitops import package
    from gitops.serve import bench

    found = package.read(folder)
    sent = bench.bodies(found, rows, each)
    measure = partial(
        bench.measure, found=found, sent=sent, each=each, connections=connections,
        seconds=seconds, say=say,
    )  # fmt: skip
    if url is not None:
        host, port = address(url.removeprefix("http://").rstrip("/"))
        return measure(host, port, pids=None)
    with _folder(None) as state:
        plans.write(state / plans.NAME, plan_of([folder], logged=False))
        options = Options(plan=state / plans.NAME, state=state, kept=False, **settings)
        with supervisor.listen("127.0.0.1", 0) as listening:
            running = supervisor.Supervisor(options, listening)

            def work() -> Report:
                try:
                    running.wait_until_serving()
                    port = listening.getsockname()[1]
                    return measure("127.0.0.1", port, pids=running.pids)
                finally:
                    running.end()

            with ThreadPoolExecutor(1) as thread:
                future = thread.submit(work)
                running.run()
                return future.result()


class Answering(msgspec.Struct, forbid_unknown_fields=True):
    """How packages answer; see `plan.Serve` and `plan.Served`."""

    unknown_category: Literal["accept", "reject"] = "accept"
    out_of_range: Literal["accept", "reject"] = "accept"
    ignore: list[str] = []


def plan_of(folders: Sequence[Path], *, logged: bool, answering: str = "") -> plans.Plan:
    """Each package is its model's champion.

    Raises:
        EvidenceError: a package is broken.
        UsageError: two are of one model, or `answering` isn't the JSON of an `Answering`.
    """
    from gitops import package  # heavy, and of no use to who follows a plan

    try:
        said = msgspec.json.decode(answering or "{}", type=Answering)
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"the settings can't be read: {error}",
            fix="write JSON with some of unknown_category, out_of_range and ignore",
        ) from error
    models: dict[str, plans.Served] = {}
    for folder in folders:
        found = package.read(folder)
        name = found.signature.model
        if name in models:
            raise UsageError(
                f"two packages are of the model {name!r}: {models[name].champion.folder}, {folder}",
                fix="serve one of them, or write a plan with a champion and a challenger",
            )
        log = plans.Log(sample=1.0 if logged else 0.0)
        release = f"{name}@{found.digest[:12]}"
        variant = plans.Variant(release, "", folder.absolute(), found.digest)
        serve = plans.Serve(said.unknown_category, said.out_of_range, log, Path.cwd())
        models[name] = plans.Served(variant, serve=serve, ignore=tuple(said.ignore))
    return plans.Plan(0, "local", "local", models)


def address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; a host of IPv6 is in brackets.

    Raises:
        UsageError: it is none.
    """
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{text!r} is no address", fix="write HOST:PORT, such as 127.0.0.1:8080")
    return host, int(port)


def _check(options: Options) -> None:
    Keys(options.api_keys)
    if options.otlp is not None:
        traces.require()
    if (options.tls_cert is None) != (options.tls_key is None) or (
        options.client_ca is not None and options.tls_cert is None
    ):
        raise UsageError("TLS needs a certificate and its key", fix="give --tls-cert and --tls-key")
    for path in (options.tls_cert, options.tls_key, options.client_ca):
        if path is not None and not path.is_file():
            fix = "check the path"
            raise ConfigError("there is no such file", fix=fix, where=Where(path))
    if options.tls_cert is not None:
        try:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(options.tls_cert, options.tls_key)
            if options.client_ca is not None:
                context.load_verify_locations(options.client_ca)
        except (ssl.SSLError, OSError) as error:
            fix = "give a certificate and its own key, both PEM, the key without a password"
            raise ConfigError(
                f"the certificate can't be used: {error}", fix=fix, where=Where(options.tls_cert)
            ) from error


@contextmanager
def _folder(state: Path | None) -> Iterator[Path]:
    if state is not None:
        state.mkdir(parents=True, exist_ok=True)
        with (state / "serve.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"another server keeps its state in {state}",
                    fix="end that one, or give another --state",
                ) from error
            yield state
        return
    with tempfile.TemporaryDirectory(prefix="gitops-serve-") as folder:
        yield Path(folder)
