"""How the forecasts of a pool are combined: weights that follow the members' recent losses.

Takes scores and the losses of a batch, gives scores and weights. All arrays have the members on
their last axis; the axes before it (streams, slot classes) are independent of each other.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import SettingsError, unknown_name

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

LOWEST = np.float32(-80.0)
"""Scores below the best one are kept above this: ``exp`` of it is as good as nothing."""


class CombinationRule(Protocol):
    """What a rule must do: forget, learn, weigh.

    Scores are ``(..., n_members) float32``, higher is better, 0 for the best active member;
    ``active (..., n_members) bool``. Scores of members that are not active mean nothing.
    """

    def updated(self, scores: Floats, losses: Floats, active: Bools) -> Floats:
        """Return the scores after one batch.

        ``losses (..., n_members)`` are relative to a common unit; NaN for all = not observed,
        nothing changes; NaN for one member = it was asleep and is treated as the pool's mean.
        """
        ...

    def weights(self, scores: Floats, active: Bools) -> Floats:
        """Return weights ``(..., n_members) float32`` that are 0 or more and sum to 1."""
        ...


@dataclass(frozen=True, slots=True)
class FixedShare:
    """Exponential weights of which a share is spread over all members after every batch.

    Herbster and Warmuth (1998), "Tracking the best expert", figure 1. With losses in ``[0, 1]``,
    ``m`` members and ``T`` batches, the loss of the pool exceeds that of the best sequence of
    members with ``k`` switches by at most ``((k + 1) ln m + k ln(1/share) + (T - k - 1)
    ln(1/(1 - share))) / rate + rate T / 8`` (theorem 2 and Hoeffding's inequality, see
    Cesa-Bianchi and Lugosi 2006, theorem 5.1), for any convex loss of the combined forecast.

    rate
        learning rate per unit of loss.
    share
        share of the weight that is spread evenly: a member that was bad for long can come back.

    >>> rule, active = FixedShare(rate=1.0, share=0.02), np.array([True, True])
    >>> scores = np.zeros(2, dtype=np.float32)
    >>> for _ in range(5):
    ...     scores = rule.updated(scores, np.array([1.0, 2.0]), active)
    >>> print(rule.weights(scores, active).round(2))
    [0.98 0.02]
    """

    rate: float = 1.0
    share: float = 0.02

    def __post_init__(self) -> None:
        _check("rate", 0 < self.rate < np.inf, self.rate, "above 0")
        _check("share", 0 <= self.share < 1, self.share, "from 0 to below 1")

    def updated(self, scores: Floats, losses: Floats, active: Bools) -> Floats:
        """Return log weights after one batch, the best active one 0."""
        seen = _settled(losses, self.weights(scores, active), active)
        known = np.isfinite(seen).any(axis=-1, keepdims=True)
        posterior = self.weights(scores - np.float32(self.rate) * np.where(known, seen, 0), active)
        spread = np.float32(self.share) / np.maximum(active.sum(axis=-1, keepdims=True), 1)
        mixed = np.float32(1 - self.share) * posterior + spread.astype(np.float32)
        with np.errstate(divide="ignore"):
            made = np.log(np.where(active, mixed, 1))
        made = np.where(known & active, _topped(made, active), scores)
        return np.asarray(made, dtype=np.float32)

    def weights(self, scores: Floats, active: Bools) -> Floats:
        """Return the softmax of the log weights of the active members."""
        return _softmax(scores, active)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Exponential weights without a share: for one best member that stays the best.

    Littlestone and Warmuth (1994), "The weighted majority algorithm". Regret against the best
    member at most ``ln(m) / rate + rate T / 8`` for losses in ``[0, 1]`` (Cesa-Bianchi and Lugosi
    2006, theorem 2.2).
    """

    rate: float = 1.0

    def __post_init__(self) -> None:
        _check("rate", 0 < self.rate < np.inf, self.rate, "above 0")

    def updated(self, scores: Floats, losses: Floats, active: Bools) -> Floats:
        """Return log weights after one batch, the best active one 0."""
        return FixedShare(self.rate, 0.0).updated(scores, losses, active)

    def weights(self, scores: Floats, active: Bools) -> Floats:
        """Return the softmax of the log weights of the active members."""
        return _softmax(scores, active)


