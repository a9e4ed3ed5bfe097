"""How the forecasts of a pool are combined: weights that follow the members' recent losses.

Takes scores and the losses of a batch, gives scores and weights. All arrays have the members on
their last axis; the axes before it (streams, slot classes) are independent of each other. Next is
the combination, `mlma.stats.mixtures`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import SettingsError, unknown_name
from mlma.stats import fast

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

LOWEST = np.float32(-80.0)
"""Scores below the best one are kept above this: ``exp`` of it is as good as nothing."""

LARGEST = np.float32(1e30)
"""Losses above this count as this, infinite ones too."""


class CombinationRule(Protocol):
    """What a rule must do: forget, learn, weigh.

    Scores are ``(..., n_members) float32``, higher is better, 0 for the best active member;
    ``active (..., n_members) bool`` broadcasts to them. Scores of members that are not active mean
    nothing and are left alone.
    """

    def updated(self, scores: Floats, losses: Floats, active: Bools) -> Floats:
        """Return the scores after one batch, ``float32``.

        ``losses (..., n_members)`` are relative to a common unit, and just their differences
        matter; NaN for all = not observed, nothing changes; NaN for one member = it was asleep and
        is treated as the pool's mean, weighted as before the batch.
        """
        ...

    def weights(self, scores: Floats, active: Bools) -> Floats:
        """Return weights, ``float32``, 0 or more.

        They sum to 1 over the active members; 0 for the others, and for all where none is active.
        """
        ...


@dataclass(frozen=True, slots=True)
class FixedShare:
    """Exponential weights of which a share is spread over all members after every batch.

    Herbster and Warmuth (1998), "Tracking the best expert", in the form of Cesa-Bianchi and Lugosi
    (2006, section 5.2): the share is spread over all members, the one that gives included; theirs
    is ``share (m - 1) / m`` of the original, which gives to the others. With losses in ``[0, 1]``
    that are convex in the forecast, ``m`` members and ``T`` batches, the loss of the pool exceeds
    that of any sequence of members with ``k`` switches by at most

    ``((k + 1) ln m + k ln(1 / share) + (T - k - 1) ln(1 / (1 - share))) / rate + rate T / 8``.

    It is the bound of exponential weights over sequences of members: such a sequence has the prior
    weight ``(1 / m) (share / m)^k (1 - share)^(T - k - 1)`` at least.

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
        return _multiplied(scores, losses, active, self.rate, self.share)

    def weights(self, scores: Floats, active: Bools) -> Floats:
        """Return the softmax of the log weights of the active members."""
        return _softmax(scores, active)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Exponential weights without a share: for one best member that stays the best.

    Littlestone and Warmuth (1994), "The weighted majority algorithm". For losses in ``[0, 1]`` that
    are convex in the forecast, the loss of the pool exceeds that of the best member by at most
    ``ln(m) / rate + rate T / 8`` (Cesa-Bianchi and Lugosi 2006, theorem 2.2).

    >>> rule, active = Exponential(rate=1.0), np.array([True, True])
    >>> scores = rule.updated(np.zeros(2, dtype=np.float32), np.array([1.0, 2.0]), active)
    >>> print(rule.weights(scores, active).round(2))
    [0.73 0.27]
    """

    rate: float = 1.0

    def __post_init__(self) -> None:
        _check("rate", 0 < self.rate < np.inf, self.rate, "above 0")

    def updated(self, scores: Floats, losses: Floats, active: Bools) -> Floats:
        """Return log weights after one batch, the best active one 0."""
        return _multiplied(scores, losses, active, self.rate, 0.0)

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

    >>> rule, active = BestRecent(half_life=2.0), np.array([True, True])
    >>> scores = rule.updated(np.zeros(2, dtype=np.float32), np.array([1.0, 2.0]), active)
    >>> print(rule.weights(scores, active))
    [1. 0.]
    """

    half_life: float = 7.0

    def __post_init__(self) -> None:
        _check("half_life", 0 < self.half_life < np.inf, self.half_life, "above 0 batches")

    def updated(self, scores: Floats, losses: Floats, active: Bools) -> Floats:
        """Return discounted negative losses, the best active one 0."""
        seen, known = _settled(losses, active, lambda awake: self.weights(scores, awake))
        made = np.float32(0.5 ** (1 / self.half_life)) * scores - seen
        return np.asarray(np.where(known & active, _topped(made, active), scores), np.float32)

    def weights(self, scores: Floats, active: Bools) -> Floats:
        """Return 1 for the best active member, else 0; equal ones share it."""
        masked = np.where(active, scores, -np.inf)
        best = (masked == over_members(np.maximum, masked)) & active
        return np.asarray(best / np.maximum(over_members(np.add, best), 1), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Mean:
    """The plain mean of all members, whatever they lost.

    >>> print(Mean().weights(np.zeros(2, dtype=np.float32), np.array([True, True])))
    [0.5 0.5]
    """

    def updated(self, scores: Floats, losses: Floats, active: Bools) -> Floats:
        """Return the scores as they are."""
        return scores

    def weights(self, scores: Floats, active: Bools) -> Floats:
        """Return equal weights of the active members."""
        taken = np.broadcast_to(active, scores.shape)
        return np.asarray(taken / np.maximum(over_members(np.add, taken), 1), dtype=np.float32)


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


def entered(scores: Floats, active: Bools, place: NDArray[np.int64]) -> Floats:
    """Return scores in which a new member has the mean weight of the others, the best one 0.

    ``scores (n, n_classes, n_members)``, ``active`` the same; ``place (n,)``, the new member, not
    active yet or about to be replaced. Scores are taken for logs of weights, as those of
    `FixedShare` are; with `BestRecent`, too, a new member starts behind the best one.
    """
    at, others = place[:, None, None], active.copy()
    np.put_along_axis(others, at, False, axis=-1)
    mass, top = _mass(scores, others)
    mean = over_members(np.add, mass) / np.maximum(over_members(np.add, others), 1)
    start = np.log(np.where(mean > 0, mean, 1)) + top
    made, taken = scores.copy(), others
    np.put_along_axis(made, at, start.astype(np.float32), axis=-1)
    np.put_along_axis(taken, at, True, axis=-1)
    return np.asarray(np.where(taken, _topped(made, taken), made), dtype=np.float32)


def _multiplied(scores: Floats, losses: Floats, active: Bools, rate: float, share: float) -> Floats:
    """Return log weights after one batch: multiplied by ``exp(-rate loss)``, a share spread."""
    if fast.AVAILABLE:
        return _fast_multiplied(scores, losses, active, rate, share)
    seen, known = _settled(losses, active, lambda awake: _softmax(scores, awake))
    with np.errstate(over="ignore"):
        made = scores - np.float32(rate) * seen
    if share:
        made = _shared(made, active, np.float32(share))
    return np.asarray(np.where(known & active, _topped(made, active), scores), np.float32)


def _shared(scores: Floats, active: Bools, share: np.float32) -> Floats:
    mass, _ = _mass(scores, active)
    count = np.maximum(over_members(np.add, np.broadcast_to(active, scores.shape)), 1)
    spread = share * over_members(np.add, mass) / count.astype(np.float32)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log((1 - share) * mass + spread))


