"""`profile` against a slow loop over streams, batches, slots and lags."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import stats

from mlma.domain.batches import LossBatch
from mlma.stats.batch_mean import straightened
from mlma.stats.moderation import fleet_prior
from mlma.stats.profile import (
    AT_SCORES,
    EFFECTIVE_WINDOWS,
    profile_of,
    profile_test,
    profile_updated,
)

CLASSES, SLOTS, LONGEST = 2, 10, 2  # the cube root of ten slots is 2


def single(x):
    return float(np.float32(x))


@dataclass
class SlowStream:
    """One stream's reference, as one would keep it on paper; single precision where it is kept."""

    unit: float
    profile: list = field(default_factory=lambda: [[None] * SLOTS for _ in range(CLASSES)])
    seen: list = field(default_factory=lambda: [[0] * SLOTS for _ in range(CLASSES)])
    weight: list = field(default_factory=lambda: [0] * CLASSES)
    lags: list = field(default_factory=lambda: [0.0] * (LONGEST + 2))
    between: float = 0.0
    third: float = 0.0
    ring: list = field(default_factory=list)  # (score, link, class)

    def roots(self, losses):
        return [None if not 0 <= x < math.inf else x ** (1 / 3) / self.unit for x in losses]

    def inflation(self):
        n, df = sum(self.weight), sum(self.weight) - sum(w > 0 for w in self.weight)
        return (n / df if df > 0 else math.nan), df

    def long_run(self):
        inflation, _ = self.inflation()
        g = [inflation * one for one in self.lags]
        if not g[0] > 0:
            return math.nan
        phi = max(-0.9, min(0.9, g[1] / g[0]))
        total = 0.0
        for j in range(-LONGEST, LONGEST + 1):
            white = (1 + phi**2) * g[abs(j)] - phi * (g[abs(j - 1)] + g[abs(j + 1)])
            total += (1 - abs(j) / (LONGEST + 1)) * white
        return max(total / (1 - phi) ** 2, 0.05 * g[0])

    def compared(self, losses, c):
        """Slots compared: (root, profile, seen)."""
        slots = zip(self.roots(losses), self.profile[c], self.seen[c], strict=True)
        return [(y, p, k) for y, p, k in slots if y is not None and p is not None]

    def shift(self, losses, c):
        slots = self.compared(losses, c)
        if not slots:
            return None, 0, math.nan
        certainty = 1 / (1 + sum(1 / k for _, _, k in slots) / len(slots))
        level = max(math.sqrt(sum(p**2 for _, p, _ in slots) / len(slots)), 0.3)
        mean = sum(y - p for y, p, _ in slots) / len(slots)
        level = max(level + (1 - certainty) * mean, 0.3)
        return mean * math.sqrt(certainty) / level, len(slots), certainty

    def expected(self, losses, c):
        slots = self.compared(losses, c)
        inflation, df = self.inflation()
        variance = self.lags[0] * inflation if df > 0 else 0.0
        cubes = sum(p**3 for _, p, _ in slots) / len(slots)
        known = 1 - sum(1 / k for _, _, k in slots) / len(slots)
        return (1 + 3 * variance * known) * cubes * self.unit**3

    def note(self, score, c, taken, cap):
        fading = sum(self.weight) >= cap and self.weight[c] >= 2
        link = (-1.0 if fading else 0.0) if taken else 1.0
        link = single(link / (self.weight[c] + 1))
        self.ring = [*self.ring, (single(score), link, c)][-6:]

    def absorb(self, losses, c, cap):
        roots = self.roots(losses)
        if all(y is None for y in roots):
            return
        n, size = sum(self.weight), self.weight[c]
        growing = n < cap or size < 2
        rate = (1 if growing else 2) / (size + 1)
        self.weight[c] = size + growing
        part = self.weight[c] * rate / (n + growing)
        residual, news = [None] * SLOTS, []
        for slot, y in enumerate(roots):
            old, seen = self.profile[c][slot], self.seen[c][slot]
            if y is None:
                continue
            if old is None:
                self.profile[c][slot], self.seen[c][slot] = single(y), 1
                continue
            more = seen < self.weight[c]
            slot_rate = (1 if more else 2) / (seen + 1)
            new = old + slot_rate * (y - old)
            residual[slot] = (y - old) * math.sqrt(1 - slot_rate)
            self.profile[c][slot], self.seen[c][slot] = single(new), seen + more
            news.append(new)
        first = self.weight[c] == 1
        if news:
            level = max(math.sqrt(sum(x**2 for x in news) / len(news)), 0.3)
            residual = [None if e is None else e / level for e in residual]
        found = [e for e in residual if e is not None]
        if found or first:
            mean = 0.0 if first else sum(found) / math.sqrt(len(found) * SLOTS)
            self.between += part * (mean**2 - self.between)
            self.third += part * (mean**3 - self.third)
        for lag in range(LONGEST + 2):
            pairs = zip(residual[: SLOTS - lag], residual[lag:], strict=True)
            products = [a * b for a, b in pairs if a is not None and b is not None]
            if products or first:
                value = 0.0 if first else sum(products) / len(products)
                self.lags[lag] += part * (value - self.lags[lag])


