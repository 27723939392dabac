"""Which models a repository has: from stages of DVC, from model files, else from code that fits."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gitops import jsontext, names
from gitops.scaffold import discover_code, discover_dvc
from gitops.scaffold.discover_code import MAYBE_SUFFIXES, MODEL_SUFFIXES, TABLE_SUFFIXES, Code
from gitops.scaffold.discover_dvc import Stage


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MOST = 50
# Words of file names that say what a file is, not what its model predicts.
_EMPTY = _words("""
    a and the for of my new old last latest final best first copy draft untitled demo example test
    model models modelling modeling train trained training trainer fit fitted clf classifier reg
    regressor estimator pipeline predictor prediction predictions predict main run script notebook
    nb eda exploration exploratory explore analysis data experiment experiments baseline random
    forest rf xgb xgboost lgb lgbm lightgbm catboost gradient boosting logistic linear regression
    classification svm knn nn mlp cnn lstm bert keras torch pytorch tensorflow sklearn scikit learn
    weights checkpoint checkpoints ckpt epoch step export exported saved save src ml ai evaluate
    eval evaluation score metrics build create make tune tuning optimize cv joblib pickle stage
    prepare features feature jupyter python py production prod artifact artifacts output bin""")
# Fitted, saved beside a model, and no model.
_HELPERS = _words("""
    scaler encoder encoders vectorizer tokenizer vocab preprocessor preprocess preprocessing
    transformer imputer tfidf embeddings embedding columns mapping labels index labelencoder pca""")
_TABLES = _words("train test valid validation val dev x y data dataset df raw clean split")
# Folders that say what is in them, not which model it is for.
_SHARED = _words("""
    models model artifacts artifact output outputs notebooks notebook nbs src scripts script code
    results checkpoints weights saved_models bin app lib ml training pipelines pipeline steps data
    experiments research""")
_NOT_OURS = re.compile(
    r"(^|/)(\.[^/]+|tests?|testing|fixtures|docs?|vendor|third_party|site-packages|node_modules"
    r"|venv|env|__pycache__|build|dist)/"
)


@dataclass(frozen=True)
class Found:
    """A model that is there: its folder, what shows it, the code and metrics that tell its task.

    All paths are from the repository's top.
    """

    name: str
    folder: str
    why: str
    code: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    deps: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sources:
    """What is there to judge by: all files, the stages of DVC, and the code, read."""

    files: Sequence[str]
    stages: Sequence[Stage]
    code: Mapping[str, Code]
    project: str


def find(there: Sources) -> list[Found]:
    """Models by their DVC stages, then by their files, then by code; each once, names distinct."""
    found = [*_of_stages(there)]
    known = {path for one in found for path in one.files}
    declared = {path for stage in there.stages for path in stage.outs}
    found += _of_files(there, known | declared)
    fitted = {path for one in found for path in one.code}
    if found:  # code that fits something may be an experiment: only what saves another model counts
        found += _of_code(there, fitted, lambda code: code.saves and _writes_other(code, found))
    else:
        found += _of_code(there, fitted, lambda code: not code.is_notebook)
        found = found or _of_code(there, fitted, lambda code: code.is_notebook)
    merged = _together(found)
    return _distinct([_with_code(one, there, only=len(merged) == 1) for one in merged[:_MOST]])


def folder_of(path: str, packages: frozenset[str] = frozenset()) -> str:
    """The model's own folder, around a file of it: without `models/`, `src/` and such."""
    parts = posixpath.dirname(path).split("/") if "/" in path else []
    if "src" in parts:
        parts = parts[: parts.index("src")]
    while parts and (parts[-1].lower() in _SHARED or "/".join(parts) in packages):
        parts.pop()
    return "/".join(parts) or "."


def is_foreign(path: str) -> bool:
    """Whether it lies among tests, documents, or somebody else's packages."""
    return _NOT_OURS.search(path) is not None


