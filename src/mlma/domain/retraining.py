"""What happens around a re-training: which ones start, on what, and whether the version stays."""

from dataclasses import dataclass, field
from math import inf

from mlma.domain.budgets import RANKS, Budget, is_count_or_share, is_limit
from mlma.domain.errors import unknown_name
from mlma.domain.policy import AUTO, Pooled, check

WINDOWS = ("window", "short", "long", "since_break", "best")


@dataclass(frozen=True, slots=True)
class Retraining(Pooled):
    """The part of a policy that is about re-training itself.

    train_on
        batches that a new version is trained on: ``window`` (all of the window), ``short`` (half of
        it), ``long`` (four of them), ``since_break`` (those after the break that the alarm saw, at
        least 14, at most the window), ``best`` (short, window and long are all trained, and the one
        with the lowest loss on held-out batches goes live; each counts as a fit).
    gate
        one model only: a new version is tried beside the old one and goes live once it is better,
        by a paired any-time comparison that starts on held-out batches.
    gate_level, gate_batches
        level of that comparison, and batches after which the trial ends either way.
    rollback_batches
        one model only: batches in which the former version is still scored; if it is better by the
        same comparison, model and reference go back together. 0 = no roll-back.
    budget, budget_seconds
        re-trainings that a cycle may start, a number or a share of the live streams, and expected
        training seconds; None = no limit. See `mlma.domain.budgets.Budget`.
    rank
        who comes first: ``expected_saving`` or ``evidence_and_age``.
    spend_rest
        budget that would be lost goes to the oldest models.
    withhold
        share of the re-trainings withheld at random, to measure what re-training gains.
    escalate_after, escalate_for
        alarms whose re-training did not help, in a row, after which a person has to look and alarms
        bring no re-training for so many batches; ``escalate_after=None`` = never. ``"auto"`` = 3
        for one model, None with a pool: there a new version is one of many and rarely helps alone.
    helped_gain
        gain, in logs of the loss, above which a re-training has helped.
    """

    train_on: str = field(default="window", kw_only=True)
    gate: bool = field(default=False, kw_only=True)
    gate_level: float = field(default=0.2, kw_only=True)
    gate_batches: int = field(default=14, kw_only=True)
    rollback_batches: int = field(default=0, kw_only=True)
    budget: float | None = field(default=None, kw_only=True)
    budget_seconds: float | None = field(default=None, kw_only=True)
    rank: str = field(default="expected_saving", kw_only=True)
    spend_rest: bool = field(default=False, kw_only=True)
    withhold: float = field(default=0.0, kw_only=True)
    escalate_after: int | str | None = field(default=AUTO, kw_only=True)
    escalate_for: int = field(default=28, kw_only=True)
    helped_gain: float = field(default=0.02, kw_only=True)

    def __post_init__(self) -> None:
        Pooled.__post_init__(self)
        good = is_count_or_share(self.budget)
        check(self, "budget", good, "a whole number, or a share between 0 and 1", "budget=0.01")
        good = is_limit(self.budget_seconds)
        check(self, "budget_seconds", good, "0 or more", "budget_seconds=60.0")
        if self.rank not in RANKS:
            raise unknown_name(f"rank of {type(self).__name__}", str(self.rank), RANKS)
        if self.train_on not in WINDOWS:
            raise unknown_name(f"train_on of {type(self).__name__}", str(self.train_on), WINDOWS)
        hint = "with a pool the weights decide; set pool=1"
        check(self, "gate", not (self.gate and self.has_pool), "False with a pool", hint)
        check(self, "gate_level", 0 < self.gate_level < 1, "between 0 and 1", "gate_level=0.2")
        check(self, "gate_batches", self.gate_batches >= 1, "at least 1", "gate_batches=14")
        good = self.rollback_batches >= 0
        check(self, "rollback_batches", good, "0 or more", "14; 0 = no roll-back")
        good = not (self.rollback_batches and self.has_pool)
        check(self, "rollback_batches", good, "0 with a pool", hint)
        check(self, "withhold", 0 <= self.withhold < 1, "from 0 to below 1", "withhold=0.02")
        tries = self.escalate_after
        good = tries in {None, AUTO} or (not isinstance(tries, str) and tries >= 1)
        check(self, "escalate_after", good, 'None, "auto" or at least 1', "escalate_after=3")
        check(self, "escalate_for", self.escalate_for >= 1, "at least 1 batch", "escalate_for=28")
        check(self, "helped_gain", 0 <= self.helped_gain < inf, "0 or more", "helped_gain=0.02")

    def spending(self, carry_cycles: float) -> Budget:
        """Return the budget, with so many cycles of it that may be carried over."""
        return Budget(self.budget, self.budget_seconds, self.rank, self.spend_rest, carry_cycles)

    @property
    def tries(self) -> int | None:
        """Re-trainings in a row that may not help before a person has to look; None = any."""
        auto = None if self.has_pool else 3
        chosen = auto if self.escalate_after == AUTO else self.escalate_after
        return None if chosen is None else int(chosen)
