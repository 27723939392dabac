"""What is missing on this machine and in this repository, each with the fix."""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path, PurePosixPath

from gitops import __version__, config, dvc, dvclock, dvcremote, git, pipelines, proc, serve, uv
from gitops.errors import GitopsError
from gitops.finding import Finding
from gitops.git import graph, program
from gitops.image import names
from gitops.scaffold import lock, usable
from gitops.setup import tools

_ENOUGH_BYTES = 2 << 30


def examine(cwd: Path) -> tuple[Finding, ...]:
    """All checks; those of the repository are left out where there's none."""
    findings = list(_machine(cwd))
    try:
        root = git.root(cwd)
    except GitopsError as error:
        return (*findings, Finding("repository", "warn", error.message, error.fix))
    return (*findings, *_repository(root))


def _machine(cwd: Path) -> Iterator[Finding]:
    yield Finding("gitops", "ok", __version__)
    yield _try("git", program.require, program.version)
    yield _try(
        "git identity", lambda: program.require_identity(cwd), lambda: "name and e-mail are set"
    )
    yield _try("uv", uv.binary, lambda: proc.run([uv.binary(), "--version"]).out.split()[1])
    missing = [name for name in serve.EXTRA if util.find_spec(name) is None]
    yield Finding(
        "serving",
        "warn" if missing else "ok",
        f"gitops serve and gitops deploy need {', '.join(missing)}"
        if missing
        else "what it needs is installed",
        "install gitops-ml[serve]" if missing else "",
    )
    free = shutil.disk_usage(cwd).free
    enough = free > _ENOUGH_BYTES
    yield Finding(
        "disk",
        "ok" if enough else "warn",
        f"{free / (1 << 30):.1f} GiB free",
        "" if enough else "free some space",
    )


def _repository(root: Path) -> Iterator[Finding]:
    here = None
    try:
        here = git.head(root)
        detail = f"on {here.branch}" if here.branch else "HEAD is detached"
        yield Finding(
            "checkout",
            "ok" if here.branch else "warn",
            detail,
            "" if here.branch else "git switch main",
        )
    except GitopsError as error:
        yield Finding("checkout", "fail", error.message, error.fix)
    if git.is_shallow(root):
        yield Finding(
            "history",
            "warn",
            "this clone is shallow: older revisions can't be verified",
            "git fetch --unshallow",
        )
    try:
        declared = config.load(root)
    except GitopsError as error:
        yield Finding("gitops.yaml", "fail", str(error).partition("\n  fix: ")[0], error.fix)
        return
    yield Finding(
        "gitops.yaml",
        "ok",
        f"models: {len(declared.models)}, environments: {len(declared.environments)}",
    )
    yield from _storage(root, declared)
    yield from _python(root)
    yield from _branches(root, declared)
    yield from _pipelines(root, declared)
    yield from _workflows(root, declared)
    yield from tools.findings(declared)
    yield from _targets(declared)


def _storage(root: Path, declared: config.Config) -> Iterator[Finding]:
    try:
        remote = dvcremote.preflight(root)
    except GitopsError as error:
        yield Finding("storage", "fail", error.message, error.fix)
        return
    yield Finding("storage", "ok", f"{dvcremote.shown(remote.url)} can be reached")
    wanted = declared.storage.remote
    # A folder is absolute in .dvc/config, so that clones elsewhere find it: its kind counts.
    agree = (
        remote.is_folder if declared.storage.kind == "folder" else remote.url == wanted.rstrip("/")
    )
    if not agree:
        yield Finding(
            "storage",
            "warn",
            f"gitops.yaml says {wanted}, DVC uses {dvcremote.shown(remote.url)}",
            f"dvc remote modify {remote.name} url {wanted}, or change gitops.yaml",
        )
    if remote.options.get("verify", "").lower() != "true":
        yield Finding(
            "storage",
            "fail",
            "DVC trusts what the remote hands out: corrupt objects go unnoticed",
            f"dvc remote modify {remote.name} verify true",
        )
    hosted = declared.ci and "default" not in declared.runners
    if remote.is_folder and hosted and git.remotes(root):
        yield Finding(
            "storage",
            "warn",
            "a hosted runner can't reach a folder on this machine",
            "use s3:// or azure:// storage, or runners of your own that see the folder",
        )


