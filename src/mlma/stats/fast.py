"""Compiled twins of the hottest loops, where numba is installed (``mlma[fast]``).

Takes and gives what the functions of the same names do in `mlma.stats`; these call a twin where
there is one. One pass over memory does here what takes NumPy a dozen. The environment variable
``MLMA_FAST=0`` goes without.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


def _numba() -> Any:
    if os.environ.get("MLMA_FAST", "1") == "0":
        return None
    try:
        import numba
    except ImportError:
        return None
    return numba


_NUMBA = _numba()
AVAILABLE = _NUMBA is not None
"""Whether the twins are there."""


def _compiled(function: F) -> F:
    if _NUMBA is None:
        return function
    made: F = _NUMBA.njit(nogil=True, cache=True, error_model="numpy")(function)
    return made


def _compiled_sums(function: F) -> F:
    """Compile loops whose sums may be taken in any order: several terms at a time."""
    if _NUMBA is None:
        return function
    loose = {"reassoc", "contract"}
    made: F = _NUMBA.njit(nogil=True, cache=True, error_model="numpy", fastmath=loose)(function)
    return made


@_compiled
def accumulated(evidence: Any, score: Any, allowance: Any, made: Any) -> None:
    """Write ``max(0, evidence + score - allowance)``; a NaN score changes nothing."""
    for row in range(len(evidence)):
        added = evidence[row] + (score[row] - allowance)
        if np.isnan(added):
            made[row] = evidence[row]
        else:
            made[row] = max(added, 0.0)


@_compiled
def absorbed(  # noqa: PLR0917 - compiled functions take positions only
    logs: Any,
    calendar: Any,
    taken: Any,
    positive: Any,
    moved: Any,
    cap: int,
    weight: Any,
    mean: Any,
    variance: Any,
    third: Any,
    typical: Any,
    outlying: Any,
) -> None:
    """Take one batch more into moments, in place: see `mlma.stats.moments.absorbed`."""
    for row in range(len(logs)):
        if not (taken[row] and np.isfinite(logs[row])):
            continue
        one = calendar[row]
        count = 0.0
        for place in range(weight.shape[1]):
            count += weight[row, place]
        size = 1.0 * weight[row, one]
        growing = count < cap or size < 2
        rate = (1.0 if growing else 2.0) / (size + 1)
        away = logs[row] - mean[row, one]
        if growing:
            size += 1
            count += 1
        part = size * rate / count
        kept, square = 1 - rate, away * away
        bend = kept * away * ((kept - rate) * square - 3 * variance[row])
        weight[row, one] = size
        mean[row, one] += rate * away
        third[row] += part * (bend - third[row])
        variance[row] += part * (kept * square - variance[row])
        outlying[row] += part * ((1.0 if moved[row] else 0.0) - outlying[row])
        if positive[row]:
            typical[row] += part * (logs[row] - typical[row])


@_compiled
def expectation(  # noqa: PLR0917 - as above
    weight: Any,
    mean: Any,
    variance: Any,
    third: Any,
    calendar: Any,
    fewest: int,
    centre: Any,
    spread: Any,
    df: Any,
    skewness: Any,
    class_count: Any,
    count: Any,
    level: Any,
) -> None:
    """Write what references expect: see `mlma.stats.moments.expectation`, and their level."""
    for row in range(len(variance)):
        total, held, sum_of_means = 0.0, 0, 0.0
        for place in range(weight.shape[1]):
            total += weight[row, place]
            held += weight[row, place] > 0
            sum_of_means += weight[row, place] * mean[row, place]
        average = sum_of_means / total
        own, middle = 1.0 * weight[row, calendar[row]], mean[row, calendar[row]]
        squares, free = variance[row] * total, total - held
        if own == 0:
            for place in range(weight.shape[1]):
                if weight[row, place] > 0:
                    squares += weight[row, place] * (mean[row, place] - average) ** 2
            middle, own, free = average, total, total - 1
        skew = third[row] / (variance[row] * np.sqrt(variance[row]))
        skew *= np.sqrt(total * (total - 1)) / (total - 2)
        centre[row], class_count[row], count[row], level[row] = middle, own, total, average
        df[row] = free if free > 0 else np.nan
        spread[row] = squares / df[row]
        skewness[row] = skew if total >= fewest and np.isfinite(skew) else 0.0


@_compiled
def shifted(scores: Any, active: Any, made: Any) -> None:
    """Write scores less the row's best active one; minus infinity where not active."""
    for row in range(scores.shape[0]):
        top = np.float32(-np.inf)
        for one in range(scores.shape[1]):
            if active[row, one]:
                top = max(top, scores[row, one])
        for one in range(scores.shape[1]):
            made[row, one] = scores[row, one] - top if active[row, one] else -np.inf


