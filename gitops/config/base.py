"""What all parts of `gitops.yaml` share, and those of policies."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict

from gitops.config import values

_T = TypeVar("_T")
# A list without repetition, kept as a tuple.
Several = Annotated[tuple[_T, ...], *values.SEVERAL]


class Frozen(BaseModel):
    """A part of the file: nothing unknown, nothing converted, nothing changed later."""

    # Each part's own validator is built only if it is asked for: every command pays for this.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True
    )
