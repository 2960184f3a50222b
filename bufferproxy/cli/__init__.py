"""The command line: one file a command. Data goes to stdout, messages to stderr.

A command imports what it needs when it runs, so that `check` never waits for Kafka's client or FastAPI.
"""

from __future__ import annotations

import sys


def main() -> None:
    """What `bufferproxy` runs. Ends the process: 0 done, 1 failed, 2 usage, 3 configuration invalid, 4 proxy
    or broker unreachable, 5 not authorised, 6 not found."""
    from bufferproxy.cli.app import app
    from bufferproxy.errors import BufferproxyError

    try:
        app()
    except BufferproxyError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
