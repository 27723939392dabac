"""What code that is there says about the model that it trains. It is read, never run.

A notebook is read line by line: its outputs can be hundreds of megabytes, on one line each.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gitops import jsontext

_LARGEST = 2 << 20  # bytes of a script, or of a notebook that is one line
_LONGEST_LINE = 1 << 16  # a longer line of a notebook is an output
_MOST = 256 << 20  # bytes read of one notebook

_TRAINS = ("fit", "train", "backward")  # code without any of these is not worth parsing

MODEL_SUFFIXES = frozenset(
    [".joblib", ".onnx", ".pt", ".pth", ".keras", ".safetensors", ".cbm", ".skops", ".pmml"]
)
# These also hold data, vectors or settings: other evidence must make a model of them.
MAYBE_SUFFIXES = frozenset([".pkl", ".pickle", ".h5", ".hdf5", ".bin", ".model", ".ubj", ".pb"])
TABLE_SUFFIXES = frozenset([".csv", ".parquet"])

_KINDS = ("regression", "classification", "binary", "multiclass")
_SAYS = {
    "regression": """
        LinearRegression Ridge RidgeCV Lasso LassoCV ElasticNet ElasticNetCV SVR LinearSVR NuSVR
        BayesianRidge PoissonRegressor TweedieRegressor load_diabetes fetch_california_housing
        make_regression MSELoss L1Loss HuberLoss SmoothL1Loss mean_absolute_error
        mean_squared_error root_mean_squared_error mean_absolute_percentage_error r2_score
        median_absolute_error mean_squared_log_error mae mse rmse mape r2 rmsle r_squared
        regression regression_l1 reg:squarederror reg:linear reg:absoluteerror
        neg_mean_squared_error neg_root_mean_squared_error neg_mean_absolute_error""",
    "classification": """
        SVC LinearSVC NuSVC GaussianNB MultinomialNB BernoulliNB LogisticRegression
        LogisticRegressionCV LinearDiscriminantAnalysis make_classification predict_proba
        accuracy_score f1_score precision_score recall_score balanced_accuracy_score log_loss
        confusion_matrix classification_report ConfusionMatrixDisplay accuracy f1 precision recall
        balanced_accuracy logloss StratifiedKFold""",
    "binary": """
        load_breast_cancer roc_auc_score average_precision_score roc_curve precision_recall_curve
        RocCurveDisplay brier_score_loss BCELoss BCEWithLogitsLoss binary_crossentropy roc_auc auc
        pr_auc average_precision brier binary binary:logistic binary:hinge binary_logloss""",
    "multiclass": """
        load_iris load_wine load_digits CrossEntropyLoss categorical_crossentropy
        sparse_categorical_crossentropy multi:softmax multi:softprob multiclass multi_logloss
        mlogloss macro ovr ovo f1_macro roc_auc_ovr macro_f1 OneVsRestClassifier""",
}
_MEANING = {word: kind for kind in _KINDS for word in _SAYS[kind].split()}
_OTHER_LIBRARIES = frozenset(
    (
        *("torch", "tensorflow", "keras", "xgboost", "lightgbm", "catboost", "jax", "statsmodels"),
        *(
            "transformers",
            "prophet",
            "pyspark",
            "fastai",
            "spacy",
            "lightning",
            "pytorch_lightning",
        ),
    )
)
_OTHER_PREFIXES = ("XGB", "LGBM", "CatBoost", "NeuralNet", "Keras")


@dataclass(frozen=True)
class Code:
    """A script or notebook: what of it tells a model's task, file, table and library.

    `words` are those that speak for a task; `writes` and `tables` paths as the code spells them;
    `problem` why it could not be read.
    """

    path: str
    fits: bool = False
    saves: bool = False
    words: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    problem: str = ""

    @property
    def is_notebook(self) -> bool:
        return self.path.endswith(".ipynb")

    @property
    def custom(self) -> bool:
        """Whether what it fits is another library's, so that scikit-learn can't export it."""
        theirs = (*_OTHER_PREFIXES, "Loss")
        ours = any(
            _is_estimator(word) and not word.startswith(theirs) and not word.endswith(theirs)
            for word in self.words
        )
        return bool(self.libraries & _OTHER_LIBRARIES) and not ours


@dataclass(frozen=True)
class Task:
    """What a model predicts, and the words that say so (none: nobody does)."""

    name: str
    words: tuple[str, ...]


def meaning(word: str) -> str | None:
    """The task that an identifier, a metric's name or an objective speaks for."""
    if word in _MEANING:
        return _MEANING[word]
    if word.endswith("Classifier"):
        return "classification"
    return "regression" if word.endswith("Regressor") else None


def task(words: Iterable[str]) -> Task:
    """The task that most of `words` speak for; an estimator counts as much as two metrics."""
    votes: Counter[str] = Counter()
    heard: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for word in sorted(set(words), key=lambda word: (not _is_estimator(word), word)):
        if kind := meaning(word):
            votes[kind] += 2 if _is_estimator(word) else 1
            heard[kind].append(word)
    classes = votes["classification"] + votes["binary"] + votes["multiclass"]
    if votes["regression"] > classes:
        return Task("regression", tuple(heard["regression"]))
    if not classes:
        return Task("binary", ())
    name = "multiclass" if votes["multiclass"] > votes["binary"] else "binary"
    return Task(name, (*heard[name], *heard["classification"]))


