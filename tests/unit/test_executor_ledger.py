"""The ledger of an executor: sizes of batches, backlog, second chances."""

import pytest

from mlma.adapters.executors.ledger import Ledger, Lost, Outcome
from mlma.domain.errors import ExecutorError, TimeLimitError


def test_batches_grow_with_what_was_measured_and_shrink_towards_the_end() -> None:
    ledger: Ledger[int] = Ledger(1000, workers=2, batch_seconds=0.1)
    sizes = []
    while numbers := ledger.batch():
        sizes.append(len(numbers))
        ledger.take(numbers, Outcome(numbers, seconds=0.001 * len(numbers)))
        assert list(ledger.ready()) == numbers
    assert sizes[:4] == [1, 8, 64, 100]
    assert sizes[-1] == 1
    assert ledger.finished


def test_a_task_longer_than_a_batch_travels_alone() -> None:
    ledger: Ledger[int] = Ledger(1000, workers=2, batch_seconds=0.1)
    for _ in range(3):
        numbers = ledger.batch()
        assert len(numbers) == 1
        ledger.take(numbers, Outcome([0], seconds=5.0))


def test_few_answers_wait_for_one_that_is_late() -> None:
    ledger: Ledger[int] = Ledger(100_000, workers=2, batch_seconds=0.1)
    late, handed_out = ledger.batch(), 0
    while numbers := ledger.batch():
        handed_out += len(numbers)
        ledger.take(numbers, Outcome(numbers, seconds=0.01 * len(numbers)))
    assert list(ledger.ready()) == []
    assert handed_out == 255
    ledger.take(late, Outcome(late, seconds=1.0))
    assert list(ledger.ready()) == list(range(256))


def test_what_a_batch_did_not_reach_comes_first_again() -> None:
    ledger: Ledger[int] = Ledger(100, workers=1, batch_seconds=1.0)
    ledger.take(ledger.batch(), Outcome([0], seconds=0.25))
    assert ledger.batch() == [1, 2, 3, 4]
    ledger.take([1, 2, 3, 4], Outcome([1, 2], seconds=0.5))
    assert ledger.batch() == [3, 4]


def test_suspects_of_a_death_travel_alone_and_others_together() -> None:
    ledger: Ledger[int] = Ledger(100, workers=1, batch_seconds=1.0)
    ledger.take(ledger.batch(), Outcome([0], seconds=0.25))
    ledger.died(ledger.batch(), [2], "signal 9")
    assert [ledger.batch(), ledger.batch(), ledger.batch()] == [[1], [2], [3, 4]]


def test_an_early_error_stops_later_tasks_from_being_handed_out() -> None:
    ledger: Ledger[int] = Ledger(100, workers=1, batch_seconds=1.0)
    first = ledger.batch()
    second = ledger.batch()
    ledger.take(second, Outcome([], seconds=0.1, raised=ValueError("one")))
    assert ledger.batch() == []
    ledger.take(first, Outcome([0], seconds=0.1))
    answers = ledger.ready()
    assert next(answers) == 0
    with pytest.raises(ValueError, match="one"):
        next(answers)


def test_what_is_lost_becomes_an_answer_and_the_others_go_on() -> None:
    ledger: Ledger[object] = Ledger(3, 1, 1.0, lost=type, label="train", time_limit=2.0)
    ledger.take([0, 1, 2], Outcome(["a", Lost.OVERTIME, Lost.DIED], seconds=1.0))
    assert list(ledger.ready()) == ["a", TimeLimitError, ExecutorError]
    assert ledger.finished


def test_a_message_names_task_label_limit_and_hint() -> None:
    ledger: Ledger[object] = Ledger(3, 1, 1.0, label="train", time_limit=2.5)
    ledger.lose(0, Lost.OVERTIME)
    with pytest.raises(TimeLimitError, match=r"Task 1 of 3 of `train` .* 2.5 seconds .* Hint: "):
        next(ledger.ready())
