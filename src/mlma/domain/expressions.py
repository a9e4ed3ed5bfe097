"""Settings written as text, the way they are written in Python.

Takes ``"mlma(level=0.01, follow_ups=(7, 14))"``, gives the name and its keyword arguments. The
command line and the configuration file share it; only literals are evaluated.
"""

import ast
from typing import Any

from mlma.domain.errors import SettingsError

_UNREADABLE = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)


def parse_call(text: str, kind: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the keyword arguments of a call written as text.

    ``kind`` names the thing in messages ("policy", "loss", "model").

    Raises
    ------
    SettingsError
        The text is not a name or a call with literal keyword arguments.

    >>> parse_call("periodic(every=28)", "policy")
    ('periodic', {'every': 28})
    """
    if not isinstance(text, str):
        raise _malformed(text, kind)
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except _UNREADABLE as error:
        raise _malformed(text, kind) from error
    if isinstance(node, ast.Name):
        return node.id.lower(), {}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise _malformed(text, kind)
    try:
        arguments = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
    except _UNREADABLE as error:
        raise _malformed(text, kind) from error
    if "None" in arguments or len(arguments) < len(node.keywords):  # **settings, or one twice
        raise _malformed(text, kind)
    return node.func.id.lower(), arguments


def _malformed(text: str, kind: str) -> SettingsError:
    return SettingsError(
        f"The {kind} `{text}` cannot be read. Expected a name, or a name with keyword arguments "
        f"whose values are literals. Hint: write it like `name(key=value)`.",
    )
