"""What a single column looks like: the guesses that `roles` puts together.

A guess is made from facts (type, distinct values, range) and from the words of the column's name.
Every one can be overridden, so they aim at being right on common tables and easy to explain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from gitops.rows import label_text
from gitops.scaffold.table import Kind, Table, as_number, kind

MAX_CLASSES = 100
MAX_CATEGORIES = 1000
_PAIRS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"})
_WORDS = sorted(set().union(*_PAIRS))
_INDEX = (
    r"unnamed( \d+)?|index|level \d+|index level \d+|row( (num|number|no|nr|id|names?))?|rownames?"
)
_ID_WORDS = {"id", "ids", "uuid", "guid", "key", "pk", "identifier", "code", "ref", "reference"}
_NUMBERING = {"no", "nr", "num", "number", "nummer", "instant", "record", "sample", "seq"}
_ID_TEXT = r"^[A-Za-z0-9_-]{0,63}\d[A-Za-z0-9_-]{0,63}$"
_GROUP = (
    r"(patient|customer|client|user|account|subject|household|store|shop|member|person|participant|"
    r"employee|student|driver|device|machine|engine|unit|session|company|merchant|kunde|kunden|"
    r"patienten|geraet|cliente|usuario|magasin)( (id|no|nr|nbr|num|number|key|code|ref|uuid))?"
)
_BIRTH = r"(date of birth|birth ?(date|day|year)|year of birth|dob|born|geburtsdatum|geboren.*)"
_TIME_WORDS = ("timestamp", "datetime", "date", "time", "created", "at", "day", "datum", "fecha")
_LATE_WORDS = {
    "due",
    "end",
    "expiry",
    "expires",
    "updated",
    "modified",
    "last",
    "closed",
    "dropoff",
}
_LATE_WORDS |= {"arrival", "delivered", "delivery", "returned", "finished", "stop", "next"}
_PERSON = r"(patient|customer|client|person|applicant|user|driver|employee|subject|respondent)"
_SENSITIVE = (
    r"(.* )?(sex|gender|ethnic|ethnicity|religion|religious|nationality|citizenship|disability|"
    r"disabled|marital|sexual|pregnant|pregnancy|geschlecht|nationalität|staatsangehörigkeit|"
    r"familienstand|behinderung|sexe|nationalité|sexo|género|religión|nacionalidad|raza|etnia|"
    r"sesso|nazionalità|gênero|raça)( .*)?"
    rf"|({_PERSON} )?(age|race|alter|âge|edad|età|idade)"
    r"( (group|band|range|bucket|years?|category|cat))?"
    rf"|native country|(country|place) of birth|birth (country|place)|{_BIRTH}"
)
_COUNTED = {"count", "cnt", "counts", "n", "num", "number", "qty", "quantity", "amount", "total"}
_COUNTED |= {
    "price",
    "cost",
    "sales",
    "demand",
    "age",
    "days",
    "hours",
    "minutes",
    "seconds",
    "years",
}
_COUNTED |= {"year", "children", "rooms", "bathrooms", "bedrooms", "visits", "claims", "rings"}
_COUNTED |= {"duration", "income", "salary", "revenue", "distance", "weight", "height", "length"}
_POSITIVE = {"true", "yes", "y", "t", "positive", "pos", "malignant", "spam", "fraud", "fraudulent"}
_POSITIVE |= {
    "default",
    "churn",
    "churned",
    "sick",
    "disease",
    "abnormal",
    "anomaly",
    "attack",
    "late",
}
_POSITIVE |= {"died", "dead", "failure", "failed", "bad", "delayed", "ja", "oui", "si", "sí", "sim"}
_NEGATIVE = {
    "false",
    "no",
    "n",
    "f",
    "negative",
    "neg",
    "benign",
    "ham",
    "legit",
    "normal",
    "healthy",
}
_NEGATIVE |= {"good", "stayed", "retained", "alive", "ok", "nein", "non", "não", "none"}


@dataclass(frozen=True)
class Facts:
    """A column in figures.

    `distinct` leaves missing values out; `whole`: numbers without fractions; `length`: mean length
    of a text; `words`: two texts that mean true and false.
    """

    name: str
    kind: Kind
    rows: int
    missing: int
    distinct: int
    low: float | datetime | None
    high: float | datetime | None
    whole: bool
    length: float
    words: bool

    @property
    def present(self) -> int:
        return self.rows - self.missing

    @property
    def span(self) -> tuple[float | str, float | str]:
        """From `low` to `high`; dates in ISO 8601."""
        assert self.low is not None and self.high is not None  # noqa: S101
        return _plain(self.low), _plain(self.high)

    @property
    def constant(self) -> bool:
        return self.distinct == 1 and not self.missing

    @property
    def unique(self) -> bool:
        """No value is missing or comes twice."""
        return self.distinct == self.rows > 1


def facts(table: Table) -> dict[str, Facts]:
    """The facts of every column, by name, in one parallel pass over the table."""
    frame = table.frame
    wanted: list[pl.Expr] = []
    for i, (name, dtype) in enumerate(frame.schema.items()):
        column = pl.col(name)
        kept = column.is_not_null().sum().alias(f"{i} present")
        wanted += [kept, column.n_unique().alias(f"{i} distinct")]
        if kind(dtype) in ("number", "datetime"):
            wanted += [column.min().alias(f"{i} low"), column.max().alias(f"{i} high")]
        if dtype == pl.Float64:
            wanted.append((column == column.floor()).all().alias(f"{i} whole"))
        if dtype == pl.String:
            wanted.append(column.str.len_chars().mean().alias(f"{i} length"))
    got = frame.lazy().select(wanted).collect().row(0, named=True)
    found = {}
    for i, (name, dtype) in enumerate(frame.schema.items()):
        missing = frame.height - got[f"{i} present"]
        distinct = got[f"{i} distinct"] - bool(missing)
        found[name] = Facts(
            name=name,
            kind=kind(dtype),
            rows=frame.height,
            missing=missing,
            distinct=distinct,
            low=got.get(f"{i} low"),
            high=got.get(f"{i} high"),
            whole=dtype == pl.Int64 or bool(got.get(f"{i} whole", False)),
            length=got.get(f"{i} length") or 0.0,
            words=dtype == pl.String and distinct <= 8 and _pair(frame[name]),
        )
    return found


def values(column: pl.Series) -> tuple[str, ...]:
    """The distinct values as canonical texts: numbers in their order, texts in that of Unicode."""
    return tuple(label_text(value) for value in column.drop_nulls().unique().sort().to_list())


def texts(column: pl.Series) -> pl.Series:
    """Labels as canonical texts."""
    distinct = column.drop_nulls().unique()
    texts = [label_text(value) for value in distinct.to_list()]
    return column.replace_strict(distinct, texts, return_dtype=pl.String)


def words(name: str) -> str:
    """The words of a column's name: `CustomerID` and `customer_id` are `customer id`."""
    split = re.sub(r"(?<=[a-zäöüß0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return " ".join(re.findall(r"[^\W_]+", split.lower()))


def is_index(fact: Facts) -> bool:
    """Row numbers under the name that a tool gives them when it writes a table."""
    return fact.unique and fact.whole and bool(re.fullmatch(_INDEX, words(fact.name)))


def id_rank(fact: Facts, column: pl.Series) -> int | None:
    """How much a column looks like the identity of a row: 0 most, 3 least, None not at all."""
    if not fact.unique or is_index(fact) or not (fact.kind == "text" or fact.whole):
        return None
    named = set(words(fact.name).split())
    if words(fact.name) == "id":
        return 0
    if named & _ID_WORDS:
        return 1
    if named & {"year", "month", "date", "day", "time"}:
        return None
    numbered = fact.kind == "number" and bool((column.diff().drop_nulls() == 1).all())
    if numbered or (fact.kind == "text" and column.str.contains(_ID_TEXT).all()):
        return 2 if named & _NUMBERING else 3
    return None


def is_group(fact: Facts) -> bool:
    """Names somebody or something that has several rows."""
    named = bool(re.fullmatch(_GROUP, words(fact.name)))
    coded = fact.kind == "text" or fact.whole
    return named and coded and not fact.missing and 10 <= fact.distinct <= fact.present / 2


def is_birth(name: str) -> bool:
    return bool(re.fullmatch(_BIRTH, words(name)))


def is_sensitive(name: str) -> bool:
    """A name that speaks of a protected characteristic, in one of a few languages."""
    return bool(re.fullmatch(_SENSITIVE, words(name)))


def time_rank(fact: Facts) -> tuple[int, int, int] | None:
    """How well a column tells when its row happened (smallest first); None: it does not."""
    if fact.kind != "datetime" or fact.missing or fact.distinct < 2 or is_birth(fact.name):
        return None
    named = words(fact.name).split()
    hits = [place for place, word in enumerate(_TIME_WORDS) if word in named]
    return (bool(_LATE_WORDS & set(named)), min(hits, default=len(_TIME_WORDS)), -fact.distinct)


def orders_rows(fact: Facts) -> bool:
    """At least 30 points in time over more than a day: enough to test on the latest."""
    return fact.distinct >= 30 and _days(fact) > 1


def calendar(fact: Facts, column: pl.Series) -> tuple[str, ...]:
    """The parts of a datetime that come back, and so can be learned from."""
    parts = []
    if column.dt.hour().drop_nulls().n_unique() > 1:
        parts.append("hour")
    # Years (always 1 January) and months (always the 1st) have weekdays too, but by accident.
    if _days(fact) > 7 and column.dt.day().n_unique() > 4 and column.dt.weekday().n_unique() > 1:
        parts.append("weekday")
    if _days(fact) >= 730 and column.dt.ordinal_day().n_unique() > 4:
        parts.append("yearday")
    return tuple(parts)


def column_type(fact: Facts) -> str:
    """number, boolean, categorical or datetime; a number that is a code is categorical."""
    if fact.kind != "number":
        return "boolean" if fact.words else fact.kind.replace("text", "categorical")
    named = words(fact.name).split()
    code = bool(named) and named[-1] in {"id", "code", "zip", "zipcode", "postcode", "plz"}
    return "categorical" if code and fact.whole else "number"


def task(fact: Facts) -> tuple[str, str]:
    """The task that a target asks for and why; the task is "" when it asks for none."""
    if fact.distinct == 2:
        return "binary", "it has two values"
    many = fact.distinct > min(MAX_CLASSES, fact.present / 2)
    if fact.kind == "text":
        return ("", f"{fact.distinct} different texts") if many else ("multiclass", _few(fact))
    if not fact.whole:
        return "regression", "its numbers have fractions"
    if set(words(fact.name).split()) & _COUNTED:
        return "regression", "its name speaks of an amount"
    assert isinstance(fact.low, int | float) and isinstance(fact.high, int | float)  # noqa: S101
    dense = fact.high - fact.low < 2 * fact.distinct
    if fact.distinct <= 10 and dense and fact.present >= 5 * fact.distinct:
        return "multiclass", _few(fact)
    return "regression", f"it has {fact.distinct} different whole numbers"


def misfit(table: Table, fact: Facts, wanted: str) -> str:
    """Why a column cannot be read as a number, boolean, categorical or datetime; "" if it can."""
    values = table.frame[fact.name]
    if wanted == "number" and fact.kind == "text":
        return _not_numbers(table, values)
    if wanted == "boolean":
        binary = fact.kind == "number" and fact.whole and {fact.low, fact.high} <= {0, 1}
        known = fact.kind == "text" and values.drop_nulls().str.to_lowercase().is_in(_WORDS).all()
        fits = fact.kind == "boolean" or binary or known
        return "" if fits else "it has other values than two words such as yes and no"
    if wanted == "datetime" and (fact.kind != "datetime" or fact.name in table.formats):
        return "its values are not written as ISO 8601 dates (2013-01-31 06:00:00)"
    return "" if wanted in ("categorical", "datetime", fact.kind) else f"it is {fact.kind}"


def _not_numbers(table: Table, values: pl.Series) -> str:
    if as_number(values) is not None:
        return ""
    numbers = values.str.strip_chars(" \t").cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() | numbers.is_nan()) & values.is_not_null()
    row = wrong.arg_max() or 0
    line = table.where(row).line
    place = f"line {line}" if line else f"row {row + 1}"
    return f"{wrong.sum():,} values are not numbers, the first {values[row]!r} ({place})"


