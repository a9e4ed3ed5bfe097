"""Outcome: what each re-training gained, and each one that was withheld at random.

Takes the log losses of a cycle and what went live before it, gives the outcomes that are finished.
Next are `mlma.stats.gains`, which learns from them, and `escalate`.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlma.domain.chance import uniforms
from mlma.domain.columns import Columns
from mlma.domain.outcomes import (
    FEWEST_PAIRS,
    JUDGED,
    Asked,
    Kind,
    Outcomes,
    OutcomeState,
    Window,
)
from mlma.domain.verdicts import Codes, Reason

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

BOUND_Z = 1.6448536269514722
"""Standard errors below the mean at which the lower bound of a rise stands: 95 %, one side."""

_WITHHELD_DRAW = 2**40
_REASON_OF = np.array(
    [Reason.NONE, Reason.ALARM, Reason.FOLLOW_UP, Reason.MAX_AGE], dtype=np.int8
)  # by kind


def withheld(
    asked: Bools, share: float, keys: NDArray[np.uint64], cycle: ArrayLike, seed: int
) -> Bools:
    """Return which re-trainings are withheld, ``(n_streams,)``: a random share of those asked for.

    ``asked`` are those that would be carried out now and measured: neither what the budget defers
    nor streams with an open window are part of the experiment. ``cycle`` is a number, or
    ``(n_streams,)``.

    >>> from mlma.domain.chance import stream_keys
    >>> keys = stream_keys(map(str, range(1000)))
    >>> int(withheld(np.ones(1000, dtype=bool), 0.1, keys, 3, seed=0).sum())
    99
    """
    if not share or not asked.any():
        return np.zeros(len(asked), dtype=np.bool_)
    draw = uniforms(seed, keys, np.asarray(cycle, dtype=np.int64) + _WITHHELD_DRAW)
    return asked & (draw < share)


def held_back(state: OutcomeState) -> Bools:
    """Return streams whose re-training was withheld and is still compared: their request waits."""
    return state.window.open & state.window.withheld


def asked_again(made: Outcomes, back: Bools) -> Codes:
    """Return why streams ask again whose withheld window is over, ``(n_streams,) int8``.

    ``back (n_streams,)``, of `recovered`: an alarm is then over, an old model is still old.
    `Reason.NONE` = does not ask again.

    >>> made = measured(OutcomeState.new(2), np.zeros(2), np.ones(2, bool), np.zeros(2, bool))[1]
    >>> asked_again(made, np.zeros(2, dtype=bool)).tolist()
    [0, 0]
    """
    again = np.full(len(back), Reason.NONE, dtype=np.int8)
    by_age = made.asked.kind == Kind.AGE
    over = made.withheld & (by_age | ~back[made.row])
    again[made.row[over]] = _REASON_OF[made.asked.kind[over]]
    return again


def noted(
    state: OutcomeState,
    rows: Ints,
    kind: Codes,
    features: Floats,
    since: NDArray[np.int8] | None = None,
) -> OutcomeState:
    """Return the state after re-trainings of ``rows`` were granted or withheld.

    ``kind (len(rows),)`` and ``features (len(rows), 3)`` as in `Asked`; ``since (len(rows),)`` of
    `rise`, read where the kind is an alarm: an alarm's losses before are those since the break.
    Writes asked.
    """
    whole = np.full(len(rows), JUDGED, dtype=np.int8)
    since = whole if since is None else np.where(kind == Kind.ALARM, since, whole)
    asked = Asked(kind.astype(np.int8), features.astype(np.float32), since.astype(np.int8))
    return replace(state, asked=state.asked.with_rows(rows, asked))


def measured(
    state: OutcomeState, log_loss: Floats, deployed: Bools, withheld: Bools
) -> tuple[OutcomeState, Outcomes]:
    """Return the state after a batch, and the outcomes that are finished.

    The `JUDGED` batches from a re-training on are compared with the batches `JUDGED` earlier, pair
    by pair, so that weekdays meet their like where a week is `JUDGED` batches. Of the batches
    before an alarm only those since the break count: the mean of all is moved by the step from all
    to these. A version that goes live meanwhile has no outcome of its own and does not end the one
    that runs: which windows were cut short would depend on their gain. Writes recent and window.

    Parameters
    ----------
    log_loss
        ``(n_streams,)``, log of the batch's mean loss, difficulty taken out; not finite = none.
    deployed, withheld
        ``(n_streams,) bool``, a new version went live before this batch; one was withheld that
        would have.

    >>> state, no = OutcomeState.new(1), np.zeros(1, dtype=bool)
    >>> for _ in range(7):
    ...     state, made = measured(state, np.array([0.5]), no, no)
    >>> for batch in range(7):
    ...     state, made = measured(state, np.array([0.2]), no | (batch == 0), no)
    >>> made.gain.round(2).tolist()
    [0.3]
    """
    start = (deployed | withheld) & ~state.window.open
    seen = np.where(np.isfinite(log_loss), log_loss, np.nan).astype(np.float32)
    rows = np.flatnonzero(state.window.open | start)
    part = _opened(state.rows(rows), start[rows], (withheld & ~deployed)[rows])
    part = _with_batch(part, state.recent[rows, 0], seen[rows])
    full = np.flatnonzero(part.batches >= JUDGED)
    finished = _outcomes(rows[full], part.rows(full))
    part = part.with_rows(full, Window.closed(len(full)))
    window = state.window.with_rows(rows, part) if len(rows) else state.window
    recent = np.empty_like(state.recent)
    recent[:, :-1], recent[:, -1] = state.recent[:, 1:], seen
    return OutcomeState(recent, state.asked, window), finished


def recovered(state: OutcomeState, level: Floats, margin: float = 0.02) -> Bools:
    """Return where the mean log loss of the last batches is at most ``margin`` above ``level``.

    ``level (n_streams,)``, log loss of the healthy state; NaN, or fewer than `FEWEST_PAIRS` losses
    = not recovered.

    >>> state, no = OutcomeState.new(1), np.zeros(1, dtype=bool)
    >>> for _ in range(4):
    ...     state, _ = measured(state, np.array([0.1]), no, no)
    >>> recovered(state, np.array([0.0])).tolist(), recovered(state, np.array([0.09])).tolist()
    ([False], [True])
    """
    known = np.isfinite(state.recent)
    count = known.sum(axis=1)
    total = np.where(known, state.recent, 0).sum(axis=1, dtype=np.float64)
    return np.asarray((total <= count * (level + margin)) & (count >= FEWEST_PAIRS))


@dataclass(frozen=True, slots=True)
class Rise(Columns):
    """How far losses have risen lately, and since when, ``(n_streams,)`` each.

    lower
        float64, lower confidence bound of the rise in logs; NaN = not known.
    since
        int8, number of the last batches over which that bound is the highest, up to `JUDGED`.
    """

    lower: Floats
    since: NDArray[np.int8]


def rise(state: OutcomeState, level: Floats, spread: Floats) -> Rise:
    """Return how far the loss has risen at least, and since when.

    A break may be any number of batches old, so the bound is taken over the last 1, 2, .. `JUDGED`
    batches, and the highest counts: for ranking, not for a test.

    Parameters
    ----------
    level
        ``(n_streams,)``, log loss that the reference expects, difficulty taken out.
    spread
        ``(n_streams,)``, standard error of one batch's log loss against it.

    >>> state, no = OutcomeState.new(1), np.zeros(1, dtype=bool)
    >>> for loss in (0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5):
    ...     state, _ = measured(state, np.array([loss]), no, no)
    >>> seen = rise(state, np.zeros(1), np.full(1, 0.1))
    >>> seen.lower.round(2).tolist(), seen.since.tolist()
    ([0.38], [2])
    """
    latest = state.recent[:, ::-1].astype(np.float64)
    known = np.isfinite(latest)
    count = known.cumsum(axis=1)
    total = np.where(known, latest, 0.0).cumsum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = total / count - level[:, None] - BOUND_Z * spread[:, None] / np.sqrt(count)
    bound[~np.isfinite(bound)] = -np.inf
    at = bound.argmax(axis=1)
    highest = bound[np.arange(len(bound)), at]
    found = np.isfinite(highest)
    since = np.where(found, at + 1, JUDGED).astype(np.int8)
    return Rise(np.where(found, highest, np.nan), since)


def _opened(state: OutcomeState, start: Bools, withheld: Bools) -> Window:
    """Return the windows, new ones open where ``start``."""
    rows = np.flatnonzero(start)
    asked = state.asked.rows(rows)
    kind = np.where(asked.kind == Kind.NONE, np.int8(Kind.AGE), asked.kind).astype(np.int8)
    made = replace(
        Window.closed(len(rows)),
        asked=replace(asked, kind=kind),
        withheld=withheld[rows],
        step=_step(state.recent[rows], asked.since),
    )
    return state.window.with_rows(rows, made)


def _step(recent: NDArray[np.float32], since: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return the mean of the last ``since`` batches less that of all; 0 = not known."""
    known = np.isfinite(recent)
    late = known & (np.arange(JUDGED) >= JUDGED - since[:, None])
    few, all_of = late.sum(axis=1), known.sum(axis=1)
    losses = np.where(known, recent, np.float32(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(late, losses, 0).sum(axis=1) / few - losses.sum(axis=1) / all_of
    return np.where(np.isfinite(step), step, 0).astype(np.float32)


def _with_batch(window: Window, before: NDArray[np.float32], now: NDArray[np.float32]) -> Window:
    """Return windows after one batch; ``before`` is the log loss `JUDGED` batches earlier."""
    fall = before - now
    told = np.isfinite(fall)
    fall, now = np.where(told, fall, np.float32(0)), np.where(told, now, np.float32(0))
    return replace(
        window,
        batches=window.batches + np.int8(1),
        pairs=window.pairs + told.astype(np.int8),
        total=window.total + fall,
        squares=window.squares + fall**2,
        after=window.after + now,
    )


def _outcomes(rows: Ints, window: Window) -> Outcomes:
    """Return what came of full windows ``(len(rows),)``."""
    pairs = np.where(window.pairs >= FEWEST_PAIRS, window.pairs, np.nan)
    fall = window.total / pairs
    deviations = np.maximum(window.squares - window.total.astype(np.float64) * fall, 0.0)
    # A pair has the variance of two batches.
    error = np.sqrt(deviations / (pairs - 1) / 2 * (1 / window.asked.since + 1 / pairs))
    return Outcomes(
        row=rows,
        asked=window.asked,
        withheld=window.withheld,
        gain=fall + window.step,
        error=error,
        after=window.after / pairs,
        pairs=window.pairs,
    )
