"""`${VAR}` and `${VAR:-default}` in the values of a file. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def interpolated(text: str, environ: Mapping[str, str], *, secret: bool = False) -> str:
    """`text` with each reference replaced. `$${` is a literal `${`; a lone `$` is itself.

    The default holds when the variable is unset or empty, as in a shell. What a variable holds goes in as
    text and is never read as YAML. Raises ValueError: a variable without a default is unset, or the reference
    is malformed; nothing of a `secret` is quoted then.
    """

    def value_of(match: re.Match[str]) -> str:
        inner = match[1]
        if inner is None:
            return "${"
        name, colon, default = inner.partition(":-")
        if not match[0].endswith("}") or not _NAME.fullmatch(name):
            quoted = "what follows ${" if secret else match[0]
            raise ValueError(f"{quoted} is not a reference: write ${{VAR}} or ${{VAR:-default}}")
        if colon:
            return environ.get(name) or default
        if name not in environ:
            raise ValueError(f"${{{name}}} is not set: set it, or write ${{{name}:-default}}")
        return environ[name]

    return _REFERENCE.sub(value_of, text)
