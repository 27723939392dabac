"""One process that serves: `python -m gitops.serve.worker OPTIONS SOCKET ALIVE`.

SOCKET is the descriptor of the listening socket, ALIVE that of a pipe whose other end the
supervisor holds: when that is gone, so are we.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import Any

import uvicorn

from gitops.errors import GitopsError
from gitops.serve import metrics, say
from gitops.serve.app import App
from gitops.serve.ask import Desk
from gitops.serve.endpoints import endpoints
from gitops.serve.follow import Follower
from gitops.serve.journal import Journal
from gitops.serve.keys import Keys
from gitops.serve.options import Options, parse
from gitops.serve.protocol import configured
from gitops.serve.supervisor import metrics_folder
from gitops.serve.traces import Tracer


class Server(uvicorn.Server):
    """uvicorn's, which leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(options: Options, listening: socket.socket, alive: int) -> None:
    """Serve until told to end; what is under way is finished first."""
    metrics.keep(metrics_folder(options.state))
    journal = Journal(options.state, options.timeout)
    desk = Desk(options, journal)
    app = App(options, desk, Keys(options.api_keys), endpoints)
    if options.otlp is not None:
        app.tracer = Tracer(options.otlp)
    follower = Follower(app, journal)
    server = Server(_config(app, options))
    loop = asyncio.get_running_loop()

    def end() -> None:
        app.draining = server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_reader(alive, end)
    with contextlib.suppress(OSError):  # a full disk: `run` goes on trying to say what is served
        await follower.look()
    gc.collect()
    gc.freeze()  # what is loaded now is never garbage
    gc.set_threshold(50_000, 20, 50)  # requests leave next to none
    tasks = [asyncio.create_task(job()) for job in (follower.run, journal.ask_shadows)]
    say.say("worker", generation=follower.generation)
    try:
        await server.serve(sockets=[listening])
    finally:
        for task in tasks:
            task.cancel()
        await follower.close()
        desk.close()
        journal.close()
        if app.tracer is not None:
            app.tracer.close()
        say.say("ended")


def _config(app: App, options: Options) -> uvicorn.Config:
    tls: dict[str, Any] = {}
    if options.tls_cert is not None:
        tls = {
            "ssl_certfile": options.tls_cert,
            "ssl_keyfile": options.tls_key,
            "ssl_ca_certs": options.client_ca,
            "ssl_cert_reqs": ssl.CERT_REQUIRED if options.client_ca else ssl.CERT_NONE,
        }
    return uvicorn.Config(
        app,
        http=configured(options),
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=options.idle_timeout,  # type: ignore[arg-type]
        timeout_graceful_shutdown=options.drain_timeout,  # type: ignore[arg-type]
        **tls,
    )


def main() -> None:
    import uvloop

    options, number, alive = parse(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    logging.basicConfig(level=logging.ERROR, handlers=[say.Handler()])
    sys.setswitchinterval(0.001)  # large requests' thread gives way to the loop sooner
    listening = socket.socket(fileno=number)
    listening.setblocking(False)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(options, listening, alive))
    except GitopsError as error:
        say.say("can't serve", level="error", why=str(error))
        sys.exit(error.code)


if __name__ == "__main__":
    main()
