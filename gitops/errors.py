"""What can go wrong, and the exit code that says so.

An error carries what a person needs to act: what happened, where (file, line, column), and the fix.
Only `cli.main` prints errors and turns them into exit codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class Where:
    """A place in a file; `line` and `column` count from 1."""

    file: Path | str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [str(self.file), self.line, self.column]
        return ":".join(str(part) for part in parts if part is not None)


class GitopsError(Exception):
    """Base of every error that we expect; anything else is a bug of ours (exit 70)."""

    code: ClassVar[int] = 70

    def __init__(self, message: str, *, fix: str = "", where: Where | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.where = where

    def as_json(self) -> dict[str, object]:
        """For programs: what `--json` prints in place of a result."""
        where = str(self.where) if self.where else None
        return {"message": self.message, "where": where, "fix": self.fix, "code": self.code}

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  fix: {self.fix}" if self.fix else text


class AnswerNo(GitopsError):
    """The answer is no: differences found, a conflict, not reproducible, frozen, lost a race."""

    code = 1


class UsageError(GitopsError):
    """The command was called with words that cannot work."""

    code = 2


class ConfigError(GitopsError):
    """A file that a person wrote is wrong."""

    code = 3


class EvidenceError(GitopsError):
    """Data, a package or a record is missing or unusable."""

    code = 3


class ToolError(GitopsError):
    """An external tool or a remote failed or refused."""

    code = 4