@_compiled
def normalised(mass: Any) -> None:
    """Divide rows by their sums, in place; rows of nothing stay."""
    for row in range(mass.shape[0]):
        total = np.float32(0.0)
        for one in range(mass.shape[1]):
            total += mass[row, one]
        if total > 0:
            for one in range(mass.shape[1]):
                mass[row, one] /= total


@_compiled
def _cut(loss: Any, largest: Any) -> Any:
    """Return a loss between plus and minus the largest one; NaN stays."""
    return largest if loss > largest else (-largest if loss < -largest else loss)


@_compiled
def charged(  # noqa: PLR0917 - as above
    scores: Any, losses: Any, active: Any, rate: Any, largest: Any, made: Any, known: Any
) -> None:
    """Write scores less rate times loss, the best 0, and where any loss is known.

    Minus infinity where not active. A sleeping member has the mean of those that are awake.
    """
    for row in range(scores.shape[0]):
        least, asleep = losses.dtype.type(np.inf), False
        for one in range(scores.shape[1]):
            loss = _cut(losses[row, one], largest)
            least = loss if active[row, one] and loss < least else least
            asleep |= active[row, one] and np.isnan(loss)
        known[row] = least < np.inf
        middle = np.float32(0.0)
        if asleep and known[row]:
            middle = _mean_awake(scores[row], losses[row], active[row], least, largest)
        top = np.float32(-np.inf)
        for one in range(scores.shape[1]):
            beyond = np.float32(_cut(losses[row, one], largest) - least)
            beyond = middle if np.isnan(beyond) else beyond
            score = scores[row, one] - rate * beyond
            made[row, one] = score if active[row, one] else np.float32(-np.inf)
            top = score if active[row, one] and score > top else top
        for one in range(scores.shape[1]):
            made[row, one] -= top


@_compiled
def _mean_awake(scores: Any, losses: Any, active: Any, least: Any, largest: Any) -> Any:
    """Return the weighted mean loss above the least of those that are awake."""
    top = np.float32(-np.inf)
    for one in range(len(scores)):
        if active[one] and not np.isnan(losses[one]):
            top = max(top, scores[one])
    total, mean = 0.0, 0.0
    for one in range(len(scores)):
        if active[one] and not np.isnan(losses[one]):
            mass = np.exp(scores[one] - top)
            total += mass
            mean += mass * (_cut(losses[one], largest) - least)
    return np.float32(mean / total)


@_compiled
def spread(mass: Any, active: Any, share: Any) -> None:
    """Spread a share of the rows' mass over the active ones, in place; the best one is 1."""
    kept = np.float32(1.0) - share
    for row in range(mass.shape[0]):
        total, count = np.float32(0.0), 0
        for one in range(mass.shape[1]):
            total += mass[row, one]
            count += active[row, one]
        given = share * total / np.float32(max(count, 1))
        best = kept + given
        for one in range(mass.shape[1]):
            mass[row, one] = (kept * mass[row, one] + given) / best


@_compiled
def kept(scores: Any, active: Any, known: Any, lowest: Any, made: Any) -> None:
    """Put the old scores where nothing is known or active; new ones stay above the lowest."""
    for row in range(scores.shape[0]):
        for one in range(scores.shape[1]):
            if known[row] and active[row, one]:
                made[row, one] = max(made[row, one], lowest)
            else:
                made[row, one] = scores[row, one]


@_compiled
def measured(  # noqa: PLR0917 - as above
    unit: Any,
    means: Any,
    active: Any,
    outlying: Any,
    largest: Any,
    smallest: Any,
    batches: Any,
    relative: Any,
    after: Any,
) -> None:
    """Write losses relative to their unit and the unit after them: see `mlma.steps.pool`."""
    for row in range(means.shape[0]):
        for kind in range(means.shape[1]):
            before, cap = unit[row, kind], outlying * unit[row, kind]
            if np.isnan(before):
                least = largest
                for one in range(means.shape[2]):
                    loss = abs(means[row, kind, one])
                    least = loss if active[row, one] and 0 < loss < least else least
                cap = outlying * least
            cap = cap if cap < largest else largest
            total, count = np.float32(0.0), 0
            for one in range(means.shape[2]):
                loss = abs(means[row, kind, one])
                seen = active[row, one] and not np.isnan(loss)
                loss = loss if loss < cap else cap
                total += loss if seen else np.float32(0.0)
                count += seen
            level = total / np.float32(count) if count else np.float32(np.nan)
            after[row, kind] = before
            if level > 0:
                before = level if np.isnan(before) else before
                moved = before + (level - before) / batches
                after[row, kind] = min(max(moved, smallest), largest)
            divisor = np.float32(1.0) if np.isnan(before) else max(before, smallest)
            for one in range(means.shape[2]):
                relative[row, kind, one] = means[row, kind, one] / divisor


