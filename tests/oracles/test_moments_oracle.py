"""Moments of a reference against lists of weighted batches that can be read aloud."""

import math

import numpy as np
import pytest

from mlma.domain.moments import Moments
from mlma.stats import fast
from mlma.stats.moments import absorbed, expectation, log_means, moments_of, released

CAP = 9


@pytest.fixture(autouse=True, params=[False, True] if fast.AVAILABLE else [False])
def compiled(request, monkeypatch):
    """All of this with and, where there are any, without the compiled twins."""
    monkeypatch.setattr(fast, "AVAILABLE", request.param)


def median(values):
    ranked = sorted(values)
    half = len(ranked) // 2
    return ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2


def slow_logs(means):
    """Floored logs of a reference's batch means, and the typical log; None = an empty place."""
    positive = [math.log(x) for x in means if x > 0]
    typical = median(positive) if positive else math.nan
    floor = typical + math.log(0.01)
    logs = []
    for x in means:
        if math.isnan(x) or x < 0:
            logs.append(None)
        elif not positive:
            logs.append(0.0)
        else:
            logs.append(max(math.log(x), floor) if x > 0 else floor)
    return logs, typical


def slow_fenced(batches):
    """Batches ``(log, class)`` with outlying ones moved to the fence; how many were."""
    centre = {c: median([x for x, k in batches if k == c]) for c in {c for _, c in batches}}
    limit = 4 * 1.482602218505602 * median([abs(x - centre[c]) for x, c in batches])
    made = []
    for x, c in batches:
        away = x - centre[c]
        if limit > 0 and abs(away) > limit:
            made.append((centre[c] + math.copysign(limit, away), c))
        else:
            made.append((x, c))
    return made, sum(a != b for a, b in zip(made, batches, strict=True))


def slow_moments(weighted, n_classes):
    """Weights and means per class, pooled variance and third moment of ``(log, class, weight)``."""
    total = sum(w for *_, w in weighted)
    weight, mean = [0.0] * n_classes, [0.0] * n_classes
    for c in range(n_classes):
        weight[c] = sum(w for _, k, w in weighted if k == c)
        if weight[c]:
            mean[c] = sum(w * x for x, k, w in weighted if k == c) / weight[c]
    away = [(x - mean[c], w) for x, c, w in weighted]
    variance = sum(w * r**2 for r, w in away) / total if total else 0.0
    third = sum(w * r**3 for r, w in away) / total if total else 0.0
    return weight, mean, variance, third


def drawn(seed, n=60, m=17, n_classes=3):
    """References with holes, zeros, outages, and one without any batch."""
    rng = np.random.default_rng(seed)
    means = rng.lognormal(0, 0.4, (n, m)) * rng.lognormal(0, 5, (n, 1))
    means[rng.random(means.shape) < 0.2] = np.nan
    means[:6, 0], means[6:9, 1] = 0.0, -1.0
    means[10:20, 3] *= 1e4
    means[20], means[21] = np.nan, 0.0
    return means, rng.integers(0, n_classes, (n, m)).astype(np.int8)


def of_row(moments, row):
    return (
        moments.weight[row],
        moments.mean[row],
        moments.variance[row],
        moments.third[row],
    )


def assert_close(got, expected, **tolerance):
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, **{"atol": 1e-13, **tolerance})


@pytest.mark.parametrize("seed", [1, 2])
def test_moments_of_raw_batches_are_those_of_the_slow_list(seed):
    means, classes = drawn(seed)
    made = moments_of(means, classes, 3)
    assert (made.outlying > 0).sum() >= 10
    for row in range(len(means)):
        logs, typical = slow_logs(means[row])
        kept = [(x, c) for x, c in zip(logs, classes[row], strict=True) if x is not None]
        fenced, moved = slow_fenced(kept) if kept else ([], 0)
        assert_close(of_row(made, row), slow_moments([(x, c, 1.0) for x, c in fenced], 3))
        np.testing.assert_allclose(made.typical[row], typical, rtol=1e-12)
        share = moved / len(kept) if kept else 0.0
        np.testing.assert_allclose(made.outlying[row], share, rtol=1e-6)