def _targets(declared: config.Config) -> Iterator[Finding]:
    """What deploying will ask for, and gitops.yaml doesn't say."""
    kinds = {one.deploy.target for one in declared.models.values()} - {"local"}
    if kinds:
        try:
            names.registry(declared)
        except GitopsError as error:
            yield Finding("targets", "warn", error.message, error.fix)
    settings, provisioned = declared.targets.kubernetes, declared.infrastructure
    if "kubernetes" not in kinds or (provisioned and provisioned.components.aks is not None):
        return
    known = settings.contexts if settings else {}
    for one in declared.environments[1:]:  # nothing is ever assigned to the first
        if one.name not in known:
            yield Finding(
                "targets",
                "warn",
                f"no cluster is known for {one.name}",
                f"write `targets: {{kubernetes: {{contexts: {{{one.name}: NAME}}}}}}`",
            )


def _python(root: Path) -> Iterator[Finding]:
    if not (root / "uv.lock").is_file():
        yield Finding(
            "environment",
            "warn",
            "no uv.lock: stages run in whatever is on PATH",
            uv.to_lock(root),
        )
        return
    done = proc.run([uv.binary(), "lock", "--check", "--offline", "--quiet"], cwd=root, check=False)
    # A lock that fits needs no network and no cache, save where metadata is elsewhere.
    text = (root / "pyproject.toml").read_text("utf-8", errors="replace")
    if done.code and "[tool.uv.sources]" not in text and "dynamic =" not in text:
        yield Finding("environment", "fail", "uv.lock doesn't fit pyproject.toml", "uv lock")
    found = proc.run([uv.binary(), "python", "find", "--offline"], cwd=root, check=False)
    fixed = (root / ".python-version").is_file()
    wanted = (root / ".python-version").read_text("utf-8").strip() if fixed else ""
    if not fixed:
        yield Finding(
            "environment",
            "warn",
            "no .python-version: each machine takes the Python that it has",
            "uv python pin, or gitops add packaging",
        )
    elif found.code:
        yield Finding(
            "environment",
            "fail",
            f"Python {wanted} isn't on this machine",
            f"uv python install {wanted}",
        )
    else:
        yield Finding("environment", "ok", f"Python {wanted}")


def _branches(root: Path, declared: config.Config) -> Iterator[Finding]:
    known = git.branches(root)
    absent = [
        one.branch
        for one in declared.environments
        if one.branch not in known and f"origin/{one.branch}" not in known
    ]
    if absent:
        # In a clone of one branch, or a shallow one, they may well be where it came from.
        remotes = git.remotes(root)
        fix = "; ".join(f"git branch {name}" for name in absent)
        if remotes:
            both = " ".join(f"{name}:{name}" for name in absent)
            push = f"git push {remotes[0]} {' '.join(absent)}"
            fix = f"git fetch {remotes[0]} {both}; if there are none: {fix}; {push}"
        detail = f"no branch {', '.join(absent)}"
        yield Finding("branches", "warn" if remotes else "fail", detail, fix)
        return
    names = {one.branch: (one.branch, f"origin/{one.branch}") for one in declared.environments}
    files = {
        branch: [f"{known[name]}:{config.FILE}" for name in both if name in known]
        for branch, both in names.items()
    }
    there = graph.contents(root, {file for both in files.values() for file in both})
    if without := [branch for branch, both in files.items() if there.keys().isdisjoint(both)]:
        yield Finding(
            "branches",
            "warn",
            f"no {config.FILE} on {', '.join(without)}: nothing is promoted there",
            f"merge the commit that brought {config.FILE} into each, once",
        )
    else:
        yield Finding("branches", "ok", ", ".join(files))


