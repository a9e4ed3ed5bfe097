"""The tests by name, as settings name them. Next is the assessment, which runs one of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlma.domain.batches import LossBatch, ReferenceBatch, TestOutcome
from mlma.domain.errors import unknown_name
from mlma.stats.batch_mean import batch_t, moderated_t
from mlma.stats.block_bootstrap import block_bootstrap
from mlma.stats.dependent_tests import ewc, hac
from mlma.stats.profile import profile_of_batches
from mlma.stats.sample_tests import ks, mann_whitney, welch


@dataclass(frozen=True, slots=True)
class BatchTest:
    """A test of the incoming against the reference loss batch, all streams at once.

    ``function`` takes ``(incoming, reference, side)``. ``memory`` says what the agent must remember
    of the reference: ``means`` (moments of the batch means), ``losses`` (the single losses), or
    ``profile`` (a profile of the slots). ``moderated`` says that a stream's answer also depends on
    the fleet around it.
    """

    name: str
    function: Callable[[LossBatch, ReferenceBatch, str], TestOutcome]
    memory: str
    moderated: bool = False


TESTS: Mapping[str, BatchTest] = {
    test.name: test
    for test in (
        BatchTest("moderated_t", moderated_t, "means", moderated=True),
        BatchTest("batch_t", batch_t, "means"),
        BatchTest("profile", profile_of_batches, "profile", moderated=True),
        BatchTest("welch", welch, "losses"),
        BatchTest("mann_whitney", mann_whitney, "losses"),
        BatchTest("ks", ks, "losses"),
        BatchTest("hac", hac, "losses"),
        BatchTest("ewc", ewc, "losses"),
        BatchTest("block_bootstrap", block_bootstrap, "losses"),
    )
}


def batch_test(name: str) -> BatchTest:
    """Return the test of this name.

    Raises
    ------
    SettingsError
        The name is unknown.

    >>> batch_test("batch_t").memory
    'means'
    """
    if name not in TESTS:
        raise unknown_name("test", name, TESTS)
    return TESTS[name]
