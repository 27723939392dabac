"""`gitops gc`: stored objects that nothing needs any more."""

from __future__ import annotations

from typing import Annotated

import typer

from gitops.cli import screen
from gitops.cli.common import JsonOption, open_repository
from gitops.cli.moves import RemoteOption

_SHOWN = 10


def register(app: typer.Typer) -> None:
    app.command()(gc)


def gc(
    apply: Annotated[
        bool, typer.Option("--apply", help="Delete them; without it they are only listed.")
    ] = False,
    days: Annotated[
        int,
        typer.Option(
            "--keep-days",
            min=1,
            help="Keep what branches needed in the last days, and objects younger than 7.",
        ),
    ] = 90,
    remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """List, or delete, the objects in the storage that no environment, tag or recent branch needs.

    Kept is what any tag needs, and every state that a release branch ever had, so that each
    rollback stays possible. If anything that is kept can't be read, nothing is deleted.

    Examples:

        gitops gc                       what would go, and how large it is

        gitops gc --apply --keep-days 30
    """
    from gitops.promote import gc as engine
    from gitops.promote import keep
    from gitops.promote import world as worlds

    root, config = open_repository()
    kept = keep.commits(worlds.read(root, remote), config, days)
    found = engine.unneeded(root, kept, screen.say)
    jobs = engine.old_jobs(root)
    gone = engine.delete(root, found, screen.say) if apply else ()
    if apply:
        engine.delete_jobs(root, jobs)
    if as_json:
        screen.document(
            {
                "commits": len(kept),
                "unneeded": [
                    {"md5": one.md5, "size": one.size, "modified": one.modified.isoformat()}
                    for one in found
                ],
                "deleted": [one.md5 for one in gone],
                "jobs": [one.id for one in jobs],
            }
        )
        return
    if jobs:
        word = "deleted" if apply else "would go, too:"
        screen.out(f"{word} {len(jobs)} mailboxes of jobs that ended long ago")
    if not found:
        screen.out(f"everything in the storage is needed by one of {len(kept)} commits, or young")
        return
    for one in found[:_SHOWN]:
        screen.out(f"  {one.md5}  {one.size:>13,} bytes  {one.modified:%Y-%m-%d}")
    if len(found) > _SHOWN:
        screen.out(f"  and {len(found) - _SHOWN} more")
    size = sum(one.size for one in found)
    if apply:
        screen.out(f"deleted {len(gone)} of {len(found)} objects")
    else:
        screen.out(f"{len(found)} objects, {size:,} bytes: gitops gc --apply deletes them")
