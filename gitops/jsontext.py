"""JSON that others wrote."""

from __future__ import annotations

import json
from typing import Any


def loads(text: str | bytes) -> Any:  # noqa: ANN401
    """Read it.

    Raises:
        ValueError: it's no JSON, not UTF-8, or nested more deeply than Python goes.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
