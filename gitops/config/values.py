"""The texts that `gitops.yaml` holds: what is accepted, and why something is not.

One pattern serves the loader and the published JSON Schema, so that an editor and `gitops` agree.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError, core_schema

from gitops import names
from gitops.yamlfile.edits import inline

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler


def wrong(reason: str, fix: str, *, at: str = "") -> PydanticCustomError:
    """The error of a value: `reason` follows its place, as in "storage.remote ...".

    `at` names the field (dots: within others) that is wrong where a whole model is checked.
    """
    return PydanticCustomError("gitops", "{reason}", {"reason": reason, "fix": fix, "at": at})


@dataclass(frozen=True)
class Text:
    """An annotation: a text that matches `pattern` (of JSON Schema, so unanchored and ECMA 262).

    `refuse` may raise a more telling error first, and knows what a pattern cannot say.
    """

    pattern: str
    rule: str
    examples: tuple[str, ...]
    refuse: Callable[[str], None] | None = None
    longest: int = 200

    def __get_pydantic_core_schema__(
        self, source: type[str], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        limits = {"pattern": self.pattern, "minLength": 1, "maxLength": self.longest}
        return {**handler(schema), **limits, "examples": list(self.examples)}

    def _check(self, text: str) -> str:
        if self.refuse:
            self.refuse(text)
        if len(text) > self.longest:
            raise wrong(f"has {len(text)} characters", f"keep it within {self.longest}")
        # `$` of Python also matches before a newline at the end, that of ECMA 262 does not.
        if not text or text.endswith("\n") or not re.search(self.pattern, text):
            raise wrong(
                f"{shown(text)} is refused: {self.rule}", f"write {shown(self.examples[0])}"
            )
        return text


def shown(value: object) -> str:
    """A value as YAML has it, cut to what fits a line."""
    text = f'"{value}"' if isinstance(value, str) else inline(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _named(kind: names.Kind) -> Text:
    def refuse(text: str) -> None:
        if reason := names.problem(kind, text):
            raise wrong(
                f"{shown(text)} is no {kind} name: {reason}", f"call it {names.suggest(text)}"
            )

    example = {"project": "flights", "model": "late", "environment": "production"}[kind]
    return Text(names.PATTERN, "", (example,), refuse, names.LENGTH)


def _refuse_path(text: str) -> None:
    normal = posixpath.normpath(text.replace("\\", "/")) if text else "."
    if normal != text and re.search(_PATH, normal):
        raise wrong(f"{shown(text)} is not the shortest form of a path", f"write {normal}")


def _refuse_command(text: str) -> None:
    try:
        shlex.split(text)
    except ValueError as error:
        raise wrong(f"{shown(text)} is no command: {error}", "close the quote") from error


def _refuse_remote(text: str) -> None:
    scheme, _, rest = text.partition("://")
    if scheme in ("s3", "azure"):
        bucket = rest.partition("/")[0]
        if re.search("[@:]", bucket) or re.search("[?#]", rest):
            # The value is not repeated: logs are read by more people than secrets are for.
            raise wrong(
                "has a user, key, port or query in it; no secret belongs into a file in git",
                f"write {scheme}://{'bucket' if scheme == 's3' else 'container'}/path, and give "
                "credentials by the environment or the cloud's login",
            )
    elif ":" in text.partition("/")[0]:
        raise wrong(
            f"has the scheme {shown(text.partition(':')[0])}, which is not supported",
            "write a folder (../dvc-storage), s3://bucket/path or azure://container/path",
        )
    elif text.startswith("~"):
        raise wrong(
            f"{shown(text)} starts with ~, which only a shell knows", "write the folder out"
        )


def _refuse_endpoint(text: str) -> None:
    if "@" in text or "?" in text:
        raise wrong(
            "has a user or a query in it; no secret belongs into a file in git",
            "write https://host:port, and give credentials by the environment",
        )


# No absolute path, empty segment, `.`, `..`, `.git`, backslash or control character.
_SEGMENT = r"(?!\.{1,2}(?:/|$)|\.git(?:/|$))[^/\\\x00-\x1f]+"
_PATH = rf"^{_SEGMENT}(?:/{_SEGMENT})*$"
_PATH_RULE = "a path lies inside the model's folder, with / between names and without .."

RECORDS = "gitops/records"  # the branch of our own records
# The rules of https://git-scm.com/docs/git-check-ref-format, and of `git branch`: no leading
# hyphen, not HEAD. Ours: not @, which stands for HEAD, and not the branch of our own records.
BRANCH = (
    r"^(?!-|/|HEAD$|@$|gitops(?:/records)?$)(?!.*(?://|\.\.|@\{|/\.|\.lock(?:/|$)|[./]$))(?!\.)"
    r"[^\x00-\x20\x7f~^:?*\[\\]+$"
)
_BUCKET = "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_CONTAINER = "(?![a-z0-9-]*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"
_REMOTE = (
    rf"^(?:s3://{_BUCKET}(?:/[^?#\x00-\x20]*)?|azure://{_CONTAINER}(?:/[^?#\x00-\x20]*)?"
    r"|(?!~|\s)[^:/\x00-\x1f]*(?:/[^\x00-\x1f]*)?)$"
)

ProjectName = Annotated[str, _named("project")]
Event = Annotated[
    str,
    Text(
        "^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$",
        "an event has lower-case letters, digits and single hyphens",
        ("data-landed",),
        longest=60,
    ),
]
ModelName = Annotated[str, _named("model")]
EnvironmentName = Annotated[str, _named("environment")]
PolicyName = Annotated[
    str,
    Text(names.PATTERN, "lower-case letters, digits, hyphens", ("baseline", "strict"), longest=64),
]
Branch = Annotated[
    str,
    Text(
        BRANCH,
        r"git takes no branch with a space, .., ~, ^, :, ?, *, [, \ or @{, an empty part, a - or . "
        "first, or /, . or .lock last (git check-ref-format); gitops/records is ours",
        ("release/production", "main"),
    ),
]
# GitHub: https://docs.github.com/en/get-started/learning-about-github/types-of-github-accounts
Approver = Annotated[
    str,
    Text(
        r"^(?:@[A-Za-z0-9](?:-?[A-Za-z0-9])*(?:/[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)?"
        r"|[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)$",
        "an approver is @user, @organisation/team or an e-mail address",
        ("@org/ml-leads", "@user", "lead@example.org"),
    ),
]
Path = Annotated[str, Text(_PATH, _PATH_RULE, ("data/flights.csv",), _refuse_path)]
Folder = Annotated[
    str,
    Text(
        rf"^\.$|{_PATH}",
        "a model's folder lies inside the repository, with / between names and without ..",
        (".", "models/late"),
        _refuse_path,
    ),
]
Remote = Annotated[
    str,
    Text(
        _REMOTE,
        "storage is a folder, s3://bucket/path or azure://container/path",
        ("../dvc-storage", "s3://bucket/path", "azure://container/path"),
        _refuse_remote,
        longest=1000,
    ),
]
Endpoint = Annotated[
    str,
    Text(
        r"^https?://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?$",
        "an endpoint is an http(s) URL",
        ("https://s3.example.org:9000",),
        _refuse_endpoint,
    ),
]
ENDPOINT = Field(default=None, description="The URL of an S3-compatible store that isn't Amazon's.")
# https://learn.microsoft.com/en-us/azure/storage/common/storage-account-overview
Account = Annotated[
    str,
    Text("^[a-z0-9]{3,24}$", "Azure allows 3-24 lower-case letters and digits", ("flightsml",)),
]
ACCOUNT = Field(
    default=None, description="The Azure storage account; by default the environment names it."
)
Command = Annotated[
    str,
    Text(
        r"^[^\x00-\x1f]*[^\x00-\x20][^\x00-\x1f]*$",
        "a command is one line",
        ("python -m train",),
        _refuse_command,
        longest=1000,
    ),
]
PredictCommand = Annotated[
    str,
    Text(
        r"^(?=.*\{input\})(?=.*\{output\})[^\x00-\x1f]+$",
        "both {input} and {output} stand in it, for the files to read and to write",
        ("python -m flights.predict {input} {output}",),
        _refuse_command,
        longest=1000,
    ),
]
Column = Annotated[
    str, Text(r"^[^\x00-\x1f]+$", "a column's name is one line", ("carrier",), longest=256)
]


def _unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
    for at, item in enumerate(items):
        if item in items[:at]:
            raise wrong(f"holds {shown(str(item))} twice", "remove one of the two")
    return items


# Lists become tuples; strictness is that of the items.
SEVERAL = (Field(strict=False, json_schema_extra={"uniqueItems": True}), AfterValidator(_unique))

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MOMENT = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([01][0-9]|2[0-3]):([0-5][0-9])"
# Every zone's name starts with a capital; `localtime` and `posix/...`, of some machines, do not.
_WINDOW = f"^{_MOMENT} - {_MOMENT} ([A-Z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*)$"


@dataclass(frozen=True)
class FreezeWindow:
    """A part of every week in which nothing is promoted, by the wall clock of `zone`.

    `start` and `end` are minutes since Monday 00:00; a window may run over Sunday night. The start
    is in the window, the end is not. In the hour that a clock change repeats, both passes count.
    """

    start: int
    end: int
    zone: str

    @classmethod
    def parse(cls, text: str) -> FreezeWindow:
        """From `Fri 16:00 - Mon 08:00 Europe/Berlin`.

        Raises:
            PydanticCustomError: not of that form, an unknown time zone, or an empty window.
        """
        found = re.fullmatch(_WINDOW[1:-1], text)
        if not found:
            raise wrong(
                f"{shown(text)} is no freeze window",
                'write "Fri 16:00 - Mon 08:00 Europe/Berlin": days Mon to Sun, 24 hours, time zone',
            )
        zone = found[7]
        try:
            ZoneInfo(zone)
        except (LookupError, OSError, ValueError) as error:
            raise wrong(f"{shown(zone)} is no time zone", _zone_fix(zone)) from error
        start, end = (
            _DAYS.index(found[at]) * 1440 + int(found[at + 1]) * 60 + int(found[at + 2])
            for at in (1, 4)
        )
        if start == end:
            raise wrong(f"{shown(text)} ends where it starts", "give it another end")
        return cls(start, end, zone)

    def contains(self, moment: datetime) -> bool:
        """Whether an aware moment is in the window.

        Raises:
            ValueError: `moment` is naive, so it is no moment.
        """
        if moment.utcoffset() is None:
            raise ValueError("a moment needs a time zone")
        wall = moment.astimezone(ZoneInfo(self.zone))
        minute = wall.weekday() * 1440 + wall.hour * 60 + wall.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def next_start(self, moment: datetime) -> datetime:
        """When the window opens next after an aware moment, in its own zone."""
        wall = moment.astimezone(ZoneInfo(self.zone)).replace(second=0, microsecond=0)
        minute = wall.weekday() * 1440 + wall.hour * 60 + wall.minute
        ahead = (self.start - minute - 1) % (7 * 1440) + 1
        # Without a zone, so that the clock's hands move, not the time that passes.
        opened = wall.replace(tzinfo=None) + timedelta(minutes=ahead)
        return opened.replace(tzinfo=ZoneInfo(self.zone))

    def __str__(self) -> str:
        """As it is written in the file."""
        start, end = (
            f"{_DAYS[at // 1440]} {at % 1440 // 60:02}:{at % 60:02}"
            for at in (self.start, self.end)
        )
        return f"{start} - {end} {self.zone}"


def _zone_fix(zone: str) -> str:
    from difflib import get_close_matches
    from zoneinfo import available_timezones

    near = get_close_matches(zone, sorted(available_timezones()), 1)
    return f"write {near[0]}" if near else "write a name of the tz database, such as Europe/Berlin"


def _window(value: object) -> FreezeWindow:
    if isinstance(value, FreezeWindow):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "Input should be a valid string")
    return FreezeWindow.parse(value)


Freeze = Annotated[
    FreezeWindow,
    PlainValidator(_window),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": _WINDOW,
            "examples": ["Fri 16:00 - Mon 08:00 Europe/Berlin"],
        }
    ),
]
