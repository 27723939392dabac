"""What a package costs: its size, how long it takes to answer, and the memory that it takes.

Times are of the model alone, on inputs that are ready: no request is read and nothing is checked.
Candidate and champion take turns, so that a busy machine slows down both. Times and memory depend
on the machine: they are `measured`, and stay out of the verdict's digest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import polars as pl

import gitops.validate.analyses.sample as sample
from gitops import package as packages
from gitops import proc
from gitops.errors import ToolError
from gitops.package import Package
from gitops.validate.model import Array, Cost

BATCH = 1000
SECONDS = 0.4  # for single rows, and again for batches
ROUNDS = 30  # at most
_UNITS = {"single_row_ms": "ms", "batch_ms": "ms", "memory_mib": "MiB"}

# Growth of the resident memory from before the model is loaded to after a batch was answered.
_MEMORY = """
import sys
import numpy
import onnxruntime
def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
before = resident()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.log_severity_level = 4
providers = ["CPUExecutionProvider"]
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=providers)
kinds = {"tensor(float)": numpy.float32, "tensor(double)": numpy.float64}
feed = {
    item.name: numpy.zeros((1000, 1), kinds[item.type])
    if item.type in kinds
    else numpy.full((1000, 1), "", dtype=object)
    for item in session.get_inputs()
}
session.run(None, feed)
print((resident() - before) / 1024)
"""


def cost(
    package: Package, champion: Package | None, inputs: sample.Inputs, seed: int = 0
) -> tuple[Cost, ...]:
    """Bytes always; times and memory of models in ONNX (a champion that isn't has none).

    `inputs`: raw columns of rows that both models take.
    """
    both = [package] if champion is None else [package, champion]
    sizes = [float(sum((one.folder / name).stat().st_size for name in one.files)) for one in both]
    found = [Cost("package_bytes", "B", sizes[0], sizes[1] if champion else None, False)]
    if package.session is None:
        return tuple(found)
    timed = [one for one in both if one.session is not None]
    chosen = sample.choose(len(inputs), BATCH, seed)
    if not len(chosen):
        return tuple(found)
    frame = sample.take(inputs, sample.names(*(one.signature for one in timed)), chosen)
    frame = frame[np.resize(np.arange(frame.height), BATCH)]
    measured = {
        "single_row_ms": _times(timed, frame, 1),
        "batch_ms": _times(timed, frame, BATCH),
        "memory_mib": [_memory(one) for one in timed],
    }
    for name, values in measured.items():
        if values[0] is not None:
            rival = values[1] if len(values) > 1 else None
            found.append(Cost(name, _UNITS[name], values[0], rival, True))  # type: ignore[arg-type]
    return tuple(found)


def _times(models: list[Package], frame: pl.DataFrame, size: int) -> list[float | None]:
    """The median milliseconds of each model for `size` rows."""
    asks = [_ask(one, frame, size) for one in models]
    for ask in asks:
        ask(0)  # the first answer also sets up the memory
    spent: list[list[float]] = [[] for _ in asks]
    end = time.perf_counter() + SECONDS
    inner = max(ROUNDS // size, 1)  # a single row is quicker than the clock's noise
    for turn in range(ROUNDS):
        for ask, times in zip(asks, spent, strict=True):
            begin = time.perf_counter()
            for number in range(inner):
                ask(turn + number)
            times.append((time.perf_counter() - begin) / inner * 1000)
        if time.perf_counter() > end:
            break
    return [median(times) for times in spent]


def _ask(model: Package, frame: pl.DataFrame, size: int) -> Callable[[int], object]:
    feed = packages.tensors(frame, model.signature)
    parts: list[dict[str, Array]] = [
        {name: values[start : start + size] for name, values in feed.items()}
        for start in range(0, min(len(frame), size * ROUNDS), size)
    ]
    session, output = model.session, [model.signature.runtime.output]
    assert session is not None  # noqa: S101
    return lambda number: session.run(output, parts[number % len(parts)])


def _memory(model: Package) -> float | None:
    """MiB in a process of its own; None where the system doesn't tell."""
    path = model.folder / model.signature.runtime.file
    try:
        done = proc.run([sys.executable, "-I", "-c", _MEMORY, str(path)], timeout=60, check=False)
        return max(round(float(done.out), 1), 0.0) if done.code == 0 else None
    except (ToolError, ValueError):
        return None
