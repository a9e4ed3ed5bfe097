"""Policies: small frozen settings that turn evidence into decisions.

What the published abstracts leave open (test, side, level, how the reference starts and moves) is
a field of `MLMA`; the defaults are our reading.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

from mlma.domain.errors import SettingsError, unknown_name
from mlma.domain.expressions import parse_call


class Policy:
    """Base of all policies; gives them one text form, ``name(setting=value)``."""

    name: ClassVar[str]

    @property
    def label(self) -> str:
        """The policy as it is written on the command line, settings at their default left out."""
        return self._text(defaults=False)

    @property
    def full_label(self) -> str:
        """The policy with every setting written out, for reproduction."""
        return self._text(defaults=True)

    def _text(self, *, defaults: bool) -> str:
        shown = [
            f"{spec.name}={getattr(self, spec.name)!r}"
            for spec in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
            if defaults or spec.default is MISSING or getattr(self, spec.name) != spec.default
        ]
        return f"{self.name}({', '.join(shown)})" if shown else self.name


@dataclass(frozen=True, slots=True)
class Never(Policy):
    """Train once, never again."""

    name: ClassVar[str] = "never"


@dataclass(frozen=True, slots=True)
class Always(Policy):
    """Re-train before every batch: the yardstick."""

    name: ClassVar[str] = "always"


@dataclass(frozen=True, slots=True)
class Periodic(Policy):
    """Re-train every ``every`` batches.

    ``phase="random"`` draws each stream's first re-training, so that the fleet does not re-train
    on one day; ``phase=3`` starts every stream 3 batches after its first model.
    """

    name: ClassVar[str] = "periodic"
    every: float = 28
    phase: str | int = "random"

    def __post_init__(self) -> None:
        _check(self, "every", self.every >= 1, "at least 1 batch", "periodic(every=28)")
        good = self.phase == "random" or (isinstance(self.phase, int) and self.phase >= 0)
        _check(self, "phase", good, '"random" or a number of batches', 'phase="random"')


@dataclass(frozen=True, slots=True)
class Random(Policy):
    """Re-train before each batch with probability ``rate``."""

    name: ClassVar[str] = "random"
    rate: float = 0.03

    def __post_init__(self) -> None:
        _check(self, "rate", 0 <= self.rate <= 1, "a share from 0 to 1", "random(rate=0.03)")


@dataclass(frozen=True, slots=True)
class MLMA(Policy):
    """Re-train where the incoming loss batch is worse than the data-adaptive reference.

    test
        ``batch_t`` (t on log batch means with a calendar effect), ``welch``, ``mann_whitney``,
        ``ks``.
    side
        ``greater`` (only a higher loss is an alarm) or ``two-sided``.
    level
        significance level of the adjusted p-value.
    reference
        ``adaptive``: healthy batches are appended, the oldest leave; ``anchored``: keeps the best
        level seen since the last re-training; ``fixed``: stays as it started.
    reference_from
        ``held_out``: a new model brings losses on batches that it was not trained on;
        ``production``: the first batches after deployment.
    reference_batches, min_reference_batches
        cap of the reference, and the number below which the verdict is ``unclear``.
    multiplicity
        ``bh`` (Benjamini-Hochberg), ``bonferroni`` or ``none``, across the streams of a cycle.
    margin
        smallest relative rise of the loss that matters, 0.1 = 10 %.
    calendar
        calendar effect inside the reference: ``weekend``, ``weekday`` or ``none``.
    confirm
        alarms in a row that it takes to re-train.
    follow_ups
        batches after an alarm at which the model is re-trained again, so that the window fills
        with data from after the break; alarms in between open nothing new.
    gate
        deploy a new version only if it is better than the old one on held-out batches.
    max_age
        re-train a model that is this many batches old, each stream in a random phase; None = never.
    pool
        versions kept and scored side by side; 1 = one model at a time.
    """

    name: ClassVar[str] = "mlma"
    test: str = "batch_t"
    side: str = "greater"
    level: float = 0.001
    reference: str = "adaptive"
    reference_from: str = "held_out"
    reference_batches: int = 28
    min_reference_batches: int = 14
    multiplicity: str = "bh"
    margin: float = 0.0
    calendar: str = "weekend"
    confirm: int = 1
    follow_ups: tuple[int, ...] = (7, 14, 28)
    gate: bool = False
    max_age: int | None = 112
    pool: int = 1

    def __post_init__(self) -> None:
        for setting, known in _CHOICES.items():
            got = getattr(self, setting)
            if got not in known:
                raise unknown_name(f"{setting} of MLMA", str(got), known)
        _check(self, "level", 0 < self.level < 1, "between 0 and 1", "level=0.001")
        _check(self, "margin", self.margin >= 0, "0 or more", "margin=0.1 is 10 %")
        few = self.min_reference_batches
        _check(self, "min_reference_batches", few >= 3, "at least 3", "a variance needs batches")
        cap = self.reference_batches
        _check(self, "reference_batches", cap >= few, "min_reference_batches or more", "28")
        _check(self, "confirm", self.confirm >= 1, "at least 1", "confirm=1")
        rising = all(a < b for a, b in zip((0, *self.follow_ups), self.follow_ups, strict=False))
        _check(self, "follow_ups", rising, "rising numbers of batches", "follow_ups=(7, 14, 28)")
        old = self.max_age is None or self.max_age >= 1
        _check(self, "max_age", old, "None or at least 1 batch", "max_age=112")
        _check(self, "pool", self.pool == 1, "1: one model at a time", "pool=1")


_CHOICES: dict[str, tuple[str, ...]] = {
    "test": ("batch_t", "welch", "mann_whitney", "ks"),
    "side": ("greater", "two-sided"),
    "reference": ("adaptive", "anchored", "fixed"),
    "reference_from": ("held_out", "production"),
    "multiplicity": ("bh", "bonferroni", "none"),
    "calendar": ("weekend", "weekday", "none"),
}

POLICIES: dict[str, Callable[..., Policy]] = {
    policy.name: policy for policy in (Never, Always, Periodic, Random, MLMA)
}


def policy_from(text: str | Policy) -> Policy:
    """Return the policy that a text describes; a policy is returned as it is.

    >>> policy_from("periodic(every=28)")
    Periodic(every=28, phase='random')
    """
    if isinstance(text, Policy):
        return text
    name, arguments = parse_call(text, "policy")
    if name not in POLICIES:
        raise unknown_name("policy", name, POLICIES)
    return build(POLICIES[name], name, arguments)


def build(maker: Callable[..., Policy], name: str, arguments: dict[str, Any]) -> Policy:
    """Return ``maker(**arguments)``; a setting that it does not know is a clear error."""
    known = [spec.name for spec in fields(maker)]  # type: ignore[arg-type]  # dataclasses
    for setting in arguments:
        if setting not in known:
            raise unknown_name(f"setting of `{name}`", setting, known or ["(none)"])
    try:
        return maker(**arguments)
    except TypeError as error:
        raise SettingsError(f"`{name}` cannot be built from {arguments}: {error}") from error


def _check(owner: Policy, setting: str, good: bool, expected: str, hint: str) -> None:
    if not good:
        raise SettingsError(
            f"`{setting}` of `{type(owner).__name__}` must be {expected}. "
            f"Got {getattr(owner, setting)!r}. Hint: {hint}.",
        )