def share_of_numbers(column: pl.Series) -> float:
    """The share of a text column's values that would be numbers."""
    texts = column.drop_nulls()
    numbers = texts.str.strip_chars(" \t").cast(pl.Float64, strict=False)
    return 1 - numbers.null_count() / len(texts)


def positive(classes: Sequence[str], counts: Sequence[int]) -> tuple[str, str]:
    """The positive one of two classes and why."""
    lowered = [name.strip().lower() for name in classes]
    for here, other in ((0, 1), (1, 0)):
        pair = (lowered[here], lowered[other])
        if pair[0] in _POSITIVE and pair[1] not in _POSITIVE:
            return classes[here], "the word says so"
        if pair[1] in _NEGATIVE and pair[0] not in _NEGATIVE:
            return classes[here], f"{classes[other]} says no"
        if pair[0] == "1" and pair[1] in ("0", "-1"):
            return classes[here], "it is 1"
    rarer = 0 if counts[0] < counts[1] else 1
    return classes[rarer], "it is the rarer class" if counts[0] != counts[1] else "it is the last"


def _plain(value: float | datetime) -> float | str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ").removesuffix("T00:00:00Z")
    return float(value)


def _pair(column: pl.Series) -> bool:
    return set(column.drop_nulls().unique().str.to_lowercase().to_list()) in _PAIRS


def _days(fact: Facts) -> float:
    if not isinstance(fact.low, datetime) or not isinstance(fact.high, datetime):
        return 0.0
    return (fact.high - fact.low).total_seconds() / 86400


def _few(fact: Facts) -> str:
    return f"it has {fact.distinct} different values"
