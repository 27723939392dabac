"""`gitops upgrade`: the tool, its lock, the pins of actions, and overlays, as one commit."""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gitops import __version__, git, proc, uv
from gitops.errors import AnswerNo, UsageError
from gitops.scaffold import apply, journal, overlay, sync
from gitops.scaffold import lock as locks
from gitops.scaffold.lock import Lock
from gitops.scaffold.plan import Plan

_LOCK_OF_WHEEL = "gitops/_content/requirements/tool.txt"
_ACTION = re.compile(rb"uses: ([\w./-]+)@([0-9a-f]{40})(?: +# (\S+))?")


@dataclass(frozen=True)
class Upgraded:
    """What moved, in words; the plan; and the commit, if there is one."""

    moved: tuple[str, ...]
    plan: Plan
    commit: str | None


def upgrade(
    root: Path,
    *,
    accept_moved: bool,
    commit: bool,
    dry_run: bool,
    say: Callable[[str], None],
) -> Upgraded:
    """Move the repository to the running version of gitops, and its overlays to their newest.

    Raises:
        AnswerNo: the work tree isn't clean, or a tag has moved.
        GitopsError: as `sync`; or an overlay can't be reached.
    """
    apply.recover(root, git.private_to_tree(root) / "apply")
    if dirty := git.changes(root):
        fix = "commit or stash them, then say it again"
        if sync.waits(root):
            fix += "; what a sync or an upgrade wrote is taken back by `gitops sync --abort`"
        raise AnswerNo(
            "\n  ".join(["the work tree has changes, and an upgrade is a commit:", *dirty[:10]]),
            fix=fix,
        )
    before = locks.read(root / locks.PATH)
    with ExitStack() as stack:
        news = _news(before, accept_moved, say, stack)
        plan = sync.survey(root, news)
        moved = _moved(root, before, news, plan)
        if dry_run or not (plan.changes or plan.conflicts):
            return Upgraded(moved if plan.changes else (), plan, None)
        say("writing")
        done = sync.sync(root, news)
    if done.plan.conflicts or not commit:
        return Upgraded(moved, done.plan, None)
    return Upgraded(moved, done.plan, git.commit(root, _message(before, moved)))


def by_wheel(wheel: Path, root: Path, arguments: Sequence[str], say: Callable[[str], None]) -> int:
    """Let the gitops of a wheel do the upgrade, in an environment of its own; its exit code.

    What the wheel depends on is installed by the hashes that it carries.

    Raises:
        UsageError: it's no wheel of gitops.
        ToolError: a dependency can't be had.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            requirements = archive.read(_LOCK_OF_WHEEL)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{wheel} is no wheel of gitops-ml: {error}", fix="--to dist/gitops_ml-VERSION-....whl"
        ) from error
    with tempfile.TemporaryDirectory(prefix="gitops-upgrade-") as temporary:
        pinned = Path(temporary) / "requirements.txt"
        pinned.write_bytes(requirements)
        say(f"setting up {wheel.name}")
        binary = uv.environment_of(Path(temporary) / "env", pinned, wheel.resolve())
        return proc.attached([str(binary), "upgrade", *arguments], cwd=root)


def _news(
    before: Lock, accept_moved: bool, say: Callable[[str], None], stack: ExitStack
) -> sync.News:
    used, fresh = [], {}
    for one in before.generators:
        if not overlay.is_overlay(one) or one.origin is None:
            used.append(one)
            continue
        origin = overlay.origin_of(one)
        say(f"asking {origin.text}")
        overlay.require_unmoved(origin, accept=accept_moved)
        found, now = stack.enter_context(overlay.opened(origin))
        if found.name != one.name:
            raise AnswerNo(
                f"the overlay {one.name} from {origin.text} calls itself {found.name} now",
                fix=f"gitops add generator {origin.text}, and take {one.name} away",
            )
        used.append(overlay.pin(found, now))
        fresh[one.name] = found.folder
    return sync.News(tuple(used), before.answers, fresh, repack=True)


def _moved(root: Path, before: Lock, news: sync.News, plan: Plan) -> tuple[str, ...]:
    """What is other than before, each in a line."""
    lines = []
    if before.tool != __version__:
        lines.append(f"gitops {before.tool} -> {__version__}")
    elif any(str(entry.file.path).startswith(".gitops/tool/") for entry in plan.changes):
        lines.append(f"gitops {__version__}, packed anew")
    for old, new in zip(before.generators, news.generators, strict=True):
        if old.digest != new.digest:
            at = [str(one.commit or one.digest)[:12] for one in (old, new)]
            wanted = f" ({new.wanted})" if new.wanted else ""
            lines.append(f"{new.name} from {new.origin}{wanted}: {at[0]} -> {at[1]}")
    pins: dict[str, str] = {}
    for entry in plan.changes:
        if entry.file.path.suffix in (".yml", ".yaml") and entry.state in ("update", "marked"):
            old_pins = _actions(journal.look(root / entry.file.path).content or b"")
            for action, now in _actions(entry.file.content).items():
                if old_pins.get(action, now) != now:
                    pins[action] = f"{action} {old_pins[action]} -> {now}"
    return (*lines, *(pins[action] for action in sorted(pins)))


def _actions(workflow: bytes) -> dict[str, str]:
    return {
        action.decode(): (tag or commit[:12]).decode()
        for action, commit, tag in _ACTION.findall(workflow)
    }


def _message(before: Lock, moved: Sequence[str]) -> str:
    title = (
        f"Upgrade gitops to {__version__}"
        if before.tool != __version__
        else "Bring generated files up to date"
    )
    return "\n".join([title, "", *moved] if moved else [title])
