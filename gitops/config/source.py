"""The part of `gitops.yaml` that says where a model's table comes from."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gitops.config import values
from gitops.config.base import Frozen, Several

Kind = Literal["files", "sql", "databricks"]
DATABASES = ("sql", "databricks")


def _refuse_place(text: str) -> None:
    scheme, found, rest = text.partition("://")
    if found and scheme not in ("s3", "azure"):
        raise values.wrong(
            f"has the scheme {values.shown(scheme)}, which is not supported",
            "write a folder, a file, a glob, s3://bucket/path or azure://container/path",
        )
    secret = re.search("[@:]", rest.partition("/")[0]) or re.search(r"[#\x00-\x20]|\?.*=", rest)
    if found and secret:
        # The value is not repeated: logs are read by more people than secrets are for.
        raise values.wrong(
            "has a user, key, port or signature in it; no secret belongs into a file in git",
            f"write {scheme}://NAME/path, and give credentials by the environment",
        )
    if text.startswith("~"):
        raise values.wrong(
            f"{values.shown(text)} starts with ~, which only a shell knows", "write the folder out"
        )


def _refuse_url(text: str) -> None:
    if ":" in text:  # not repeated either
        raise values.wrong(
            "is a URL, not the name of a variable; no secret belongs into a file in git",
            "write the name of the variable that holds it, such as FLIGHTS_DB",
        )


Place = Annotated[
    str,
    values.Text(
        r"^[^\x00-\x1f]+$",
        "a place is a folder, a file or a glob, s3://bucket/path or azure://container/path",
        ("../landing/flights", "s3://landing/flights", "azure://landing/flights/*.parquet"),
        _refuse_place,
        longest=1000,
    ),
]
Variable = Annotated[
    str,
    values.Text(
        "^[A-Z][A-Z0-9_]*$",
        "the name of an environment variable, never the URL itself",
        ("FLIGHTS_DB",),
        _refuse_url,
        longest=64,
    ),
]
Table = Annotated[
    str,
    values.Text(
        r"^[^\x00-\x1f.]+(?:\.[^\x00-\x1f.]+){0,2}$",
        "a table is named as table, schema.table or catalog.schema.table",
        ("public.flights",),
        longest=400,
    ),
]
Marker = Annotated[
    str,
    values.Text(
        r"^(?!\.{1,2}$)[^/\\\x00-\x1f*?\[\]]+$",
        "a marker is the name of a file in the folder",
        ("_SUCCESS",),
    ),
]


class Source(Frozen):
    """Where `gitops data ingest` takes a snapshot of a model's table from."""

    kind: Kind = Field(
        description="files: CSV or Parquet in a folder or an object store; sql: any database that"
        " SQLAlchemy has a dialect for; databricks: a table of a SQL warehouse."
    )
    path: Place | None = Field(
        default=None,
        description="Of files: a file, folder or glob (relative to the repository, or absolute),"
        " s3://bucket/path or azure://container/path. Credentials never stand here.",
    )
    endpoint: values.Endpoint | None = values.ENDPOINT
    account: values.Account | None = values.ACCOUNT
    marker: Marker | None = Field(
        default=None,
        description="A file that whoever writes the folder puts there last: without it nothing is"
        " read.",
        examples=["_SUCCESS"],
    )
    url_env: Variable | None = Field(
        default=None,
        description="Of a database: the environment variable that holds its URL. The URL itself"
        " stands in no file.",
    )
    login: Literal["azure"] | None = Field(
        default=None,
        description="Log in to Azure SQL by a token of whoever is logged in to Azure, without a"
        " password.",
    )
    table: Table | None = Field(default=None, description="The table that is read as a whole.")
    query: values.Path | None = Field(
        default=None,
        description="A .sql file in the model's folder with one SELECT.",
        examples=["queries/late.sql"],
    )
    order_by: Several[values.Column] = Field(
        default=(),
        description="The columns that rows are sorted by; by default files keep their order, and"
        " rows of a database are sorted by all columns.",
        examples=[["time_hour", "flight"]],
    )
    schedule: (
        Annotated[
            str,
            values.Text(
                r"^[0-9A-Za-z*,/-]+(?: [0-9A-Za-z*,/-]+){4}$",
                "a cron line has minute, hour, day, month and weekday, in UTC",
                ("17 3 * * *",),
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="When CI looks for new rows: a cron line, in UTC. Without one it does when it"
        " is told to.",
    )
    event: values.Event | None = Field(
        default=None,
        description="What another system calls it when data has landed: a repository_dispatch on"
        " GitHub, an incoming webhook on Azure DevOps.",
    )

    @property
    def scheme(self) -> Literal["folder", "s3", "azure"]:
        """What sort of place `path` is."""
        if (self.path or "").startswith("s3://"):
            return "s3"
        return "azure" if (self.path or "").startswith("azure://") else "folder"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        database = self.kind in DATABASES
        for field in ("url_env", "table", "query", "login") if not database else _FILES:
            if getattr(self, field):
                raise values.wrong(
                    f"is not for a source of kind {self.kind}", f"remove {field}", at=field
                )
        if database:
            self._database()
        else:
            self._files()
        return self

    def _database(self) -> None:
        if self.url_env is None:
            raise values.wrong("names no database", "add `url_env: FLIGHTS_DB`")
        if (self.table is None) == (self.query is None):
            both = "both a table and a query" if self.table else "neither a table nor a query"
            raise values.wrong(f"has {both}", "give it one: `table:` or `query:`")
        if self.query is not None and not self.query.endswith(".sql"):
            raise values.wrong(
                f"is {values.shown(self.query)}, no .sql file", "write queries/NAME.sql", at="query"
            )
        if self.login is not None and self.kind != "sql":
            raise values.wrong("is not for databricks", "remove login", at="login")

    def _files(self) -> None:
        if self.path is None:
            raise values.wrong("says no place", "add `path:` with a folder, file or URL")
        for field, scheme in (("endpoint", "s3"), ("account", "azure")):
            if getattr(self, field) is not None and self.scheme != scheme:
                raise values.wrong(
                    f"is for {scheme}:// places, but the path is {values.shown(self.path)}",
                    f"remove {field}, or write a path with {scheme}://",
                    at=field,
                )


_FILES = ("path", "endpoint", "account", "marker")
