"""Everything that bufferproxy raises.

BufferproxyError
├── UsageError                  the command line is wrong                              exit 2
├── ConfigurationError          the settings are wrong; carries every problem found    exit 3
├── Unreachable                 the proxy or the broker does not answer                exit 4
├── NotAuthorised               the proxy wants a token, or another one                exit 5
├── NotFound                    what was named does not exist                          exit 6
├── EnvelopeError               a record that cannot be understood: quarantined, never skipped
└── LogError                    the durable log
    ├── AppendRefused           certainly not stored
    │   ├── StorageFull         ... because the disk is full
    │   ├── StorageLocked       ... because another program has locked the file
    │   └── AppendTooLarge      ... because it is larger than its topic takes
    ├── AppendUncertain         may be stored
    ├── LogUnavailable          a read, a commit or a ping could not be done now
    └── LogUnusable             cannot be opened: held, corrupt, newer, or its topics are wrong
"""

from __future__ import annotations


class BufferproxyError(Exception):
    """The root. `exit_code` is what a command ends with."""

    exit_code = 1


class UsageError(BufferproxyError):
    exit_code = 2


class ConfigurationError(BufferproxyError):
    """`problems` are whole lines, `FILE:LINE:COL: key: message`."""

    exit_code = 3

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Unreachable(BufferproxyError):
    exit_code = 4


class NotAuthorised(BufferproxyError):
    exit_code = 5


class NotFound(BufferproxyError):
    exit_code = 6


class EnvelopeError(BufferproxyError):
    pass


class LogError(BufferproxyError):
    pass


class AppendRefused(LogError):
    """Certainly not stored: answering "try again" is safe."""


class StorageFull(AppendRefused):
    pass


class StorageLocked(AppendRefused):
    pass


class AppendTooLarge(AppendRefused):
    """The same entry will be refused again until its topic takes more, unlike after every other refusal."""


class AppendUncertain(LogError):
    """May be stored: only the same Idempotency-Key makes a second try safe."""


class LogUnavailable(LogError):
    exit_code = 4


class LogUnusable(LogError):
    pass


class Outdated(LogUnusable):
    """A file of an older version."""
