"""Losses of two versions of one stream, and what gate and roll-back make of them.

``python tests/gates.py`` prints the tables of docs/statistics/paired.md.
"""

from dataclasses import dataclass

import numpy as np

from mlma.domain.challengers import PairedEvidence
from mlma.stats.paired import POWERS, is_better, is_worse, paired
from mlma.steps.gate import (
    LEVEL,
    TRIAL_BATCHES,
    judged_former,
    judged_trial,
    no_challengers,
    open_trial,
    opened_trial,
    passes_gate,
    watch_former,
)

NEVER = 10**6
SD, CORRELATION = 0.15, 0.8


def lognormal_pairs(rng, n, batches, gain=0.0, *, sd=SD, correlation=CORRELATION):
    """Losses of champion and challenger, ``(n, batches)``, of which the latter lose less."""
    common, *own = rng.standard_normal((3, n, batches))
    parts = [np.sqrt(correlation) * common + np.sqrt(1 - correlation) * one for one in own]
    return np.exp(sd * parts[0]), (1 - gain) * np.exp(sd * parts[1])


def days_of_dependent_losses(rng, n, batches, phi, slots=24):
    """Equal versions: absolute errors that are AR(1) within a day, half of them in common."""
    errors = np.empty((2, n, batches))
    for batch in range(batches):
        error, total = rng.standard_normal((2, n)), np.zeros((2, n))
        for _ in range(slots):
            common, own = rng.standard_normal(n), rng.standard_normal((2, n))
            shock = np.sqrt(0.5) * common + np.sqrt(0.5) * own
            error = phi * error + np.sqrt(1 - phi**2) * shock
            total += np.abs(error)
        errors[:, :, batch] = total / slots
    return errors[0], errors[1]


def moody_pairs(rng, n, batches, phi):
    """Equal versions on the whole, whose log ratio is AR(1) from day to day."""
    old, new = lognormal_pairs(rng, n, batches)
    shock = np.log(old / new)
    for batch in range(1, batches):
        shock[:, batch] = phi * shock[:, batch - 1] + np.sqrt(1 - phi**2) * shock[:, batch]
    return np.exp(shock), np.ones_like(shock)


def first_times(old, new, level):
    """First batch, from 1, at which either side reaches the level under continuous monitoring."""
    evidence = PairedEvidence.none(len(old), len(POWERS))
    better, worse = np.full((2, len(old)), NEVER)
    for batch in range(old.shape[1]):
        evidence = paired(evidence, old[:, batch], new[:, batch])
        better = np.minimum(better, np.where(is_better(evidence, level), batch + 1, NEVER))
        worse = np.minimum(worse, np.where(is_worse(evidence, level), batch + 1, NEVER))
    return better, worse


@dataclass
class Trials:
    """What came of trials, all ``(n,)``: deployed, dropped, fresh batches that it took."""

    deployed: np.ndarray
    dropped: np.ndarray
    took: np.ndarray


def trials(old, new, held_out, level=LEVEL, batches=TRIAL_BATCHES):
    """Play trials whose first ``held_out`` columns are held-out batches, the others fresh."""
    rows = np.arange(len(old))
    state = open_trial(no_challengers(len(old)), rows, old[:, :held_out], new[:, :held_out])
    deployed, dropped = opened_trial(state, rows, level=level)
    took = np.where(deployed | dropped, 0, NEVER)
    for number in range(1, batches + 1):
        at = held_out + number - 1
        state, deploy, drop = judged_trial(
            state, old[:, at], new[:, at], level=level, batches=batches
        )
        open_ = took == NEVER
        deployed, dropped = deployed | (open_ & deploy), dropped | (open_ & drop)
        took = np.where(open_ & (deploy | drop), number, took)
    return Trials(deployed, dropped, took)


def rolled_back(deployed, former, level=LEVEL):
    """Batch, from 1, at which the former version comes back; ``NEVER`` = it does not."""
    state = watch_former(no_challengers(len(former)), np.arange(len(former)))
    when = np.full(len(former), NEVER)
    for batch in range(former.shape[1]):
        state, back, _ = judged_former(state, deployed[:, batch], former[:, batch], level=level)
        when = np.minimum(when, np.where(back, batch + 1, NEVER))
    return when


def alarmed(rng, n, batches, last=3, share=0.02):
    """Equal versions, of which the champion's last batches are among its worst."""
    old, new = lognormal_pairs(rng, round(n / share), batches)
    worst = np.argsort(old[:, -last:].mean(axis=1))[-n:]
    return old[worst], new[worst]


def wilder_pairs(rng, n, batches, sd):
    """Versions of equal mean loss, of which the challenger's varies more."""
    old, new = lognormal_pairs(rng, n, batches)
    factor = sd / SD
    return old, new**factor * np.exp((SD**2 - sd**2) / 2)