@dataclass(frozen=True, slots=True)
class BestRecent:
    """All weight on the member with the lowest discounted loss: a selection, no combination.

    Follow the leader with discounted losses (Cesa-Bianchi and Lugosi 2006, section 2.11). It has no
    regret bound: a leader may change with every batch.

    half_life
        batches after which a loss counts half.
    """

    half_life: float = 2.0

    def __post_init__(self) -> None:
        _check("half_life", 0 < self.half_life < np.inf, self.half_life, "above 0 batches")

    def updated(self, scores: Floats, losses: Floats, active: Bools) -> Floats:
        """Return discounted negative losses, the best active one 0."""
        seen = _settled(losses, self.weights(scores, active), active)
        known = np.isfinite(seen).any(axis=-1, keepdims=True)
        made = np.float32(0.5 ** (1 / self.half_life)) * scores - np.where(known, seen, 0)
        made = np.where(known & active, _topped(made, active), scores)
        return np.asarray(made, dtype=np.float32)

    def weights(self, scores: Floats, active: Bools) -> Floats:
        """Return 1 for the best active member (of equal ones the first), else 0."""
        best = np.where(active, scores, -np.inf).argmax(axis=-1)[..., None]
        return np.asarray((np.arange(scores.shape[-1]) == best) & active, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Mean:
    """The plain mean of all members, whatever they lost."""

    def updated(self, scores: Floats, losses: Floats, active: Bools) -> Floats:
        """Return the scores as they are."""
        return scores

    def weights(self, scores: Floats, active: Bools) -> Floats:
        """Return equal weights of the active members."""
        count = np.maximum(active.sum(axis=-1, keepdims=True), 1)
        return np.asarray(active / count, dtype=np.float32)


def rule_from(name: str, rate: float, share: float, half_life: float) -> CombinationRule:
    """Return the rule of this name with its settings.

    Raises
    ------
    SettingsError
        The name is unknown or a setting out of range.
    """
    if name == "fixed_share":
        return FixedShare(rate, share)
    if name == "exponential":
        return Exponential(rate)
    if name == "select":
        return BestRecent(half_life)
    if name == "mean":
        return Mean()
    raise unknown_name("rule of combination", name, RULES)


RULES = ("fixed_share", "exponential", "select", "mean")


def entered(scores: Floats, active: Bools, place: NDArray[np.int64], weights: Floats) -> Floats:
    """Return scores in which a new member has the mean weight of the others.

    ``scores``, ``active``, ``weights (n, n_classes, n_members)``; ``place (n,)``, the new member,
    not active yet or about to be replaced. Scores are those of `FixedShare` (logs of weights up to
    a constant); in other rules a new member starts level with the mean weight's logarithm, too.
    """
    others = active.copy()
    np.put_along_axis(others, place[:, None, None], False, axis=-1)
    count = np.maximum(others.sum(axis=-1, keepdims=True), 1)
    tops = np.where(others, scores, -np.inf).max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        mean = np.where(others, np.exp(scores - tops), 0).sum(axis=-1, keepdims=True) / count
    alone = ~others.any(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        start = np.where(alone, 0, np.log(mean) + tops)
    made = scores.copy()
    np.put_along_axis(made, place[:, None, None], start.astype(np.float32), axis=-1)
    return made


def _settled(losses: Floats, weights: Floats, active: Bools) -> Floats:
    """Return losses in which a sleeping member has the pool's mean; NaN where nobody is awake."""
    losses = losses.astype(np.float32, copy=False)
    awake = np.isfinite(losses) & active
    if (awake == active).all():
        return np.where(active, losses, 0)
    mass = np.where(awake, weights, 0)
    total = mass.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (mass * np.where(awake, losses, 0)).sum(axis=-1, keepdims=True) / total
    anyone = awake.any(axis=-1, keepdims=True)
    return np.asarray(np.where(awake, losses, np.where(anyone, mean, np.nan)))


def _softmax(scores: Floats, active: Bools) -> Floats:
    top = np.where(active, scores, -np.inf).max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        mass = np.where(active, np.exp(scores - top), 0)
    total = mass.sum(axis=-1, keepdims=True)
    made = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
    return np.asarray(made, dtype=np.float32)


def _topped(scores: Floats, active: Bools) -> Floats:
    top = np.where(active, scores, -np.inf).max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.maximum(scores - top, LOWEST))


def _check(setting: str, good: bool, got: object, expected: str) -> None:
    if not good:
        raise SettingsError(f"`{setting}` of a combination must be {expected}. Got {got!r}.")