def title(text: str) -> str | None:
    """The words of a file's or folder's name that say what a model is about, as a valid name."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    words = [word for word in re.split(r"[\W_]+", plain.lower()) if word]
    kept = [w for w in words if w not in _EMPTY and not re.fullmatch(r"v?\d+|[a-z]", w)]
    return names.suggest("-".join(kept)) if kept else None


# ---------------------------------------------------------------- the three sources


def _of_stages(there: Sources) -> Iterator[Found]:
    for file in dict.fromkeys(stage.file for stage in there.stages):
        stages = [stage for stage in there.stages if stage.file == file]
        folder = posixpath.dirname(file) or "."
        pairs = [(stage, out) for stage in stages for out in _model_outs(stage)]
        for stage, out in pairs:
            after = [one for one in stages if out in one.deps]
            alone = len(pairs) == 1
            yield Found(
                name=title(_stem(out))
                or title(stage.name)
                or title(_last(folder))
                or there.project,
                folder=folder,
                why=f"{file}: stage {stage.name} writes {out}",
                code=frozenset(_code_of(stage, there)),
                files=(out,),
                metrics=_metrics(stage, after, stages if alone else ()),
                deps=frozenset(_upstream(stage, stages)),
            )
        trains = [stage for stage in stages if stage.trains or _fits(stage, there)]
        if not pairs and trains:
            yield Found(
                name=title(trains[0].name) or title(_last(folder)) or there.project,
                folder=folder,
                why=f"{file}: stage {trains[0].name}",
                code=frozenset(path for stage in trains for path in _code_of(stage, there)),
                metrics=_metrics(trains[0], (), stages),
                deps=frozenset(_upstream(trains[0], stages)),
            )


def _of_files(there: Sources, known: set[str]) -> Iterator[Found]:
    written = {_last(path) for code in there.code.values() for path in code.writes}
    packages = _packages(there)
    for path in there.files:
        tracked = path.removesuffix(".dvc")
        if tracked in known or is_foreign(tracked):
            continue
        if not _is_model_file(tracked, sure=_last(tracked) in written):
            continue
        folder = folder_of(tracked, packages)
        code = [
            one
            for one in there.code.values()
            if _last(tracked) in {_last(path) for path in one.writes}
        ]
        # Code that names it from the top runs there: so do the model's stages.
        at_top = any(posixpath.normpath(path) == tracked for one in code for path in one.writes)
        yield Found(
            name=title(_stem(tracked)) or title(_last(folder)) or there.project,
            folder="." if at_top else folder,
            why=f"{tracked}, tracked by {'DVC' if path != tracked else 'git'}",
            code=frozenset(one.path for one in code),
            files=(tracked,),
        )


def _of_code(there: Sources, fitted: set[str], wanted: Callable[[Code], bool]) -> list[Found]:
    packages = _packages(there)
    found = []
    for code in there.code.values():
        tells = bool(discover_code.task(code.words).words or code.custom)
        if not code.fits or not tells or code.path in fitted or is_foreign(code.path):
            continue
        if wanted(code):
            folder = folder_of(code.path, packages)
            name = title(_stem(code.path)) or _saved_name(code) or title(_last(folder))
            found.append(
                Found(name or there.project, folder, f"{code.path} fits it", frozenset([code.path]))
            )
    return found


def _saved_name(code: Code) -> str | None:
    return next((name for path in sorted(code.writes) if (name := title(_stem(path)))), None)


def _writes_other(code: Code, found: Iterable[Found]) -> bool:
    """Whether the code names a model file that is none of those found."""
    known = {_last(path) for one in found for path in one.files}
    written = {_last(path) for path in code.writes if _is_model_file(path, sure=True)}
    return bool(written - known) and not written & known


# ---------------------------------------------------------------- what belongs to a model


def _with_code(one: Found, there: Sources, *, only: bool) -> Found:
    """`one` with the code of its folder, or (`only`: the one model) all code, if it has none."""
    code = one.code or frozenset(
        code.path
        for code in there.code.values()
        if code.fits
        and not is_foreign(code.path)
        and (only or (one.folder != "." and code.path.startswith(f"{one.folder}/")))
    )
    metrics = one.metrics or tuple(
        path
        for path in there.files
        if path == posixpath.normpath(posixpath.join(one.folder, "metrics.json"))
    )
    return replace(one, code=code, metrics=metrics)


def _together(found: Iterable[Found]) -> list[Found]:
    """Those of one name and folder are one model: `model.pkl` and `model.onnx`, two notebooks."""
    merged: dict[tuple[str, str], Found] = {}
    for one in found:
        first = merged.get((one.folder, one.name))
        merged[one.folder, one.name] = (
            replace(
                first,
                code=first.code | one.code,
                files=(*first.files, *one.files),
                metrics=tuple(dict.fromkeys([*first.metrics, *one.metrics])),
                deps=first.deps | one.deps,
            )
            if first
            else one
        )
    return list(merged.values())


def _distinct(found: Iterable[Found]) -> list[Found]:
    taken: set[str] = set()
    done = []
    for one in found:
        name, at = one.name, 2
        folder = title(_last(one.folder))
        if name in taken and folder and folder not in name:
            name = names.suggest(f"{folder}-{name}")
        stem = name[: names.LENGTH - 4].rstrip("-")
        while name in taken:
            name, at = f"{stem}-{at}", at + 1
        taken.add(name)
        done.append(replace(one, name=name))
    return done


def _metrics(stage: Stage, after: Iterable[Stage], rest: Iterable[Stage]) -> tuple[str, ...]:
    """Metrics of the stage, else of those that use its model, else (the only one) of any."""
    for several in ([stage], after, rest):
        if found := [path for one in several for path in one.metrics]:
            return tuple(dict.fromkeys(found))
    return ()


def _code_of(stage: Stage, there: Sources) -> list[str]:
    """The files that it names; else those in the folders that it depends on."""
    return discover_dvc.scripts(stage, there.code) or [
        path for path in there.code if any(path.startswith(f"{dep}/") for dep in stage.deps)
    ]


def _fits(stage: Stage, there: Sources) -> bool:
    return any(there.code[path].fits for path in discover_dvc.scripts(stage, there.code))


def _upstream(stage: Stage, stages: Sequence[Stage]) -> set[str]:
    """What the stage depends on, and the stages that make that, in turn."""
    deps: set[str] = set()
    waiting = list(stage.deps)
    while waiting:
        dep = waiting.pop()
        if dep not in deps:
            deps.add(dep)
            waiting += [more for one in stages if dep in one.outs for more in one.deps]
    return deps


def tables(one: Found, there: Sources) -> list[str]:
    """Raw tables that it may be trained on: read by its code or stages, written by none."""
    made = {path for stage in there.stages for path in stage.outs}
    own = [path.removesuffix(".dvc") for path in there.files]
    raw = [p for p in dict.fromkeys(own) if posixpath.splitext(p)[1] in TABLE_SUFFIXES]
    raw = [path for path in raw if path not in made and not is_foreign(path)]
    if used := [path for path in raw if path in one.deps]:
        return used
    named = {_last(path) for code in one.code for path in there.code[code].tables}
    return [path for path in raw if _last(path) in named]


def metric_words(text: str) -> tuple[str, ...]:
    """Names of metrics in a JSON file, as code spells them; nothing if it is no such file."""
    try:
        data = jsontext.loads(text)
    except ValueError:
        return ()
    return tuple(re.sub(r"[^a-z0-9]+", "_", str(key).lower()) for key in _keys(data, 4))


def _keys(data: object, depth: int) -> Iterator[str]:
    for key, value in data.items() if isinstance(data, dict) and depth else ():
        yield key
        yield from _keys(value, depth - 1)


# ---------------------------------------------------------------- what a path says


def _model_outs(stage: Stage) -> list[str]:
    outs = [out for out in stage.outs if _is_model_out(out, stage)]
    exact = [out for out in outs if posixpath.splitext(out)[1] in MODEL_SUFFIXES | MAYBE_SUFFIXES]
    return exact or outs


def _is_model_out(path: str, stage: Stage) -> bool:
    """Also a folder, and a file of any kind: if the path or the stage speaks of a model."""
    suffix = posixpath.splitext(path)[1]
    if suffix in MODEL_SUFFIXES | MAYBE_SUFFIXES:
        return _is_model_file(path, sure=stage.trains and not path.startswith("data/"))
    return suffix in ("", ".json", ".txt") and bool(re.search(r"model", path)) and stage.trains


def _is_model_file(path: str, *, sure: bool) -> bool:
    """By its suffix; of the ambiguous ones only (`sure`: or) where a name speaks of a model."""
    suffix = posixpath.splitext(path)[1].lower()
    words = set(re.split(r"[^a-z0-9]+", _stem(path).lower()))
    if words & _HELPERS:
        return False
    if suffix in MODEL_SUFFIXES:
        return True
    speaks = bool(re.search(r"model|clf|classifier|regressor|estimator|pipeline", path.lower()))
    return suffix in MAYBE_SUFFIXES and (speaks or sure) and not words <= _TABLES


def _packages(there: Sources) -> frozenset[str]:
    """Folders that are Python packages."""
    return frozenset(posixpath.dirname(p) for p in there.files if _last(p) == "__init__.py")


def _stem(path: str) -> str:
    return _last(path).partition(".")[0]


def _last(path: str) -> str:
    return posixpath.basename(path)