def _workflows(root: Path, declared: config.Config) -> Iterator[Finding]:
    """Those that an adopted repository will have: written by sync as soon as they would work."""
    if not (root / lock.PATH).is_file():
        return
    try:
        known = lock.read(root / lock.PATH).files
        wanted = [PurePosixPath(path) for path, _ in pipelines.render(declared, root)]
    except GitopsError as error:
        yield Finding("workflows", "fail", error.message, error.fix)
        return
    for path in wanted:
        if path in known and known[path].kept:
            move = f"git mv {path} {path.with_stem(f'own-{path.stem}')}, then gitops sync"
            detail = f"{path} is yours, so that of gitops isn't written, which other commands start"
            yield Finding("workflows", "warn", detail, move)
    if left := [path for path in wanted if path not in known]:
        lacks = usable.lacks(root, declared)
        without = f": they would fail without {', '.join(lacks)}" if lacks else ""
        fix = "once these are there: gitops sync" if lacks else "gitops sync"
        if "build.env" in lacks:
            fix = f"gitops add packaging makes build.env; {fix}"
        yield Finding("workflows", "warn", f"{len(left)} aren't written yet{without}", fix)


def _pipelines(root: Path, declared: config.Config) -> Iterator[Finding]:
    locked = (root / "uv.lock").is_file()
    for name, model in declared.models.items():
        pipeline = root / model.path / "dvc.yaml"
        package = f"gitops add packaging {name}"
        try:
            if not pipeline.is_file():
                yield Finding(f"model {name}", "fail", f"{pipeline} isn't there", package)
                continue
            if not (file := pipeline.with_name("dvc.lock")).is_file():
                yield Finding(f"model {name}", "warn", "never built", f"gitops build {name}")
            elif dvclock.names_output(file.read_bytes(), model.package):
                yield Finding(f"model {name}", "ok", "built")
            elif model.package in pipeline.read_text("utf-8", errors="replace"):
                yield Finding(f"model {name}", "warn", "never built", f"gitops build {name}")
            else:
                detail = f"no stage of {pipeline} makes its package, {model.package}"
                yield Finding(f"model {name}", "fail", detail, package)
            if locked and (stages := dvc.outside_the_lock(pipeline)):
                yield _outside(name, stages, model.path)
            yield from _artifact(name, model.package, pipeline)
        except GitopsError as error:
            yield Finding(f"model {name}", "fail", error.message, error.fix or "mend the file")


def _outside(model: str, stages: tuple[str, ...], folder: str) -> Finding:
    top = "../" * len(PurePosixPath(folder).parts)
    return Finding(
        f"model {model}",
        "warn",
        f"{', '.join(stages)}: runs the Python on PATH, not the locked one, so nothing says that it"
        " rebuilds",
        f"in {folder}/dvc.yaml write `uv run --locked --env-file {top}build.env python` in cmd",
    )


def _artifact(model: str, package: str, pipeline: Path) -> Iterator[Finding]:
    """What dvc.yaml declares under the model's name is the model's package."""
    declared = dvc.read_yaml(pipeline).get("artifacts")
    found = declared.get(model) if isinstance(declared, dict) else None
    path = found.get("path") if isinstance(found, dict) else None
    if found is not None and (not isinstance(path, str) or posixpath.normpath(path) != package):
        yield Finding(
            f"artifact {model}",
            "warn",
            f"{pipeline} declares it as {path}, and the model's package is {package}:"
            " DVC and GTO would hand out something else",
            f"under artifacts: {model}: in dvc.yaml write `path: {package}`",
        )


def _try(check: str, probe: Callable[[], object], detail: Callable[[], str]) -> Finding:
    try:
        probe()
        return Finding(check, "ok", detail())
    except GitopsError as error:
        return Finding(check, "fail", error.message, error.fix)
