"""What a request is told when it isn't answered."""

from __future__ import annotations

from typing import Any

_LONGEST = 80  # of a caller's text that is given back


class Refusal(Exception):
    """A request that isn't answered: the HTTP status, what is wrong, and what would be right.

    `at` names the place as far as it is known: model, row (from 0), column, value.
    """

    def __init__(self, status: int, message: str, *, fix: str = "", **at: Any) -> None:  # noqa: ANN401
        super().__init__(message)
        self.status = status
        self.message = message
        self.fix = fix
        self.at = at

    def document(self, request_id: str | None = None) -> dict[str, Any]:
        """The body of the answer; values are cut to a few characters."""
        at = {name: value for name, value in self.at.items() if value is not None}
        if "value" in at:
            at["value"] = shown(at["value"])
        said = {"message": self.message, "fix": self.fix, **at, "id": request_id}
        return {"error": {name: value for name, value in said.items() if value not in ("", None)}}

    def text(self) -> str:
        """All on one line, as the Open Inference Protocol wants an error."""
        place = ", ".join(
            f"{name} {self.at[name]!r}"
            for name in ("model", "row", "column")
            if self.at.get(name) is not None
        )
        return ": ".join(part for part in (place, self.message) if part) + (
            f"; {self.fix}" if self.fix else ""
        )

    def place(self) -> str:
        """What happened and where, without a value: what may be kept."""
        column = self.at.get("column")
        return self.message if column is None else f"{self.message} (column {column!r})"


def shown(value: object) -> str:
    """A little of a caller's value."""
    text = repr(value[: _LONGEST + 1]) if isinstance(value, str) else _plain(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > 256:
        return "a number of many digits"
    return repr(value)
