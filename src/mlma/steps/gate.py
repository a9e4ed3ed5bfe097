"""Gate and roll-back: a version goes live, stays or comes back by what both versions lost.

Takes the challengers of the streams and the losses of champion and challenger in a batch, gives the
challengers after the batch, and where to deploy, to drop or to roll back. Next is `deploy` of
`steps.refer`, or `restored` of `steps.rollback`.

::

    open_trial -> judged_trial, batch after batch -> deploy -> watch_former
                                                  -> drop   -> closed
    watch_former -> judged_former, batch after batch -> roll back -> closed
                                                     -> over      -> closed
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlma.domain.challengers import Challengers, PairedEvidence, Role
from mlma.stats.paired import POWERS, is_better, is_worse, log_capital, paired

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.int64]

LEVEL = 0.2
"""Probability with which a version that is no better may reach the evidence that it is.

Lenient on purpose: among equal versions a false deployment costs nothing, and a worse one is
deployed far more rarely (docs/statistics/paired.md).
"""

TRIAL_BATCHES = 14
"""Batches after which a trial ends in any case."""

WATCH_BATCHES = 14
"""Batches for which the former version stays beside the one that replaced it."""

LEAST_BATCHES = 3


def no_challengers(n_streams: int) -> Challengers:
    """Return streams without a challenger.

    >>> no_challengers(2).role.tolist()
    [0, 0]
    """
    return Challengers.none(n_streams, len(POWERS))


def open_trial(
    state: Challengers,
    rows: Rows,
    champion: Floats,
    challenger: Floats,
    *,
    champion_age: NDArray[np.integer] | None = None,
) -> Challengers:
    """Return the challengers after new versions of the streams ``rows`` came in on trial.

    The trial starts with the batches that neither version was trained on. Whoever was the
    challenger of these streams before is replaced.

    Parameters
    ----------
    rows
        ``(k,)``, streams.
    champion, challenger
        ``(k, n_batches) float64``, mean losses of the deployed and of the new version, the last
        column the batch before now; NaN = missing, or not out of sample for one of them. No column
        = nothing is known before the trial.
    champion_age
        ``(k,)``, batches since the deployed version was trained (`AgentState.age`): earlier columns
        are not read, because they are losses of the version before it. None = all are its own.

    >>> state = open_trial(no_challengers(1), np.array([0]), np.ones((1, 9)), np.full((1, 9), 0.8))
    >>> judged_trial(state, np.array([np.nan]), np.array([np.nan]))[1].tolist()
    [True]
    """
    evidence = PairedEvidence.none(len(rows), len(POWERS))
    held_out = champion.shape[1]
    for batch in range(held_out):
        old = champion[:, batch]
        if champion_age is not None:
            old = np.where(held_out - batch <= champion_age, old, np.nan)
        evidence = paired(evidence, old, challenger[:, batch])
    return state.with_rows(rows, _entering(Role.CANDIDATE, evidence))


def watch_former(state: Challengers, rows: Rows) -> Challengers:
    """Return the challengers after the streams ``rows`` got a new version.

    The version that was replaced becomes the challenger. It starts without evidence: what the trial
    saw has been used up by the decision to deploy.
    """
    evidence = PairedEvidence.none(len(rows), len(POWERS))
    return state.with_rows(rows, _entering(Role.FORMER, evidence))


def closed(state: Challengers, rows: Rows) -> Challengers:
    """Return the challengers after those of the streams ``rows`` left."""
    return state.with_rows(rows, no_challengers(len(rows)))


def judged_trial(
    state: Challengers,
    champion_loss: Floats,
    challenger_loss: Floats,
    *,
    level: float = LEVEL,
    batches: int = TRIAL_BATCHES,
) -> tuple[Challengers, Bools, Bools]:
    """Return the challengers after a batch, where to deploy the candidate and where to drop it.

    It is deployed once the evidence says that it is better and its mean loss is lower too; dropped
    once the evidence says that the champion is better. A trial that has not been decided after
    ``batches`` ends: the candidate is deployed if its mean loss is lower and the evidence leans its
    way (the capital on it is above its stake), else dropped. Thus a tie, or no batch at all, keeps
    the champion.

    Parameters
    ----------
    champion_loss, challenger_loss
        ``(n_streams,) float64``, mean losses of the deployed and of the shadow version in this
        batch; NaN = no batch, which adds no evidence but ages the trial. Streams without a
        candidate are not read.
    level
        probability of an error, see `LEVEL`.
    batches
        longest trial.

    Returns
    -------
    The challengers, and ``deploy`` and ``drop``, both ``(n_streams,) bool``, never both True. The
    rows stay as they are, evidence included: call `watch_former` or `closed`. Writes age and
    evidence of candidates.

    >>> state = open_trial(no_challengers(2), np.arange(2), np.ones((2, 0)), np.ones((2, 0)))
    >>> for _ in range(4):
    ...     made = judged_trial(state, np.array([1.0, 1.0]), np.array([0.8, 1.3]))
    ...     state = made[0]
    >>> made[1].tolist(), made[2].tolist()
    ([True, False], [False, True])
    """
    at, part = _seen(state, Role.CANDIDATE, champion_loss, challenger_loss)
    ahead = _ahead(part.evidence)
    better = ahead & is_better(part.evidence, level)
    worse = ~better & is_worse(part.evidence, level)
    ending = (part.age >= batches) & ~better & ~worse
    leaning = ahead & (log_capital(part.evidence.better) > 0)
    deploy = _everywhere(state, at, better | (ending & leaning))
    drop = _everywhere(state, at, worse | (ending & ~leaning))
    return state.with_rows(at, part), deploy, drop


def opened_trial(state: Challengers, rows: Rows, *, level: float = LEVEL) -> tuple[Bools, Bools]:
    """Return where the held-out batches alone decide a trial that was just opened.

    ``deploy`` and ``drop``, both ``(len(rows),) bool``: the two rules of evidence of
    `judged_trial`, without a batch and without the limit.

    >>> state = open_trial(no_challengers(1), np.array([0]), np.ones((1, 9)), np.full((1, 9), 0.8))
    >>> opened_trial(state, np.array([0]))
    (array([ True]), array([False]))
    """
    evidence = state.evidence.rows(rows)
    better = _ahead(evidence) & is_better(evidence, level)
    return better, ~better & is_worse(evidence, level)


def judged_former(
    state: Challengers,
    champion_loss: Floats,
    former_loss: Floats,
    *,
    level: float = LEVEL,
    batches: int = WATCH_BATCHES,
) -> tuple[Challengers, Bools, Bools]:
    """Return the challengers after a batch, where to roll back and where the watch is over.

    The former version comes back only on evidence that it is better and with a lower mean loss too;
    after ``batches`` without it the deployed version stays. Parameters as in `judged_trial`.

    Returns
    -------
    The challengers, and ``roll_back`` and ``over``, both ``(n_streams,) bool``, never both True.
    The rows stay as they are: call `closed`. Writes age and evidence of former versions.

    >>> state = watch_former(no_challengers(1), np.array([0]))
    >>> for _ in range(5):
    ...     state, back, over = judged_former(state, np.array([1.2]), np.array([1.0]))
    >>> back.tolist(), over.tolist()
    ([True], [False])
    """
    at, part = _seen(state, Role.FORMER, champion_loss, former_loss)
    better = _ahead(part.evidence) & is_better(part.evidence, level)
    over = (part.age >= batches) & ~better
    return state.with_rows(at, part), _everywhere(state, at, better), _everywhere(state, at, over)


def _entering(role: Role, evidence: PairedEvidence) -> Challengers:
    n = len(evidence)
    return Challengers(np.full(n, role, dtype=np.int8), np.zeros(n, dtype=np.int32), evidence)


def _seen(
    state: Challengers, role: Role, champion: Floats, challenger: Floats
) -> tuple[Rows, Challengers]:
    """Return the rows with this role, and what is known of them after the batch."""
    at = state.having(role)
    part = state.rows(at)
    evidence = paired(part.evidence, champion[at], challenger[at])
    return at, replace(part, age=part.age + np.int32(1), evidence=evidence)


def _ahead(evidence: PairedEvidence) -> Bools:
    return np.asarray(evidence.challenger_loss < evidence.champion_loss)


def _everywhere(state: Challengers, at: Rows, said: Bools) -> Bools:
    made = np.zeros(len(state), dtype=np.bool_)
    made[at] = said
    return made


def passes_gate(old: Floats, new: Floats) -> Bools:
    """Return where the new version's mean loss is lower, ``(n_streams,) bool``.

    ``old`` and ``new`` are ``(n_streams, n_batches)`` mean losses of both versions on the same
    batches, both out of sample; NaN = missing. Fewer than three common batches: the new version
    passes, because nothing speaks against it.

    >>> passes_gate(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 1.0, 3.0]])).tolist()
    [True]
    """
    shared = np.isfinite(old) & np.isfinite(new)
    gain = np.where(shared, old - new, 0.0).sum(axis=1)
    return np.asarray((gain > 0) | (shared.sum(axis=1) < LEAST_BATCHES))
