"""Are two builds of the same commit the same: by bytes, by parameters, or by predictions?"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from gitops import dvc, onnxfile, package
from gitops.package import Package

LEVELS = ("bytes", "parameters", "predictions")


@dataclass(frozen=True)
class Difference:
    """A file that came out different: its path, and the two MD5s (or `missing`)."""

    path: str
    recorded: str
    rebuilt: str


@dataclass(frozen=True)
class Parameters:
    """Two packages on the level of their parameters.

    `structure` is the first difference that isn't a number's size, or empty; `largest` the largest
    absolute difference of a parameter; `detail` says both in words.
    """

    equal: bool
    structure: str
    largest: float
    detail: str


@dataclass(frozen=True)
class Comparison:
    """`level` is the strongest level on which both agree, or `none`; `detail` says what differs."""

    level: str
    differences: tuple[Difference, ...]
    detail: str

    def holds(self, wanted: str) -> bool:
        """Whether the agreement is at least as strong as `wanted`."""
        return self.level in LEVELS[: LEVELS.index(wanted) + 1]


def compare(
    items: tuple[dvc.Tracked, ...],
    rebuilt: Path,
    original: Path,
    packages: tuple[str, str],
    tolerance: float,
) -> Comparison:
    """Compare the outputs `items` (hashes of dvc.lock) with what lies in the folder `rebuilt`.

    `original` holds the recorded outputs as far as the remote had them; `packages` are the paths of
    the model package and of the evaluation in both folders; `tolerance` is the largest absolute
    difference of a score (or of a regression's prediction).
    """
    differences = tuple(
        difference
        for item in items
        for difference in _differences(item, rebuilt / item.path, original / item.path)
    )
    if not differences:
        return Comparison("bytes", (), "every output has the recorded bytes")
    if not all((original / path).is_dir() for path in packages):
        return Comparison(
            "none", differences, "the recorded package isn't in the remote: bytes only"
        )
    pack, table = packages
    found = parameters(package.read(original / pack), package.read(rebuilt / pack))
    apart, scored = _predictions_apart(original / table, rebuilt / table)
    if found.equal and apart == 0.0:
        return Comparison(
            "parameters", differences, "the model's parameters and predictions are equal"
        )
    if apart <= tolerance:
        return Comparison(
            "predictions", differences, f"{scored} predictions agree within {apart:.2g}"
        )
    gap = (
        f"by up to {apart:.3g} (tolerance {tolerance:g})"
        if isfinite(apart)
        else "in rows or labels"
    )
    detail = f"{found.detail}; predictions differ {gap}"
    return Comparison("none", differences, detail)


def parameters(one: Package, two: Package) -> Parameters:
    """Are these the same model, apart from names, metadata and the order of nodes in the file?

    A declared command keeps its parameters elsewhere, so those are never called equal.
    """
    left, right = one.signature, two.signature
    changed = [name for name in vars(left) if getattr(left, name) != getattr(right, name)]
    if changed:
        structure = f"the signatures differ in {', '.join(changed)}"
        return Parameters(False, structure, 0.0, structure)
    if left.runtime.kind == "command":
        structure = "the parameters of a declared command can't be compared"
        return Parameters(False, structure, 0.0, structure)
    name = left.runtime.file
    found = onnxfile.difference(one.folder / name, two.folder / name)
    if found.structure:
        return Parameters(
            False, found.structure, found.largest, f"the models differ: {found.structure}"
        )
    if found.largest:
        detail = f"parameters differ by up to {found.largest:.3g}, in {found.at}"
        return Parameters(False, "", found.largest, detail)
    return Parameters(True, "", 0.0, "all parameters are equal")


def _differences(item: dvc.Tracked, rebuilt: Path, original: Path) -> list[Difference]:
    if not rebuilt.exists():
        return [Difference(item.path, item.md5, "missing")]
    now = dvc.hash_of(rebuilt)
    if now == item.md5:
        return []
    if not (rebuilt.is_dir() and original.is_dir()):
        return [Difference(item.path, item.md5, now)]
    before, after = _files(original), _files(rebuilt)
    return [
        Difference(f"{item.path}/{name}", before.get(name, "missing"), after.get(name, "missing"))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): dvc.file_md5(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


def _predictions_apart(original: Path, rebuilt: Path) -> tuple[float, int]:
    """Largest absolute difference of the numbers (infinite if rows, labels or decisions differ)."""
    import polars as pl

    one, two = (
        pl.read_parquet(folder / "predictions.parquet").sort("id") for folder in (original, rebuilt)
    )
    numbers = [name for name, kind in one.schema.items() if kind.is_float()]
    same = one.schema == two.schema and one.height == two.height
    if not same or not one.drop(numbers).equals(two.drop(numbers)):
        return float("inf"), one.height
    gaps = [(one[name] - two[name]).abs().max() for name in numbers]
    return max((float(gap) for gap in gaps if isinstance(gap, float)), default=0.0), one.height
