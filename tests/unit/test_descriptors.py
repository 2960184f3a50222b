from __future__ import annotations

import subprocess
import sys

import pytest

from bufferproxy.descriptors import Shares, share


@pytest.mark.parametrize(
    ("limit", "services", "shares"),
    [
        (1 << 20, 20, Shares((1 << 20) - 148, 64, 0)),
        (1024, 20, Shares(876, 64, 0)),
        (256, 20, Shares(140, 32, 0)),
        (256, 4000, Shares(128, 32, 3968)),
        (1024, 4000, Shares(512, 64, 3616)),
    ],
)
def test_callers_get_what_the_process_does_not_need(limit: int, services: int, shares: Shares) -> None:
    assert share(limit, 64, services) == shares


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    code = (
        "import resource as r; from bufferproxy.descriptors import raise_limit;"
        "r.setrlimit(r.RLIMIT_NOFILE, (64, 300)); print(raise_limit(), r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["300", "300"]