def slow_verdicts(streams):
    """Moderated (variance of a whole shift, within, df, skewness) of each stream."""
    within = np.array([one.long_run() / SLOTS for one in streams])
    inflation = np.array([one.inflation()[0] for one in streams])
    df = np.array([float(one.inflation()[1]) for one in streams])
    own = np.array([one.between for one in streams]) * inflation / within
    lean = [one.third / one.between**1.5 if one.between > 0 else 0.0 for one in streams]
    lean = np.nan_to_num(np.array(lean) / np.sqrt(inflation))
    own[~(df > 0)], df[~(df > 0)] = np.nan, np.nan
    prior = fleet_prior(own, df, lean)
    total = df + prior.df
    times = (own * df + prior.variance * prior.df) / total
    weight = np.nan_to_num(df / (df + 100))
    return times * within, within, total, (1 - weight) * prior.skewness + weight * lean


def scale_of(variance, within, found):
    day = max(variance - within, 0.0)
    return 1.0 if found == SLOTS else (within * SLOTS / found + day) / (within + day)


def slow_p(one, score, c, judged, side):
    variance, _, df, skewness = judged
    ring = [*one.ring, (score, 0.0, c)]
    zs = []
    for width in (1, 3, 7):
        last = ring[-width:]
        total = sum(s for s, _, _ in last)
        spread = float(len(last))
        for i, (_, link, kind) in enumerate(last):
            spread += 2 * link * sum(k == kind for _, _, k in last[i + 1 :])
        t = total / math.sqrt(max(spread, 0.25) * variance)
        t = straightened(np.array([t]), np.array([skewness / math.sqrt(len(last))]))[0]
        zs.append((-stats.norm.ppf(stats.t.sf(abs(t), df)) * np.sign(t), t))
    z, t = max(zs, key=lambda pair: pair[0] if side == "greater" else abs(pair[0]))
    p = stats.norm.sf(z) if side == "greater" else 2 * stats.norm.sf(abs(z))
    size = z if side == "greater" else abs(z)
    k = np.interp(size, AT_SCORES, EFFECTIVE_WINDOWS[min(len(ring), 7) - 1])
    return t, -math.expm1(k * math.log1p(-min(p, 1.0)))


