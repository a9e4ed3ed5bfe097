"""The tests by name, as settings name them. Next is the assessment, which runs one of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlma.domain.batches import LossBatch, ReferenceBatch, TestOutcome
from mlma.domain.errors import unknown_name
from mlma.stats.batch_mean import batch_t
from mlma.stats.sample_tests import ks, mann_whitney, welch


@dataclass(frozen=True, slots=True)
class BatchTest:
    """A test of the incoming against the reference loss batch, all streams at once.

    ``function`` takes ``(incoming, reference, side)``. ``needs_losses`` says that it reads the
    single losses of the reference, not only its batch means.
    """

    name: str
    function: Callable[[LossBatch, ReferenceBatch, str], TestOutcome]
    needs_losses: bool


TESTS: Mapping[str, BatchTest] = {
    test.name: test
    for test in (
        BatchTest("batch_t", batch_t, needs_losses=False),
        BatchTest("welch", welch, needs_losses=True),
        BatchTest("mann_whitney", mann_whitney, needs_losses=True),
        BatchTest("ks", ks, needs_losses=True),
    )
}


def batch_test(name: str) -> BatchTest:
    """Return the test of this name.

    Raises
    ------
    SettingsError
        The name is unknown.

    >>> batch_test("batch_t").needs_losses
    False
    """
    if name not in TESTS:
        raise unknown_name("test", name, TESTS)
    return TESTS[name]
