"""The level of the whole chain on seeded break-free streams: test, scores, cusum, reference."""

import numpy as np
import pytest

from cycles import cycled_on, names, quiet, reported, started
from mlma.domain.fleet import FleetState

N, SETTLING, DAYS = 1500, 30, 40


def healthy_days(policy):
    """What each day gives once the walk has forgotten its start; nobody re-trains."""
    rng = np.random.default_rng(17)
    state = started(policy, rng.lognormal(3.0, 0.3, (N, 28, 1)), names(N))
    fleet = FleetState.new(("fleet",))
    for day, losses in enumerate(rng.lognormal(3.0, 0.3, (SETTLING + DAYS, N, 1))):
        made = cycled_on(state, losses, policy, fleet, weekend=int(day % 7 >= 5))
        state, fleet = reported(made.state), made.fleet
        if day >= SETTLING:
            yield made


def share_at_or_below(level, reference):
    """Share of healthy stream-batches by the tail of their evidence; nothing interrupts it."""
    policy = quiet(
        test="batch_t",
        reference=reference,
        level=1e-12,
        multiplicity="none",
        false_retrainings=None,
        common=False,
        drift=False,
        follow_ups=(),
    )
    return np.mean([(made.evidence.p_evidence <= level).mean() for made in healthy_days(policy)])


@pytest.mark.parametrize("level", [0.05, 0.01])
def test_evidence_against_an_adaptive_reference_keeps_near_its_level(level):
    assert 0.4 * level < share_at_or_below(level, "adaptive") < 1.15 * level


def test_evidence_against_a_fixed_reference_exceeds_its_level_as_the_docs_say():
    assert 0.02 < share_at_or_below(0.01, "fixed") < 0.05


def false_alarms(**settings):
    """Alarms per 1,000 healthy streams and week, and the fleet's audit of them."""
    policy = quiet(follow_ups=(), **settings)
    made = list(healthy_days(policy))
    alarms = sum(int(one.evidence.alarm.sum()) for one in made)
    assert not any(one.findings for one in made)
    return alarms / (N / 1000 * DAYS / 7), made[-1].fleet.audit


@pytest.mark.parametrize(
    "settings",
    [{}, {"drift": False}, {"common": False}, {"test": "batch_t"}, {"allowance": 0.75}],
    ids=str,
)
def test_healthy_streams_alarm_about_as_often_as_the_dial_says(settings):
    dial = 50.0
    rate, audit = false_alarms(false_retrainings=dial, **settings)
    assert 0.65 * dial < rate < 1.25 * dial
    assert audit.expected_alarms / audit.watched * 7000 == pytest.approx(dial, rel=1e-9)


def test_with_an_e_process_healthy_streams_alarm_at_most_as_often_as_the_dial_says():
    rate, _ = false_alarms(false_retrainings=50.0, accumulate="e_process")
    assert 0.2 * 50.0 < rate < 50.0


def test_the_audit_counts_batches_at_their_nominal_levels_on_either_side():
    _, audit = false_alarms(false_retrainings=1.0)
    assert audit.batches == N * (SETTLING + DAYS)
    for side in (audit.upper, audit.lower):
        np.testing.assert_allclose(side / audit.batches, [0.05, 0.01, 0.001], rtol=0.25)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"drift": False},
        {"drift": False, "test": "batch_t"},
        {"drift": False, "allowance": 0.75},
    ],
    ids=str,
)
def test_the_mirror_of_the_audit_tells_the_false_alarms_of_healthy_streams(settings):
    """Runs of low batches wait outside the reference as those of high batches do."""
    _, audit = false_alarms(false_retrainings=50.0, **settings)
    assert audit.alarms > 500  # so that chance is a tenth
    assert 0.75 * audit.alarms < audit.mirror_alarms < 1.35 * audit.alarms
    assert 0.5 * audit.expected_alarms < audit.mirror_alarms < 1.35 * audit.expected_alarms
