"""The command line: short bodies, and one place that turns an error into an exit code."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from gc import freeze, set_threshold
from types import FrameType
from typing import NoReturn

from gitops import proc
from gitops.errors import GitopsError
from gitops.git import ci as platform
from gitops.git import program


def main() -> NoReturn:
    """Run the command of `sys.argv`; exit codes are those of docs/ARCHITECTURE.md."""
    # What a short command makes it keeps: to look for garbage all the while costs a tenth of it,
    # and to look once more through all at its end a quarter.
    set_threshold(100_000, 20, 100)
    atexit.register(freeze)
    from gitops.cli import screen
    from gitops.cli.app import make

    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, _interrupt)
    program.forget_hook()
    proc.name_user()
    os.environ.update(platform.identity(os.environ))
    # ONNX Runtime reports what it runs to its maker unless it is told not to; so do all we start.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        make(sys.argv[1:])(prog_name="gitops")
    except GitopsError as error:
        if "--debug" in sys.argv:
            screen.trace(error)
        screen.error(error)
        if "--json" in sys.argv:
            screen.document({"error": error.as_json()})
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # the one place that catches everything: a bug of ours gets code 70
        if "--debug" in sys.argv:
            screen.trace(error)
        screen.bug(error)
        sys.exit(70)
    sys.exit(0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
