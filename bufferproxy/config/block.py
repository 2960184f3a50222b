"""What every part of the settings tree is: a frozen model whose fields say unit, default, why, reloadable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Callable


class Block(BaseModel):
    """A map in the file. Attribute paths are the file's paths; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def fixed(default: Any, why: str) -> Any:
    """A field that holds from start to stop."""
    return Field(default=default, description=why)


def live(default: Any, why: str) -> Any:
    """A field that a reload or the admin plane can change while the process runs."""
    return Field(default=default, description=why, json_schema_extra={"x-reloadable": True})


def needed(why: str) -> Any:
    """A field without a default."""
    return Field(description=why)


def block(kind: Callable[[], Block], why: str) -> Any:
    """A part of the tree whose fields all have defaults."""
    return Field(default_factory=kind, description=why)
