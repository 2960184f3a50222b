"""What librdkafka says by itself goes to the debug log: what matters of it comes as an error of a client, and
is told there, once."""

from __future__ import annotations

import logging

_logger = logging.getLogger("bufferproxy.log.kafka.librdkafka")


class Quiet(logging.Logger):
    """Takes the library's lines, of whatever level."""

    def log(self, level: int, msg: object, *args: object, **_: object) -> None:
        _logger.debug(msg, *args)


QUIET = Quiet(_logger.name)
