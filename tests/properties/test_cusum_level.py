"""The level of the whole chain on seeded break-free streams: test, scores, cusum, reference."""

import numpy as np
import pytest

from cycles import cycle, names, quiet, started

N, SETTLING, DAYS = 1500, 30, 40


def share_at_or_below(level, reference):
    """Share of healthy stream-batches; every batch enters the reference, nothing interrupts."""
    rng = np.random.default_rng(17)
    policy = quiet(reference=reference, level=1e-12, multiplicity="none", follow_ups=())
    state = started(policy, rng.lognormal(3.0, 0.3, (N, 28, 1)), names(N))
    shares = []
    for day, losses in enumerate(rng.lognormal(3.0, 0.3, (SETTLING + DAYS, N, 1))):
        state, news = cycle(state, losses, policy, weekend=int(day % 7 >= 5))
        shares.append((news.p_evidence <= level).mean())
    return np.mean(shares[SETTLING:])


@pytest.mark.parametrize("level", [0.05, 0.01])
def test_evidence_against_an_adaptive_reference_keeps_below_its_level(level):
    assert 0.4 * level < share_at_or_below(level, "adaptive") < 1.05 * level


def test_evidence_against_a_fixed_reference_exceeds_its_level_as_the_docs_say():
    assert 0.02 < share_at_or_below(0.01, "fixed") < 0.05