def fleet(seed, n, days, holes):
    rng = np.random.default_rng(seed)
    losses = rng.gamma(1.5, 1, (n, days, SLOTS)) * rng.lognormal(0, 0.2, (n, days, 1))
    losses *= rng.lognormal(0, 5, (n, 1, 1)) * (1 + 0.5 * np.sin(np.arange(SLOTS)))
    if holes:
        losses[rng.random(losses.shape) < 0.15] = np.nan
        losses[: n // 2, days - 2, 4:] = np.nan
    return losses, rng.integers(0, CLASSES, (n, days)).astype(np.int8)


def slow_units(losses):
    roots = np.where(np.isnan(losses), 0, losses) ** (1 / 3)
    return roots.sum(axis=(1, 2)) / np.isfinite(losses).sum(axis=(1, 2))


@pytest.mark.parametrize(
    ("n", "holes", "side"), [(30, False, "greater"), (30, True, "two-sided"), (3, True, "greater")]
)
def test_profile_equals_the_slow_loop(n, holes, side):
    m, later, cap = 9, 6, 12
    losses, calendar = fleet(4, n, m + later, holes)
    taken = np.random.default_rng(5).random((n, m + later)) < 0.6
    taken[:, :m] = True
    moments = profile_of(losses[:, :m], calendar[:, :m], CLASSES)
    slow = [SlowStream(unit) for unit in slow_units(losses[:, :m])]
    for day in range(m):
        played(slow, losses[:, day], calendar[:, day], taken[:, day], m)
    for day in range(m, m + later):
        incoming = LossBatch(losses[:, day], calendar[:, day])
        compare_outcome(profile_test(incoming, moments, side), slow, incoming, side)
        moments = profile_updated(moments, incoming, taken[:, day], cap)
        played(slow, losses[:, day], calendar[:, day], taken[:, day], cap)
    compare_state(moments, slow)


def scored(slow, losses, calendar):
    """Verdict and score of each stream; score None = cannot tell."""
    verdicts = np.stack(slow_verdicts(slow), axis=1)
    for one, mine, c, judged in zip(slow, losses, calendar, verdicts, strict=True):
        shift, found, _ = one.shift(mine, c)
        known = shift is not None and (found == SLOTS or np.isfinite(judged[0]))
        score = shift / math.sqrt(scale_of(judged[0], judged[1], found)) if known else None
        yield judged, score


def played(slow, losses, calendar, taken, cap):
    scores = [score for _, score in scored(slow, losses, calendar)]
    for row, one in enumerate(slow):
        if scores[row] is not None:
            one.note(scores[row], calendar[row], taken[row], cap)
        if taken[row]:
            one.absorb(losses[row], calendar[row], cap)


def compare_outcome(outcome, slow, incoming, side):
    judged = list(scored(slow, incoming.losses, incoming.calendar))
    for row, (one, (verdict, score)) in enumerate(zip(slow, judged, strict=True)):
        statistic, p = slow_p(one, score, incoming.calendar[row], verdict, side)
        np.testing.assert_allclose(outcome.statistic[row], statistic, rtol=1e-6)
        # The normal score of a t statistic is good to 2e-5 of its tail.
        np.testing.assert_allclose(outcome.p_value[row], p, rtol=1e-4)
        expected = one.expected(incoming.losses[row], incoming.calendar[row])
        np.testing.assert_allclose(outcome.reference_loss[row], expected, rtol=1e-6)


@pytest.mark.parametrize("batches", [2, 3, 5, 7])
@pytest.mark.parametrize("column", [2, 3, 4])
def test_effective_number_of_windows_is_that_of_correlated_normals(batches, column):
    widths = np.array(sorted({min(width, batches) for width in (1, 3, 7)}))
    correlation = np.sqrt(np.minimum.outer(widths, widths) / np.maximum.outer(widths, widths))
    z = AT_SCORES[column]
    windows = stats.multivariate_normal(cov=correlation, seed=1)
    none = windows.cdf(np.full(len(widths), z))
    made = math.log(none) / math.log1p(-stats.norm.sf(z))
    np.testing.assert_allclose(EFFECTIVE_WINDOWS[batches - 1, column], made, rtol=0.02)


def compare_state(moments, slow):
    profile = np.array([one.profile for one in slow], dtype=np.float64)
    np.testing.assert_allclose(moments.profile, profile, rtol=1e-6)
    np.testing.assert_array_equal(moments.seen, [one.seen for one in slow])
    np.testing.assert_array_equal(moments.weight, [one.weight for one in slow])
    for name in ("lags", "between", "third"):
        expected = np.array([getattr(one, name) for one in slow])
        np.testing.assert_allclose(getattr(moments, name), expected, rtol=1e-6, atol=1e-12)
    scores = [[score for score, _, _ in one.ring] for one in slow]
    np.testing.assert_allclose(moments.scores, scores, rtol=1e-6, atol=1e-9)
