"""Mutants and crash points find what they patch, in a process of its own: a patch is not taken back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bufferproxy.testing.crash_points import POINTS
from bufferproxy.testing.mutants import DELAYS, MUTANTS
from bufferproxy.testing.patching import wrap

NAMES = [
    *MUTANTS,
    *DELAYS,
    *(f"{point}:1" for point in POINTS),
    "poison:/x",
    "retry-not-counted,after-fetch:3",
]


def mutated(names: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bufferproxy.testing.mutants", names, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("names", NAMES)
def test_a_mutant_is_the_command_line(names: str) -> None:
    done = mutated(names, "config", "schema")
    assert (done.returncode, done.stdout[:1], done.stderr) == (0, "{", "")


def test_an_unknown_mutant_does_not_start() -> None:
    assert "KeyError: 'no-such-bug'" in mutated("no-such-bug", "config", "schema").stderr


def test_a_function_that_has_moved_is_noticed() -> None:
    class Base:
        def there(self) -> int:
            return 1

    class Product(Base):
        def here(self) -> int:
            return 2

    wrap(Product, "here", lambda original, product: original(product) + 10)
    assert Product().here() == 12
    with pytest.raises(AttributeError, match="Product has no there"):
        wrap(Product, "there", lambda original, product: 0)