def test_log_means_are_floored_at_a_hundredth_of_the_typical_one():
    means, _ = drawn(3)
    typical = np.array([slow_logs(row)[1] for row in means])
    made = log_means(means, typical[:, None])
    for row, floored in zip(means, made, strict=True):
        expected = [math.nan if x is None else x for x in slow_logs(row)[0]]
        np.testing.assert_allclose(floored, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("seed", [1, 2])
def test_expectation_is_that_of_the_slow_list(seed):
    means, classes = drawn(seed)
    moments = moments_of(means, classes, 4)
    calendar = (np.arange(len(means)) % 4).astype(np.int8)  # class 3 is in no reference
    made = expectation(moments, calendar)
    for row in range(len(means)):
        logs, _ = slow_logs(means[row])
        kept = [(x, c) for x, c in zip(logs, classes[row], strict=True) if x is not None]
        if not kept:
            assert made.count[row] == 0
            assert np.isnan([made.centre[row], made.variance[row]]).all()
            continue
        fenced, _ = slow_fenced(kept)
        expected = slow_expectation(fenced, calendar[row])
        got = (made.centre, made.variance, made.df, made.skewness, made.class_count, made.count)
        assert_close([column[row] for column in got], expected, atol=1e-9)


def slow_expectation(batches, incoming):
    """Centre, variance, df, skewness, batches of the class, and all batches."""
    n, classes = len(batches), {c for _, c in batches}
    _, mean, second, third = slow_moments([(x, c, 1.0) for x, c in batches], 4)
    skewness = 0.0
    if n >= 5 and second > 0:
        skewness = third / second**1.5 * math.sqrt(n * (n - 1)) / (n - 2)
    if incoming in classes:
        squares, df = second * n, n - len(classes)
        centre, own = mean[incoming], sum(c == incoming for _, c in batches)
    else:
        centre = sum(x for x, _ in batches) / n
        squares, df, own = sum((x - centre) ** 2 for x, _ in batches), n - 1, n
    return centre, squares / df, df, skewness, own, n


def start(n_streams, n_classes=1):
    rng = np.random.default_rng(5)
    ladder = np.array([-0.2, -0.1, 0.1, 0.25])  # nothing outlying
    logs = 0.5 + ladder * rng.uniform(0.5, 1.5, (n_streams, 1))
    classes = np.tile(np.arange(4) % n_classes, (n_streams, 1)).astype(np.int8)
    return logs, classes, moments_of(np.exp(logs), classes, n_classes)


def one_more(moments, logs, calendar, **told):
    yes = np.ones(len(logs), dtype=bool)
    told = {"taken": yes, "positive": yes, "moved": ~yes, **told}
    return absorbed(moments, logs, calendar, cap=CAP, **told)


def test_batches_of_one_class_weigh_the_same_up_to_the_cap_and_fade_afterwards():
    rng = np.random.default_rng(6)
    n = 10
    logs, _, moments = start(n)
    weighted = [[(x, 0, 1.0) for x in row] for row in logs]
    for _ in range(40):
        new = rng.normal(0.5, 0.4, n)
        moments = one_more(moments, new, np.zeros(n, np.int8))
        for row, batches in enumerate(weighted):
            count = sum(w for *_, w in batches)
            if count < CAP - 1e-9:
                weighted[row] = [*batches, (new[row], 0, 1.0)]
            else:
                rate = 2 / (count + 1)
                faded = [(x, c, w * (1 - rate)) for x, c, w in batches]
                weighted[row] = [*faded, (new[row], 0, rate * count)]
            assert_close(of_row(moments, row), slow_moments(weighted[row], 1))
            # The effective number of batches of Kish (1965) stays where it was.
            effective = count**2 / sum(w**2 for *_, w in weighted[row])
            assert effective > CAP - 1.5 or count < CAP


@pytest.mark.parametrize("n_classes", [2, 3])
def test_below_the_cap_classes_and_pooled_variance_are_those_of_the_slow_list(n_classes):
    rng = np.random.default_rng(7)
    n = 12
    logs, classes, moments = start(n, n_classes)
    weighted = [
        [(x, c, 1.0) for x, c in zip(*both, strict=True)]
        for both in zip(logs, classes, strict=True)
    ]
    for _ in range(CAP - 4):
        new, calendar = rng.normal(0.5, 0.3, n), rng.integers(0, n_classes, n).astype(np.int8)
        taken = rng.random(n) < 0.8
        new[rng.random(n) < 0.1] = np.nan
        moments = one_more(moments, new, calendar, taken=taken)
        for row in np.flatnonzero(taken & np.isfinite(new)):
            weighted[row].append((new[row], int(calendar[row]), 1.0))
        for row in range(n):
            expected = slow_moments(weighted[row], n_classes)
            assert_close(of_row(moments, row)[:3], expected[:3])


def slow_absorbed(held, log, c, moved, positive):
    """One update of a full reference of several classes, as it is written (Pebay 2008)."""
    weight, mean, second, third, typical, outlying = held
    count, size = sum(weight), weight[c]
    growing = count < CAP or size < 2
    new_size = size + 1 if growing else size
    rate = (1 if growing else 2) / (size + 1)
    part = new_size * rate / (count + 1 if growing else count)
    away, kept = log - mean[c], 1 - rate
    weight, mean = list(weight), list(mean)
    weight[c], mean[c] = new_size, mean[c] + rate * away
    cube = kept * (kept - rate) * away**3 - 3 * kept * away * second
    return (
        weight,
        mean,
        (1 - part) * second + part * kept * away**2,
        (1 - part) * third + part * cube,
        (1 - part) * typical + part * log if positive else typical,
        (1 - part) * outlying + part * moved,
    )


def test_a_full_reference_of_several_classes_is_updated_as_it_is_written():
    rng = np.random.default_rng(8)
    n, n_classes = 20, 3
    logs, _, moments = start(n, n_classes)
    typical = [median(row) for row in logs]
    held = [
        (list(moments.weight[row]), list(moments.mean[row]), *of_row(moments, row)[2:], x, 0)
        for row, x in enumerate(typical)
    ]
    for _ in range(60):
        new, calendar = rng.normal(0.5, 0.3, n), rng.integers(0, n_classes, n).astype(np.int8)
        taken, positive, moved = rng.random((3, n)) < [[0.7], [0.9], [0.1]]
        moments = one_more(moments, new, calendar, taken=taken, positive=positive, moved=moved)
        for row in np.flatnonzero(taken):
            told = bool(moved[row]), bool(positive[row])
            held[row] = slow_absorbed(held[row], new[row], int(calendar[row]), *told)
    for row in range(n):
        assert_close(of_row(moments, row), held[row][:4], atol=1e-6)  # weights are single
        np.testing.assert_allclose(moments.typical[row], held[row][4], rtol=1e-6)
        np.testing.assert_allclose(moments.outlying[row], held[row][5], atol=1e-5)


def test_the_first_loss_of_a_dead_stream_puts_its_zeros_a_hundredth_below():
    moments = moments_of(np.zeros((1, 6)), np.zeros((1, 6), np.int8), 1)
    made = one_more(moments, np.array([2.0]), np.zeros(1, np.int8))
    floor = 2.0 + math.log(0.01)
    assert_close(of_row(made, 0), slow_moments([(floor, 0, 1.0)] * 6 + [(2.0, 0, 1.0)], 1))
    assert made.typical.tolist() == [2.0]


@pytest.mark.parametrize("waiting", [1, 3, 5])
def test_waiting_batches_of_a_growing_reference_enter_as_if_one_by_one(waiting):
    rng = np.random.default_rng(9)
    n = 8
    logs, _, moments = start(n)
    away = rng.normal(0.3, 0.1, (n, waiting))
    made = released(
        moments, np.full(n, float(waiting)), away.sum(axis=1), (away**2).sum(axis=1), CAP
    )
    for row in range(n):
        entered = [(logs[row].mean() + x, 0, 1.0) for x in away[row]]
        weight, mean, second, _ = slow_moments([*[(x, 0, 1.0) for x in logs[row]], *entered], 1)
        assert_close(of_row(made, row)[:3], (weight, mean, second))
        rate = waiting / (4 + waiting)
        np.testing.assert_allclose(made.third[row], (1 - rate) * moments.third[row], rtol=1e-9)
        typical = moments.typical[row] + rate * away[row].mean()
        np.testing.assert_allclose(made.typical[row], typical, rtol=1e-9)


@pytest.mark.parametrize("waiting", [1, 4])
def test_waiting_batches_of_a_full_reference_have_the_weight_of_one_by_one(waiting):
    rng = np.random.default_rng(10)
    n = 8
    logs = rng.normal(0.5, 0.2, (n, CAP))
    moments = moments_of(np.exp(logs), np.zeros((n, CAP), np.int8), 1)
    away = rng.normal(0.3, 0.1, (n, waiting))
    made = released(
        moments, np.full(n, float(waiting)), away.sum(axis=1), (away**2).sum(axis=1), CAP
    )
    faded = (1 - 2 / (CAP + 1)) ** waiting
    for row in range(n):
        old = [
            (moments.mean[row, 0] + side * math.sqrt(moments.variance[row]), 0, faded / 2)
            for side in (-1, 1)
        ]
        new = [(moments.mean[row, 0] + x, 0, (1 - faded) / waiting) for x in away[row]]
        _, mean, second, _ = slow_moments([*old, *new], 1)
        assert_close((made.mean[row], made.variance[row]), (mean, second))
        np.testing.assert_allclose(made.weight[row], CAP, rtol=1e-6)


def test_all_classes_that_are_there_move_alike_when_batches_are_released():
    _, _, two = start(5, 2)
    moments = Moments(
        weight=np.pad(two.weight, ((0, 0), (0, 1))),
        mean=np.pad(two.mean, ((0, 0), (0, 1))),
        variance=two.variance,
        third=two.third,
        typical=two.typical,
        outlying=two.outlying,
    )
    made = released(moments, np.full(5, 2.0), np.full(5, 0.6), np.full(5, 0.2), CAP)
    np.testing.assert_allclose(made.mean[:, :2] - moments.mean[:, :2], 0.3 * 2 / 6, rtol=1e-9)
    assert (made.mean[:, 2] == 0).all()
    assert (made.weight[:, 2] == 0).all()
    np.testing.assert_allclose(made.count(), 6, rtol=1e-6)
    np.testing.assert_allclose(made.weight[:, 0], made.weight[:, 1])
