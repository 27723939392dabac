"""`gitops diff`: what two environments, versions or commits have otherwise."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.cli.moves import RemoteOption
from gitops.cli.status import snapshot

if TYPE_CHECKING:
    from gitops.promote.compare import Delta, Difference, Number, Side
    from gitops.signature import Signature

_SHOWN = 20


def register(app: typer.Typer) -> None:
    app.command()(diff)


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="An environment, version or commit.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The other.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Only this model.", show_default=False)
    ] = None,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare code, data, parameters, metrics, what the model takes, and dependencies.

    Environments and versions are the remote's. Metrics come with the intervals of the verdicts on
    record; a model without one shows the numbers of its metrics.json, and that is said.

    Examples:

        gitops diff production staging          what the next promotion brings

        gitops diff late@v1.2.0 late@v1.3.0

        gitops diff production HEAD --model late --json
    """
    from gitops import git
    from gitops.promote import compare
    from gitops.promote import world as worlds

    root, config = open_repository()
    world = worlds.read(root, remote) if remote or git.remotes(root) else None
    if world is None:
        screen.say("there's no git remote: environments are this clone's branches")
    sides = [compare.resolve(root, world, config, name) for name in (old, new)]
    found = compare.difference(
        world, sides[0], sides[1], lambda path, md5: _signature(root, path, md5), model
    )
    if as_json:
        screen.document(_as_json(found))
        return
    _show(found)


def _signature(root: Path, path: str, md5: str) -> Signature:
    """The signature of a package, from the cache or the storage."""
    from gitops import dvc, objects, signature
    from gitops.errors import EvidenceError, ToolError

    with tempfile.TemporaryDirectory(prefix="gitops-package-") as folder:
        try:
            objects.lay_out(root, [dvc.Tracked(path, md5, None, None)], Path(folder))
        except ToolError as error:
            raise EvidenceError(error.message) from error
        return signature.read(Path(folder) / path / "signature.json")


# ---------------------------------------------------------------- what a person sees


def _show(found: Difference) -> None:
    old, new = found.sides
    screen.out(f"{screen.style(_named(old), 'bold')} -> {screen.style(_named(new), 'bold')}")
    for one in found.models:
        versions = " -> ".join(version or "no version" for version in one.versions)
        screen.out()
        screen.out(f"{screen.style(one.model, 'bold')}  {one.state}  {versions}")
        _model(one, found.sides)
    if not found.models:
        screen.out("no model differs")
    if found.along:
        screen.out()
        screen.out("beside the models")
        _lines(found.along)


def _model(one: Delta, sides: tuple[Side, Side]) -> None:
    if one.code:
        screen.out("  code")
        _lines(one.code)
    if one.data:
        screen.out("  data")
        for path, pair in one.data.items():
            screen.out(f"    {path}  {' -> '.join(map(_object, pair))}")
            for side in sides:
                if origin := _origin(side, path):
                    screen.out(f"      {side.name}: {snapshot(origin)}")
    for title, pairs in (
        ("parameters", one.parameters),
        ("features", one.features),
        ("takes and gives", one.contract),
        ("dependencies", one.packages),
    ):
        if pairs:
            screen.out(f"  {title}")
            for name, (before, after) in pairs.items():
                screen.out(f"    {name}  {_value(before)} -> {_value(after)}")
    if one.metrics:
        screen.out("  metrics")
        for number in one.metrics:
            screen.out(f"    {_number(number)}")
    for text in one.unknown:
        screen.out(f"  not known: {text}")


def _origin(side: Side, path: str) -> dict[str, Any] | None:
    """Where a side's table was taken, if its .dvc file says so."""
    from gitops import dvc, yamlfile

    raw = side.at.read([f"{path}.dvc"]).get(f"{path}.dvc")
    return None if raw is None else dvc.origin(yamlfile.parse(raw, Path(f"{path}.dvc")).data)


def _named(side: Side) -> str:
    return f"{side.name} ({side.at.commit[:10]})"


def _lines(files: Mapping[str, tuple[int, int]]) -> None:
    for path, (added, removed) in list(files.items())[:_SHOWN]:
        screen.out(f"    {path}  +{added} -{removed}")
    if len(files) > _SHOWN:
        screen.out(f"    and {len(files) - _SHOWN} more")


def _object(one: tuple[str, int | None] | None) -> str:
    if one is None:
        return "-"
    return one[0][:10] if one[1] is None else f"{one[0][:10]} ({one[1]:,} bytes)"


def _value(one: object) -> str:
    return "-" if one is None else str(one)


def _number(one: Number) -> str:
    parts = []
    for value, interval in zip(one.values, one.intervals, strict=True):
        text = "-" if value is None else f"{value:.4g}"
        parts.append(text + (f" [{interval[0]:.4g}, {interval[1]:.4g}]" if interval else ""))
    text = f"{one.name}  {' -> '.join(parts)}"
    if one.difference is not None:
        estimate, lower, upper, _ = one.difference
        text += f"  difference {estimate:+.4g} [{lower:+.4g}, {upper:+.4g}]"
    words = {
        "metrics.json": "by metrics.json: no verdict on record",
        "both": "one side has no verdict",
    }
    return text + (f"  ({words[one.source]})" if one.source in words else "")


# ---------------------------------------------------------------- what a program sees


def _as_json(found: Difference) -> dict[str, Any]:
    return {
        "sides": [
            {"name": side.name, "commit": side.at.commit, "tree": side.at.tree}
            for side in found.sides
        ],
        "models": [_delta_json(one, found.sides) for one in found.models],
        "along": {path: list(lines) for path, lines in found.along.items()},
    }


def _delta_json(one: Delta, sides: tuple[Side, Side]) -> dict[str, Any]:
    return {
        "model": one.model,
        "state": one.state,
        "versions": list(one.versions),
        "package": [md5 or None for md5 in one.package],
        "code": {path: list(lines) for path, lines in one.code.items()},
        "data": {
            path: [{"md5": item[0], "size": item[1]} if item else None for item in pair]
            for path, pair in one.data.items()
        },
        "sources": {path: [_origin(side, path) for side in sides] for path in one.data},
        **{
            name: {key: list(pair) for key, pair in getattr(one, part).items()}
            for name, part in (
                ("parameters", "parameters"),
                ("features", "features"),
                ("signature", "contract"),
                ("dependencies", "packages"),
            )
        },
        "metrics": [
            {
                "name": number.name,
                "values": list(number.values),
                "intervals": [_interval(part) if part else None for part in number.intervals],
                "difference": _interval(number.difference[1:]) | {"estimate": number.difference[0]}
                if number.difference
                else None,
                "source": number.source,
            }
            for number in one.metrics
        ],
        "unknown": list(one.unknown),
    }


def _interval(one: tuple[float, float, float]) -> dict[str, float]:
    return {"lower": one[0], "upper": one[1], "level": one[2]}
