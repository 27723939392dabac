"""What a check has found, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One check: `state` is `ok`, `warn` (works, but) or `fail`; `fix` is a command or a step."""

    check: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    fix: str = ""
