"""Runs a project's scoring script beside the server, in the project's environment.

Plain Python, and nothing of ours: `python scoring_worker.py SCRIPT {full|places}`. It reads
requests from stdin and writes answers to stdout, each four bytes of length (big-endian) and so much
JSON:

    <- {"ready": ["before", "after"], "python": "3.12.1"}, or {"failed": {"kind", "at"}}
    -> {"do": "before", "with": [rows]}
    <- {"answer": rows}, or {"failed": {"kind": "KeyError", "at": "scoring.py:12"}}

Whatever the script prints goes to stderr. `places` keeps an exception's text out of the log, too.
The end of stdin is the end of the process, even within a call.
"""

import sys

SCRIPT, DETAIL = sys.argv[1], sys.argv[2]
# As if the script were run itself. Before any other import: our folder has modules of common names.
sys.path[0] = SCRIPT.rpartition("/")[0] or "."

import importlib.util  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import queue  # noqa: E402
import struct  # noqa: E402
import threading  # noqa: E402
import traceback  # noqa: E402
from typing import Any, BinaryIO  # noqa: E402

PATH = os.path.abspath(SCRIPT)  # noqa: PTH100
sys.path[0] = os.path.dirname(PATH)  # noqa: PTH120

STEPS = ("before", "after")
GRACE_SECONDS = 2.0


def main() -> None:
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # The script may read and print as it likes: it must not be our conversation.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    waiting: queue.Queue[bytes | None] = queue.Queue()
    threading.Thread(target=listen, args=(requests, waiting), daemon=True).start()
    try:
        steps = load()
    except BaseException as error:
        send(answers, {"failed": failure(error)})
        sys.exit(1)
    send(answers, {"ready": list(steps), "python": platform.python_version()})
    while (data := waiting.get()) is not None:
        request = json.loads(data)
        try:
            answer = steps[request["do"]](*request["with"])
            text = encode({"answer": answer})
        except Exception as error:
            text = encode({"failed": failure(error)})
        write(answers, text)


def listen(requests: BinaryIO, waiting: "queue.Queue[bytes | None]") -> None:
    """Take requests as they come, so that the server's end is noticed within a call."""
    while len(head := requests.read(4)) == 4:
        waiting.put(requests.read(struct.unpack(">I", head)[0]))
    waiting.put(None)
    timer = threading.Timer(GRACE_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()


def load() -> "dict[str, Any]":
    """The script's functions, by their names."""
    spec = importlib.util.spec_from_file_location("scoring_script", PATH)
    if spec is None or spec.loader is None:
        raise ImportError(f"{SCRIPT} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    steps = {name: getattr(module, name) for name in STEPS if callable(getattr(module, name, None))}
    if not steps:
        raise AttributeError("the script has neither before(rows) nor after(rows, answers)")
    return steps


def failure(error: BaseException) -> "dict[str, str]":
    """Kind and place of an exception, whose trace goes to the log."""
    frames = traceback.extract_tb(error.__traceback__)
    place = next((one for one in reversed(frames) if one.filename == PATH), None)
    if isinstance(error, SyntaxError) and error.filename == PATH:
        at = f"{SCRIPT}:{error.lineno}"
    else:
        at = f"{SCRIPT}:{place.lineno}" if place else SCRIPT
    if DETAIL == "full":
        traceback.print_exception(type(error), error, error.__traceback__)
    else:
        lines = [*traceback.format_tb(error.__traceback__), type(error).__name__, "\n"]
        sys.stderr.write("".join(lines))
    sys.stderr.flush()
    return {"kind": type(error).__name__, "at": at}


def plain(value: Any) -> Any:  # noqa: ANN401
    """What numpy, pandas and datetime give, as JSON has it."""
    for name in ("tolist", "isoformat"):
        if hasattr(value, name):
            return getattr(value, name)()
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def encode(answer: object) -> bytes:
    return json.dumps(answer, allow_nan=False, default=plain).encode()


def send(answers: BinaryIO, answer: object) -> None:
    write(answers, encode(answer))


def write(answers: BinaryIO, text: bytes) -> None:
    try:
        answers.write(struct.pack(">I", len(text)) + text)
        answers.flush()
    except BrokenPipeError:  # the server is gone
        os._exit(1)


if __name__ == "__main__":
    main()