def share(which):
    return f"{np.mean(which):.3f}"


def median(when):
    middle = np.median(when)
    return "–" if middle >= NEVER else f"{middle:.0f}"


def print_errors(rng, n=5000, batches=400):
    print("ever better or worse, of equal versions; levels .2, .1, .05")
    cases = {
        "lognormal": lognormal_pairs(rng, n, batches),
        "sd .4": lognormal_pairs(rng, n, batches, sd=0.4),
        "AR(1) .3 within the day": days_of_dependent_losses(rng, n, 200, 0.3),
        "AR(1) .6 within the day": days_of_dependent_losses(rng, n, 200, 0.6),
        "AR(1) .2 from day to day": moody_pairs(rng, n, batches, 0.2),
        "AR(1) .5 from day to day": moody_pairs(rng, n, batches, 0.5),
    }
    for name, (old, new) in cases.items():
        cells = []
        for level in (0.2, 0.1, 0.05):
            better, worse = first_times(old, new, level)
            cells.append(f"{share(better < NEVER)}, {share(worse < NEVER)}")
        print(f"| {name} |", " | ".join(cells), "|")


def print_power(rng, n=5000):
    print("median batches to 'better' (share within 14); levels .2, .1, .05")
    for sd in (0.05, SD, 0.4):
        for gain in (0.05, 0.1, 0.2):
            old, new = lognormal_pairs(rng, n, 400, gain, sd=sd)
            when = [first_times(old, new, level)[0] for level in (0.2, 0.1, 0.05)]
            cells = [f"{median(one)} ({np.mean(one <= 14):.2f})" for one in when]
            print(f"| {sd}, {gain:.0%} |", " | ".join(cells), "|")


def print_gate(rng, n=20_000):
    print("gain | sign rule deploys | trial deploys at .2 (median, 90 % of batches), .1, .05")
    for held_out in (0, 7, 14, 28):
        for gain in (-0.1, -0.05, 0.0, 0.05, 0.1):
            old, new = lognormal_pairs(rng, n, held_out + TRIAL_BATCHES, gain)
            sign = share(passes_gate(old[:, :held_out], new[:, :held_out]))
            cells = []
            for level in (0.2, 0.1, 0.05):
                made = trials(old, new, held_out, level)
                late = np.quantile(made.took, 0.9)
                cells.append(f"{share(made.deployed)} ({median(made.took)}, {late:.0f})")
            print(f"| {held_out} | {gain:+.0%} | {sign} |", " | ".join(cells), "|")


def print_rollback(rng, n=20_000):
    print("loss of the deployed version | rolled back in 14 batches at .2, .1, .05")
    for gain in (-0.05, 0.0, 0.05, 0.1, 0.2):
        deployed, former = lognormal_pairs(rng, n, 14, gain)
        when = [rolled_back(deployed, former, level) for level in (0.2, 0.1, 0.05)]
        cells = [f"{share(one < NEVER)} ({median(one)})" for one in when]
        print(f"| {gain:+.0%} |", " | ".join(cells), "|")


def print_violated(rng, n=20_000, held_out=14):
    print("sign rule, trial, rolled back in 14 batches; equal versions, assumption violated")
    total = held_out + TRIAL_BATCHES
    cases = {
        "none": lognormal_pairs(rng, n, total),
        "AR(1) .2 from day to day": moody_pairs(rng, n, total, 0.2),
        "AR(1) .5 from day to day": moody_pairs(rng, n, total, 0.5),
        "challenger of sd .3": wilder_pairs(rng, n, total, 0.3),
        "challenger of sd .45": wilder_pairs(rng, n, total, 0.45),
    }
    for name, (old, new) in cases.items():
        sign = share(passes_gate(old[:, :held_out], new[:, :held_out]))
        back = share(rolled_back(old[:, -14:], new[:, -14:]) < NEVER)
        print(f"| {name} | {sign} | {share(trials(old, new, held_out).deployed)} | {back} |")


def print_selected(rng, n=5000, held_out=28):
    old, new = alarmed(rng, n, held_out)
    later, newer = lognormal_pairs(rng, n, TRIAL_BATCHES)
    for name, last in (("with", held_out), ("without", held_out - 3)):
        known, fresh = old.copy(), new.copy()
        known[:, last:] = np.nan
        sign = share(passes_gate(known, fresh))
        made = trials(np.hstack([known, later]), np.hstack([fresh, newer]), held_out)
        at_once = share(made.deployed & (made.took == 0))
        print(f"alarm {name} its batches: sign {sign}, {share(made.deployed)}, at once {at_once}")


if __name__ == "__main__":
    generator = np.random.default_rng(7)
    print_errors(generator)
    print_power(generator)
    print_gate(generator)
    print_rollback(generator)
    print_violated(generator)
    print_selected(generator)
