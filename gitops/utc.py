"""Times as our documents have them: RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

Grain = Literal["auto", "seconds", "milliseconds"]


def text(moment: datetime, grain: Grain = "seconds") -> str:
    """`2013-01-31T10:00:00Z`, cut to the grain (auto: as fine as it is)."""
    return moment.astimezone(UTC).isoformat(timespec=grain).replace("+00:00", "Z")


def now(grain: Grain = "seconds") -> str:
    """The time now."""
    return text(datetime.now(UTC), grain)