_ONE, _TWO, _THREE, _FOUR = (np.uint64(number) for number in (1, 2, 3, 4))
# Slots are unsigned: numba looks whether a signed index is negative, at each of them.


@_compiled_sums
def difference_means(  # noqa: PLR0917 - as above
    y: Any, forecasts: Any, squared: bool, starts: Any, ends: Any, place: Any, made: Any
) -> None:
    """Write mean losses of ``y`` and ``forecasts``: see `mlma.stats.mixtures.loss_means`.

    Runs of slots ``starts`` to ``ends`` belong to the classes ``place``.
    """
    losses = np.empty(y.shape[1], dtype=np.float32)
    total = np.empty(made.shape[1], dtype=np.float32)
    size = np.zeros(made.shape[1], dtype=np.float32)
    for run in range(starts.shape[0]):
        size[place[run]] += np.float32(ends[run] - starts[run])
    share, count = np.float32(1.0) / size, size.copy()
    for row in range(y.shape[0]):
        for one in range(forecasts.shape[1]):
            for slot in range(y.shape[1]):
                away = np.float32(y[row, slot] - forecasts[row, one, slot])
                losses[slot] = away * away if squared else abs(away)
            for kind in range(made.shape[1]):
                total[kind] = np.float32(0.0)
            whole = True
            for run in range(starts.shape[0]):
                some = _short_sum(losses, starts[run], ends[run])
                if not some < np.float32(1e30):
                    some, unseen = _seen_sum(losses, starts[run], ends[run])
                    count[place[run]] -= unseen
                    whole = False
                total[place[run]] += some
            for kind in range(made.shape[1]):
                made[row, kind, one] = total[kind] * share[kind]
            if not whole:
                for kind in range(made.shape[1]):
                    made[row, kind, one] = total[kind] / count[kind] if count[kind] else np.nan
                count[:] = size


@_compiled_sums
def _short_sum(values: Any, start: Any, end: Any) -> Any:
    """Return a sum, taken four at a time: runs are short."""
    a = b = c = d = np.float32(0.0)
    slot = start
    while slot + _THREE < end:
        a += values[slot]
        b += values[slot + _ONE]
        c += values[slot + _TWO]
        d += values[slot + _THREE]
        slot += _FOUR
    while slot < end:
        a += values[slot]
        slot += _ONE
    return (a + b) + (c + d)


@_compiled
def _seen_sum(values: Any, start: Any, end: Any) -> Any:
    """Return the sum of the losses that are there, each 1e30 at most, and how many are not."""
    some, unseen = np.float32(0.0), np.float32(0.0)
    slot = start
    while slot < end:
        if np.isnan(values[slot]):
            unseen += np.float32(1.0)
        else:
            some += min(values[slot], np.float32(1e30))
        slot += _ONE
    return some, unseen


@_compiled_sums
def mixed(  # noqa: PLR0917 - as above
    weights: Any, forecasts: Any, starts: Any, ends: Any, place: Any, made: Any
) -> Any:
    """Write weighted means of the members' forecasts, return whether all are finite.

    See `mlma.stats.mixtures.mixture`.
    """
    weight = np.empty(made.shape[1], dtype=made.dtype)
    mean = np.empty(made.shape[1], dtype=made.dtype)
    odd = made.dtype.type(0)
    for row in range(forecasts.shape[0]):
        mean[:] = 0
        for one in range(forecasts.shape[1]):
            for run in range(starts.shape[0]):
                _fill(weight, starts[run], ends[run], weights[row, place[run], one])
            for slot in range(made.shape[1]):
                mean[slot] += weight[slot] * forecasts[row, one, slot]
        for run in range(starts.shape[0]):
            total = made.dtype.type(0)
            for one in range(weights.shape[2]):
                total += weights[row, place[run], one]
            _fill(weight, starts[run], ends[run], total)
        for slot in range(made.shape[1]):
            made[row, slot] = mean[slot] / weight[slot]
            odd += made[row, slot] * 0  # NaN where it is not finite
    return odd == 0


@_compiled
def _fill(values: Any, start: Any, end: Any, value: Any) -> None:
    slot = start
    while slot + _THREE < end:
        values[slot], values[slot + _ONE] = value, value
        values[slot + _TWO], values[slot + _THREE] = value, value
        slot += _FOUR
    while slot < end:
        values[slot] = value
        slot += _ONE
