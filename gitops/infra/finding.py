"""What a check of the infrastructure's files finds."""

from __future__ import annotations

from dataclasses import dataclass

from gitops.errors import Where


@dataclass(frozen=True)
class Finding:
    """What is wrong, and where."""

    where: Where
    text: str
