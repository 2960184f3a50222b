from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from bufferproxy.config.load import Loaded, load
from bufferproxy.errors import ConfigurationError

Errors = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def loaded() -> Callable[..., Loaded]:
    """Load a file with this text, called f.yaml; no variables but those given."""

    def of(text: str, *, flags: dict[str, str] | None = None, **environ: str) -> Loaded:
        Path("f.yaml").write_text(dedent(text))
        return load("f.yaml", flags=flags, environ=environ)

    return of


@pytest.fixture
def errors(loaded: Callable[..., Loaded]) -> Errors:
    """What is wrong with a file with this text."""

    def of(text: str, **given: object) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            loaded(text, **given)
        return list(caught.value.problems)

    return of
