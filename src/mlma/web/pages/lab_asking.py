"""What is asked of the policy lab: a policy as text, and fields that change the usual settings.

Takes what was typed, gives the policy to try. Next is the lab.
"""

from typing import Any

from mlma.domain.errors import MlmaError
from mlma.domain.expressions import parse_call
from mlma.domain.settings import policy_from
from mlma.web.pages.order_fields import FormField
from mlma.web.pages.order_reading import FieldError, Typed, first

REFERENCES = ("adaptive", "anchored", "fixed")
FIELDS = (
    FormField(
        "policy",
        "Policy",
        hint="As in mlma.toml. The fields below change it; what stays empty is left as it is here.",
        wide=True,
        required=True,
    ),
    FormField("level", "Level of a batch", hint="Between 0 and 1, such as 0.001."),
    FormField(
        "false_retrainings",
        "False re-trainings",
        hint="Expected per 1,000 healthy streams and week; none: by the level alone.",
    ),
    FormField(
        "reference",
        "Reference",
        "choice",
        choices=(("", "as in the policy"), *((one, one) for one in REFERENCES)),
    ),
    FormField("follow_ups", "Follow-ups", hint="Batches after an alarm: 7, 14, 28; or none."),
    FormField("per_cycle", "Re-trainings per cycle", "number", "At most; empty: no limit."),
    FormField("first", "First cycle", "number", "Empty: the first one."),
    FormField("last", "Last cycle", "number", "Empty: the newest."),
)
_NONE = {"none", "no", "-"}


def policy_asked(typed: Typed) -> str:
    """Return the policy that was typed, with what its fields change.

    Raises
    ------
    FieldError
        It cannot be read.

    >>> policy_asked({"policy": ["mlma(level=0.01)"], "follow_ups": ["7, 14"]})
    'mlma(level=0.01, follow_ups=(7, 14))'
    """
    text = first(typed, "policy").strip()
    changes = _changes(typed)
    try:
        name, given = parse_call(text, "policy")
        told = given | changes
        inside = ", ".join(f"{key}={value!r}" for key, value in told.items())
        made = text if not changes else f"{name}({inside})" if inside else name
        policy_from(made)
    except MlmaError as error:
        raise FieldError(_blamed(str(error), changes), str(error)) from error
    return made


def number_asked(typed: Typed, name: str) -> int | None:
    """Return a number that was typed; None = nothing was.

    Raises
    ------
    FieldError
        It is none.
    """
    text = first(typed, name).strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        label = next(field.label for field in FIELDS if field.name == name)
        raise FieldError(name, f"`{label}` must be a whole number, 0 or more. Got {text[:80]!r}.")
    return int(text)


def _changes(typed: Typed) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in ("level", "false_retrainings"):
        if text := first(typed, name).strip():
            made[name] = None if text.lower() in _NONE else _float(name, text)
    if reference := first(typed, "reference").strip():
        made["reference"] = reference
    if ages := first(typed, "follow_ups").strip():
        made["follow_ups"] = () if ages.lower() in _NONE else _ages(ages)
    return made


def _float(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FieldError(name, f"`{name}` must be a number. Got {text[:80]!r}.") from None


def _ages(text: str) -> tuple[int, ...]:
    parts = text.replace("(", "").replace(")", "").replace(";", ",").split(",")
    try:
        return tuple(int(part) for part in parts if part.strip())
    except ValueError:
        raise FieldError(
            "follow_ups", f"`Follow-ups` must be numbers of batches. Got {text[:80]!r}."
        ) from None


def _blamed(message: str, changes: dict[str, Any]) -> str:
    return next((name for name in changes if f"`{name}`" in message), "policy")
