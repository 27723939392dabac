"""`gitops serve`: packages that answer over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption
from gitops.errors import UsageError

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from gitops.serve.bench import Report


def register(app: typer.Typer) -> None:
    app.command()(serve)


def _no_port(port: str | None) -> None:
    if port is not None:
        raise UsageError("there is no --port", fix=f"--listen 127.0.0.1:{port}")


def serve(
    packages: Annotated[
        list[Path] | None, typer.Argument(metavar="PACKAGE", help="Folders of packages.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Follow this serving plan instead.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="Keep the prediction log and the workers' state here."),
    ] = None,
    listen: Annotated[
        str, typer.Option("--listen", help="HOST:PORT; port 0 is any free one.")
    ] = "127.0.0.1:8080",
    port: Annotated[  # not there, and the first that many type
        str | None, typer.Option("--port", hidden=True, callback=_no_port, help="It is --listen.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 1,
    max_rows: Annotated[
        int, typer.Option("--max-rows", min=1, help="Rows in one request.")
    ] = 10_000,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, help="Megabytes of one request.")
    ] = 8,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds for one request.")
    ] = 30.0,
    api_keys: Annotated[
        Path | None, typer.Option("--api-keys", help="File of SHA-256 hashes of the keys.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.")] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option("--client-ca", help="Let in only clients that this CA vouches for."),
    ] = None,
    otlp: Annotated[
        str | None, typer.Option("--otlp", help="Send traces to this OTLP/HTTP address.")
    ] = None,
    answering: Annotated[
        str,
        typer.Option(
            "--settings",
            metavar="JSON",
            envvar="GITOPS_SERVE_SETTINGS",
            help="How packages answer: unknown_category, out_of_range, ignore (columns).",
        ),
    ] = "",
    in_body: Annotated[
        bool,
        typer.Option(
            "--in-body",
            envvar="GITOPS_SERVE_IN_BODY",
            help="Say status and milliseconds in the body, too, where nothing else is logged.",
        ),
    ] = False,
    bench: Annotated[
        bool, typer.Option("--bench", help="Measure how fast the package is served here.")
    ] = False,
    url: Annotated[
        str | None, typer.Option("--url", help="With --bench: a server that runs on this machine.")
    ] = None,
    rows: Annotated[
        Path | None, typer.Option("--rows", help="With --bench: rows to send; drawn if left out.")
    ] = None,
    batch: Annotated[
        int, typer.Option("--batch", min=1, help="With --bench: rows in one request.")
    ] = 1,
    connections: Annotated[
        int, typer.Option("--connections", min=1, max=1000, help="With --bench: connections.")
    ] = 16,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.2, max=600, help="With --bench: of each part.")
    ] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Answer predictions over HTTP, by packages or by a plan that says which.

    Rows are checked by the package's signature, and answered as `gitops predict` answers them. The
    page /docs shows how to ask; the Open Inference Protocol (/v2) is spoken too.

    Examples:

        gitops serve models/package

        gitops serve models/late/package models/fare/package --listen 127.0.0.1:9000 --workers 2

        gitops serve --plan state/serving.json --state state

        gitops serve models/package --bench
    """
    from gitops.serve import require_extra

    require_extra()
    from gitops.serve import start

    settings = {
        "workers": workers,
        "max_rows": max_rows,
        "max_body": max_body << 20,
        "timeout": timeout,
        "api_keys": api_keys,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "client_ca": client_ca,
        "otlp": otlp,
        "in_body": in_body,
    }
    if bench:
        if packages is None or len(packages) != 1 or plan is not None:
            raise UsageError("--bench measures one package", fix="gitops serve PACKAGE --bench")
        report = start.bench(
            packages[0],
            url=url,
            rows=rows,
            each=batch,
            connections=connections,
            seconds=seconds,
            settings=settings,
            say=screen.say,
        )
        screen.document(report.document()) if as_json else _show(report)
        return
    if bool(packages) == (plan is not None):
        raise UsageError(
            "give packages, or a plan",
            fix="gitops serve models/package, or gitops serve --plan FILE",
        )
    if plan is not None and state is None:
        raise UsageError("a plan needs a state folder", fix="add --state DIR")
    start.serve(
        packages or [],
        plan=plan,
        state=state,
        listen=listen,
        settings=settings,
        say=screen.say,
        answering=answering,
    )


def _show(report: Report) -> None:
    head = ("load", "requests/s", "p50 ms", "p95 ms", "p99 ms", "requests", "errors")
    rows = [
        (
            what,
            f"{one.rate:,.0f}",
            f"{one.p50:.2f}",
            f"{one.p95:.2f}",
            f"{one.p99:.2f}",
            f"{one.requests:,}",
            f"{one.errors:,}",
        )
        for what, one in (("full", report.full), ("80 %, at random", report.steady))
    ]
    screen.table(head, rows)
    screen.out(
        f"{report.model}: {report.rows} rows in a request, {report.connections} connections"
        + ("" if report.cpu_us is None else f"; {report.cpu_us:.0f} µs CPU for a request")
        + ("" if report.memory_mb is None else f"; {report.memory_mb:.0f} MB")
    )
