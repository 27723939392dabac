"""From one revision of a generator to the next: answers renamed, files moved. Data, no code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from gitops.scaffold.render import render_paths

if TYPE_CHECKING:
    from gitops.scaffold.generator import Generator, Migration
    from gitops.scaffold.lock import Lock

Answers = dict[str, object]
Moved = dict[PurePosixPath, PurePosixPath | None]


def migrate(
    generators: Iterable[Generator], before: Lock
) -> tuple[Answers, dict[str, Answers], Moved]:
    """The answers and those of added models as they are named today, and where files belong now.

    Raises:
        ConfigError: a migration's path can't be rendered from the answers.
    """
    revisions = {used.name: used.revision for used in before.generators}
    answers = dict(before.answers)
    models = {name: dict(own) for name, own in before.models.items()}
    moved: Moved = {}
    for generator in generators:
        known = revisions.get(generator.name, generator.revision)
        for migration in generator.migrations:
            if migration.to > known:
                _answers(migration, [answers, *models.values()], first=answers)
                _moves(generator, migration, {**answers, **before.applied}, before, moved)
    return answers, models, moved


def _answers(migration: Migration, all_answers: Iterable[Answers], first: Answers) -> None:
    for answers in all_answers:
        for old, new in migration.rename.items():
            if old in answers:
                value = answers.pop(old)
                answers.setdefault(new, value)
    for name, value in migration.set.items():
        first.setdefault(name, value)


def _moves(
    generator: Generator,
    migration: Migration,
    context: Mapping[str, object],
    before: Lock,
    moved: Moved,
) -> None:
    texts = [*migration.delete, *(text for pair in migration.move for text in pair)]
    at = render_paths(generator, texts, context)
    # A file that an earlier migration moved is now where that one put it.
    now = {moved.get(path, path): path for path, file in before.files.items()}
    for path, origin in now.items():
        if path is None or before.files[origin].generator != generator.name:
            continue
        for text in migration.delete:
            if _is_or_in(path, at[text]):
                moved[origin] = None
        for old, new in migration.move:
            if _is_or_in(path, at[old]):
                moved[origin] = at[new] / path.relative_to(at[old])


def _is_or_in(path: PurePosixPath, place: PurePosixPath) -> bool:
    return path == place or place in path.parents