def _fast_multiplied(
    scores: Floats, losses: Floats, active: Bools, rate: float, share: float
) -> Floats:
    old = np.ascontiguousarray(scores, dtype=np.float32)
    made = np.empty_like(old)
    before, seen, taken = (_flat(part, old.shape) for part in (old, losses, active))
    rows, known = made.reshape(before.shape), np.empty(len(before), dtype=np.bool_)
    fast.charged(before, seen, taken, np.float32(rate), LARGEST, rows, known)
    if share:
        np.exp(rows, out=rows)
        fast.spread(rows, taken, np.float32(share))
        with np.errstate(divide="ignore"):  # inactive ones of pools without a member
            np.log(rows, out=rows)
    fast.kept(before, taken, known, LOWEST, rows)
    return made


def _flat(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return values, broadcast, as rows of members."""
    return np.ascontiguousarray(np.broadcast_to(values, shape)).reshape(-1, shape[-1])


def _settled(
    losses: Floats, active: Bools, weigh: Callable[[Bools], Floats]
) -> tuple[Floats, Bools]:
    """Return losses above the lowest one, and where any is known; 0 where none is.

    A sleeping member has the mean of those that are awake, with the weights ``weigh`` gives them.
    """
    capped = np.clip(losses, -LARGEST, LARGEST)
    awake = np.asarray(active & ~np.isnan(capped))
    lowest = over_members(np.minimum, np.where(awake, capped, np.inf))
    known = np.isfinite(lowest)
    seen = np.where(awake, capped - np.where(known, lowest, 0), 0).astype(np.float32)
    if not (awake == active).all():
        mean = over_members(np.add, weigh(awake) * seen)
        seen = np.where(active & ~awake, mean, seen)
    return seen, known


def _softmax(scores: Floats, active: Bools) -> Floats:
    if fast.AVAILABLE:
        old = np.ascontiguousarray(scores, dtype=np.float32)
        made = np.empty_like(old)
        rows = made.reshape(-1, made.shape[-1])
        fast.shifted(_flat(old, old.shape), _flat(active, old.shape), rows)
        np.exp(rows, out=rows)
        fast.normalised(rows)
        return made
    mass, _ = _mass(scores, active)
    total = over_members(np.add, mass)
    return np.asarray(mass / np.where(total > 0, total, 1), dtype=np.float32)


def _mass(scores: Floats, active: Bools) -> tuple[Floats, Floats]:
    """Return ``exp`` of the scores above the top one, and the top one; 0 where none is active."""
    masked = np.where(active, scores, -np.inf)
    top = over_members(np.maximum, masked)
    top = np.where(np.isfinite(top), top, 0)
    return np.exp(masked - top), top


def _topped(scores: Floats, active: Bools) -> Floats:
    top = over_members(np.maximum, np.where(active, scores, -np.inf))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.maximum(scores - top, LOWEST))


def over_members(ufunc: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
    """Return a reduction over the members, kept as an axis of 1.

    Member after member: reductions over a short last axis are several times slower.
    """
    made = values[..., 0].astype(np.int64) if values.dtype == np.bool_ else values[..., 0]
    for member in range(1, values.shape[-1]):
        made = ufunc(made, values[..., member])
    return np.asarray(made)[..., None]


def _check(setting: str, good: bool, got: object, expected: str) -> None:
    if not good:
        raise SettingsError(f"`{setting}` of a combination must be {expected}. Got {got!r}.")