def read(root: Path, path: str) -> Code:
    """What the script or notebook `path` of `root` says; one that can't be read says why."""
    file = root / path
    try:
        if file.is_symlink() or not file.is_file():
            return Code(path, problem="it is no plain file")
        if path.endswith(".ipynb"):
            cells = list(_cells(file))
        elif file.stat().st_size > _LARGEST:
            return Code(path, problem=f"it is larger than {_LARGEST >> 20} MB")
        else:
            cells = [file.read_text("utf-8", errors="replace")]
    except OSError as error:
        return Code(path, problem=f"it can't be read: {error.strerror}")
    except ValueError:
        return Code(path, problem="it is no notebook of Jupyter")
    if not any(word in cell for cell in cells for word in _TRAINS):
        return Code(path)
    trees = [tree for tree in map(_parsed, cells) if tree]
    if not trees:
        return Code(path, problem="it is no Python 3")
    return _of(path, trees)


@dataclass
class _Seen:
    names: set[str] = field(default_factory=set)
    libraries: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)


def _of(path: str, trees: Iterable[ast.Module]) -> Code:
    seen = _Seen()
    for tree in trees:
        for node in ast.walk(tree):
            _see(node, seen)
    files = {text for text in seen.texts if not re.search(r"[\s*{}%<>]|://", text)}
    return Code(
        path,
        fits=_fits(seen),
        saves=bool({"dump", "save", "save_model", "save_pretrained"} & seen.called),
        words=frozenset(word for word in seen.names | seen.texts if meaning(word)),
        libraries=frozenset(seen.libraries),
        writes=frozenset(f for f in files if Path(f).suffix in MODEL_SUFFIXES | MAYBE_SUFFIXES),
        tables=frozenset(f for f in files - seen.made if Path(f).suffix in TABLE_SUFFIXES),
    )


def _fits(seen: _Seen) -> bool:
    """`fit`; `train` of a boosting library; a loop of torch."""
    boosts = "train" in seen.called and bool({"xgboost", "lightgbm"} & seen.libraries)
    return "fit" in seen.called or boosts or {"backward", "step"} <= seen.called


def _see(node: ast.AST, seen: _Seen) -> None:
    if isinstance(node, ast.Import):
        seen.libraries |= {alias.name.partition(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
        seen.libraries.add((node.module or "").partition(".")[0])
    elif isinstance(node, ast.Name):
        seen.names.add(node.id)
    elif isinstance(node, ast.Attribute):
        seen.names.add(node.attr)
    elif isinstance(node, ast.Call):
        name = node.func
        if isinstance(name, ast.Attribute | ast.Name):
            called = name.attr if isinstance(name, ast.Attribute) else name.id
            seen.called.add(called)
            if called in ("to_csv", "to_parquet"):
                seen.made |= {str(one.value) for one in node.args if isinstance(one, ast.Constant)}
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) <= 200:
        seen.texts.add(node.value)


def _parsed(text: str) -> ast.Module | None:
    """The syntax tree, without the lines of a notebook that are IPython's (`%time`, `!pip`)."""
    plain = "\n".join("" if re.match(r"\s*[%!?]", line) else line for line in text.splitlines())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in somebody else's strings
            return ast.parse(plain)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _cells(file: Path) -> Iterator[str]:
    """Sources of a notebook's cells (nbformat: a list of lines, or one text).

    Raises:
        ValueError: it is no JSON of that form.
    """
    with file.open("rb") as lines:
        head = lines.read(_LONGEST_LINE)
    if not head.lstrip().startswith(b"{"):
        raise ValueError("no JSON object")
    if file.stat().st_size <= _LARGEST:
        cells = jsontext.loads(file.read_bytes()).get("cells")
        if not isinstance(cells, list):
            raise ValueError("no list of cells")
        for cell in cells:
            if isinstance(cell, dict) and cell.get("cell_type") == "code":
                source = cell.get("source") or ""
                yield "".join(map(str, source)) if isinstance(source, list) else str(source)
        return
    yield from _streamed(file)


def _streamed(file: Path) -> Iterator[str]:
    """The same of a large one as Jupyter writes it: each line of a source is a line of the file."""
    source: list[str] | None = None
    with file.open("rb") as lines:
        while lines.tell() < _MOST and (line := lines.readline(_LONGEST_LINE)):
            text = line.decode("utf-8", errors="replace").strip()
            if source is None:
                source = [] if text == '"source": [' else None
            elif text.startswith("]"):
                yield "".join(source)
                source = None
            else:
                try:
                    source.append(str(jsontext.loads(text.removesuffix(","))))
                except ValueError:
                    source = None


def _is_estimator(word: str) -> bool:
    return word[:1].isupper() and (
        word.endswith(("Classifier", "Regressor", "NB", "SVC", "SVR", "Regression", "Loss"))
        or word.startswith(("Ridge", "Lasso", "ElasticNet"))
    )
