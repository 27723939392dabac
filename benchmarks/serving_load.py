"""One load, as JSON on stdin says it; what was taken as JSON on stdout."""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from gitops.serve.load import load, request


def main() -> None:
    job = json.load(sys.stdin)
    host = f"127.0.0.1:{job['port']}"
    sent = [request(host, job["path"], body.encode()) for body in job["bodies"]]
    work = load(
        "127.0.0.1", job["port"], sent,
        connections=job["connections"], seconds=job["seconds"], rate=job["rate"],
    )  # fmt: skip
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        taken = runner.run(work)
    json.dump(
        {"requests": len(taken.seconds), "errors": taken.errors, "rate": taken.rate,
         "p50": taken.quantile(0.5), "p99": taken.quantile(0.99)},
        sys.stdout,
    )  # fmt: skip


if __name__ == "__main__":
    main()
