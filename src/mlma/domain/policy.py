"""What all policies are made of: one text form, a pool of versions, checked settings.

Takes nothing, gives the bases of the policies in `mlma.domain.settings`.
"""

from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, ClassVar

from mlma.domain.errors import SettingsError, unknown_name

AUTO = "auto"
"""What fits the other settings."""


class Policy:
    """Base of all policies; gives them one text form, ``name(setting=value)``."""

    name: ClassVar[str]
    always_shown: ClassVar[tuple[str, ...]] = ()

    @property
    def label(self) -> str:
        """The policy as it is written on the command line: its dial, and what is not default."""
        return self._text(defaults=False)

    @property
    def full_label(self) -> str:
        """The policy with every setting written out, for reproduction."""
        return self._text(defaults=True)

    def _text(self, *, defaults: bool) -> str:
        shown: list[str] = [
            f"{spec.name}={_plain(getattr(self, spec.name))!r}"
            for spec in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
            if defaults
            or spec.name in self.always_shown
            or getattr(self, spec.name) != spec.default
        ]
        return f"{self.name}({', '.join(shown)})" if shown else self.name


@dataclass(frozen=True, slots=True)
class Pooled(Policy):
    """A policy that can keep a pool of former versions; with ``pool=1`` each replaces the last.

    pool
        model versions of a stream that are kept and scored side by side, the latest ones.
    long_member
        a member trained on all history up to eight windows joins; it is trained again whenever the
        stream has become twice as old.
    naive_member
        the value of a week ago joins; None = where the loss is absolute: with squared losses it
        does harm.
    combine
        ``fixed_share``: forecasts are averaged with weights that follow the members' recent losses
        and can come back (Herbster and Warmuth 1998); ``exponential``: the same without coming
        back; ``mean``: equal weights; ``select``: the best member of late.
    learning_rate
        learning rate of the weights, per mean loss of the members.
    share
        share of the weight that is spread evenly over the members after every batch.
    half_life
        batches after which a loss counts half, for ``select``.
    """

    pool: int = field(default=1, kw_only=True)
    long_member: bool = field(default=True, kw_only=True)
    naive_member: bool | None = field(default=None, kw_only=True)
    combine: str = field(default="fixed_share", kw_only=True)
    learning_rate: float = field(default=1.0, kw_only=True)
    share: float = field(default=0.02, kw_only=True)
    half_life: float = field(default=7.0, kw_only=True)

    def __post_init__(self) -> None:
        whole = isinstance(self.pool, int) and not isinstance(self.pool, bool)
        check(self, "pool", whole and self.pool >= 1, "a number of versions, 1 or more", "pool=8")
        if self.combine not in _RULES:
            raise unknown_name(f"combine of {type(self).__name__}", str(self.combine), _RULES)
        check(self, "learning_rate", 0 < self.learning_rate < inf, "above 0", "learning_rate=1.0")
        check(self, "share", 0 <= self.share < 1, "from 0 to below 1", "share=0.02")
        check(self, "half_life", 0 < self.half_life < inf, "above 0 batches", "half_life=7")

    @property
    def has_pool(self) -> bool:
        """Whether more than one version is kept."""
        return self.pool > 1


_RULES = ("fixed_share", "exponential", "mean", "select")


def _plain(value: Any) -> Any:
    """Return a setting without NumPy's number types, so that its text can be read back."""
    if isinstance(value, tuple):
        return tuple(_plain(part) for part in value)
    return value.item() if hasattr(value, "item") else value


def check(owner: Policy, setting: str, good: bool, expected: str, hint: str) -> None:
    """Raise a clear error unless a setting is ``good``."""
    if not good:
        raise SettingsError(
            f"`{setting}` of `{type(owner).__name__}` must be {expected}. "
            f"Got {getattr(owner, setting)!r}. Hint: {hint}.",
        )
