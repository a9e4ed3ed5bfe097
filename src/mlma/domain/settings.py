"""Policies: small frozen settings that turn evidence into decisions.

What the published abstracts leave open (test, side, level, how the reference starts and moves) is
a field of `MLMA`; the defaults are our reading.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from math import inf
from typing import Any, ClassVar

from mlma.domain.errors import SettingsError, unknown_name
from mlma.domain.expressions import parse_call
from mlma.domain.policy import AUTO, Policy, Pooled, check
from mlma.domain.retraining import Retraining


@dataclass(frozen=True, slots=True)
class Never(Policy):
    """Train once, never again."""

    name: ClassVar[str] = "never"


@dataclass(frozen=True, slots=True)
class Always(Pooled):
    """Re-train before every batch: the yardstick."""

    name: ClassVar[str] = "always"


@dataclass(frozen=True, slots=True)
class Periodic(Pooled):
    """Re-train every ``every`` batches.

    ``phase="random"`` draws each stream's first re-training, so that the fleet does not re-train
    on one day; ``phase=3`` starts every stream 3 batches after its first model.
    """

    name: ClassVar[str] = "periodic"
    always_shown: ClassVar[tuple[str, ...]] = ("every",)
    every: float = 28
    phase: str | int = "random"

    def __post_init__(self) -> None:
        Pooled.__post_init__(self)
        check(self, "every", 1 <= self.every < inf, "at least 1 batch", "periodic(every=28)")
        good = self.phase == "random" or (isinstance(self.phase, int) and self.phase >= 0)
        check(self, "phase", good, '"random" or a number of batches', 'phase="random"')


@dataclass(frozen=True, slots=True)
class Random(Pooled):
    """Re-train before each batch with probability ``rate``."""

    name: ClassVar[str] = "random"
    always_shown: ClassVar[tuple[str, ...]] = ("rate",)
    rate: float = 0.03

    def __post_init__(self) -> None:
        Pooled.__post_init__(self)
        check(self, "rate", 0 <= self.rate <= 1, "a share from 0 to 1", "random(rate=0.03)")


@dataclass(frozen=True, slots=True)
class MLMA(Retraining):
    """Re-train where the incoming loss batch is worse than the data-adaptive reference.

    test
        ``moderated_t`` (t on log batch means with a calendar effect, variances pooled across the
        fleet), ``batch_t`` (every stream by itself), ``profile`` (cube-rooted losses against a
        profile of their slots, for part-day batches too); or, to compare with, a test on single
        losses: ``welch``, ``mann_whitney``, ``ks``, ``hac``, ``ewc``, ``block_bootstrap``.
    side
        ``greater`` (only a higher loss is an alarm) or ``two-sided``.
    level
        significance level of the adjusted p-values: it decides the verdict on a batch, and the
        alarms too where ``false_retrainings`` is None.
    multiplicity
        ``bh`` (Benjamini-Hochberg), ``bonferroni``, ``e_bh`` (any dependence) or ``none``, across
        the streams of a cycle.
    false_retrainings
        the dial: alarms that 1,000 healthy streams may raise in a week, expected. It becomes the
        limit of the evidence. None = the adjusted p-value of the evidence must reach ``level``.
    accumulate
        ``cusum``: re-train when the evidence of successive batches adds up; ``e_process``: the
        same with a guarantee instead of an approximation; ``none``: when one batch alone reaches
        the level.
    common
        take what a group of streams has in common out of its members' scores, and test it by
        itself: one finding instead of a thousand alarms.
    group_by
        tags that make groups; empty = all that are known. The fleet is always a group.
    finding_level
        significance level of a common part, adjusted across the groups of a cycle: it opens a
        finding.
    drift
        add up evidence against the best level since the last re-training, too: for slow drift.
    allowance
        drift, in standard deviations per batch, that the cusum forgives.
    adjustment
        power of the benchmark's loss by which each batch is divided before the test, so that a day
        that is hard for every model is no alarm; 0 = none. The benchmark of a replay is the
        seasonal naive forecast; `Agent` takes one if it is given.
    reference
        ``adaptive``: healthy batches are appended, the oldest lose their weight; ``anchored``: the
        same, but batches are compared with the best level since the last re-training; ``fixed``:
        stays as it started.
    reference_from
        ``held_out``: a new model brings losses on batches that it was not trained on;
        ``production``: the first batches after deployment.
    reference_batches, min_reference_batches
        cap of the reference, and the number below which the verdict is ``unclear``.
    calendar
        calendar effect inside the reference: ``weekend``, ``weekday`` or ``none``.
    margin
        smallest relative rise of the loss that matters, 0.1 = 10 %.
    confirm
        alarms in a row that it takes to re-train.
    follow_ups
        batches after an alarm at which the model is re-trained again, so that the window fills
        with data from after the break; alarms in between open nothing new. A version trained on
        a window with large holes is followed up in the same way. None = ``(7, 14, 28)`` for one
        model, none with a pool, where they do not pay.
    review_age, review_rise, review_level, review_every
        a model of this age is re-trained if its reference now stands more than ``review_rise``
        above its level at deployment, significantly at the lenient ``review_level``, and is
        otherwise looked at again ``review_every`` batches later; ``review_age=None`` = no reviews.
        Our measurement: a rise too small for an alarm is reason enough at that age. ``"auto"`` = 42
        for one model, None with a pool.
    max_age
        re-train a model that is this many batches old in any case; None = never. Reviews and
        maximum age start in a random phase per stream. ``"auto"`` = 140 for one model, 56 with a
        pool, in which every version more is worth its fit.
    cooldown
        with a pool, batches after a new version in which an alarm brings no other one: what the
        pool can do about a break it does by its weights, and a window needs batches from after it.
    train_on, gate, gate_level, gate_batches, rollback_batches
        see `Retraining`: what happens to one model around a re-training.
    budget, budget_seconds, rank, spend_rest, withhold, escalate_after, escalate_for, helped_gain
        see `Retraining`: which re-trainings start, and what they gain.
    pool, long_member, naive_member, combine, learning_rate, share, half_life
        see `Pooled`; 8 versions by default.
    """

    name: ClassVar[str] = "mlma"
    always_shown: ClassVar[tuple[str, ...]] = ("level",)
    test: str = "moderated_t"
    side: str = "greater"
    level: float = 0.001
    multiplicity: str = "bh"
    false_retrainings: float | None = 1.0
    accumulate: str = "cusum"
    common: bool = True
    group_by: tuple[str, ...] = ()
    finding_level: float = 0.01
    drift: bool = True
    allowance: float = 0.5
    adjustment: float = 0.75
    reference: str = "adaptive"
    reference_from: str = "held_out"
    reference_batches: int = 28
    min_reference_batches: int = 14
    calendar: str = "weekend"
    margin: float = 0.0
    confirm: int = 1
    follow_ups: tuple[int, ...] | None = None
    review_age: int | str | None = AUTO
    review_rise: float = 0.02
    review_level: float = 0.2
    review_every: int = 7
    max_age: int | str | None = AUTO
    cooldown: int = 14
    pool: int = field(default=8, kw_only=True)

    def __post_init__(self) -> None:
        Retraining.__post_init__(self)
        for setting, known in _CHOICES.items():
            got = getattr(self, setting)
            if got not in known:
                raise unknown_name(f"{setting} of MLMA", str(got), known)
        if self.follow_ups is not None:
            object.__setattr__(self, "follow_ups", tuple(self.follow_ups))  # a list has no hash
        by = (self.group_by,) if isinstance(self.group_by, str) else tuple(self.group_by)
        object.__setattr__(self, "group_by", by)
        dial = self.false_retrainings
        few, cap, ages = self.min_reference_batches, self.reference_batches, self.due_follow_ups
        rising = all(a < b and b == int(b) for a, b in zip((0, *ages), ages, strict=False))
        check(self, "level", 0 < self.level < 1, "between 0 and 1", "level=0.001")
        good = dial is None or 0 < dial < inf
        check(self, "false_retrainings", good, "None or above 0", "1.0 per 1,000 streams and week")
        good = 0 < self.finding_level < 1
        check(self, "finding_level", good, "between 0 and 1", "finding_level=0.01")
        check(self, "allowance", self.allowance > 0, "above 0", "allowance=0.5")
        check(self, "adjustment", 0 <= self.adjustment <= 1, "from 0 to 1", "0 = none")
        check(self, "min_reference_batches", few >= 3, "at least 3", "a variance needs batches")
        check(self, "reference_batches", cap >= few, "min_reference_batches or more", "28")
        check(self, "margin", 0 <= self.margin < inf, "0 or more", "margin=0.1 is 10 %")
        check(self, "confirm", self.confirm >= 1, "at least 1", "confirm=1")
        check(self, "cooldown", self.cooldown >= 0, "0 batches or more", "cooldown=14")
        check(self, "follow_ups", rising, "rising numbers of batches", "follow_ups=(7, 14, 28)")
        check(self, "review_rise", 0 <= self.review_rise < inf, "0 or more", "0.02 is 2 %")
        check(self, "review_every", self.review_every >= 1, "at least 1 batch", "review_every=7")
        check(self, "review_level", 0 < self.review_level <= 0.5, "above 0, at most 0.5", "0.1")
        for setting in ("review_age", "max_age"):
            got = getattr(self, setting)
            good = got in {None, AUTO} or (not isinstance(got, str) and got >= 1)
            check(self, setting, good, 'None, "auto" or at least 1 batch', "56")

    @property
    def due_follow_ups(self) -> tuple[int, ...]:
        """Batches after an alarm at which the model is re-trained again."""
        if self.follow_ups is not None:
            return self.follow_ups
        return () if self.has_pool else (7, 14, 28)

    @property
    def first_review(self) -> float:
        """Age of the first review in batches; infinite = no reviews."""
        auto = None if self.has_pool else 42
        return _age(auto if self.review_age == AUTO else self.review_age)

    @property
    def oldest(self) -> float:
        """Age at which a model is re-trained in any case, in batches; infinite = never."""
        auto = 56 if self.has_pool else 140
        return _age(auto if self.max_age == AUTO else self.max_age)


def _age(batches: int | str | None) -> float:
    return inf if batches is None else float(batches)


_CHOICES: dict[str, tuple[str, ...]] = {
    "test": (
        *("moderated_t", "batch_t", "profile", "welch", "mann_whitney", "ks"),
        *("hac", "ewc", "block_bootstrap"),
    ),
    "side": ("greater", "two-sided"),
    "reference": ("adaptive", "anchored", "fixed"),
    "reference_from": ("held_out", "production"),
    "accumulate": ("cusum", "e_process", "none"),
    "multiplicity": ("bh", "bonferroni", "e_bh", "none"),
    "calendar": ("weekend", "weekday", "none"),
}

POLICIES: dict[str, Callable[..., Policy]] = {
    policy.name: policy for policy in (Never, Always, Periodic, Random, MLMA)
}


def policy_from(text: str | Policy) -> Policy:
    """Return the policy that a text describes; a policy is returned as it is.

    >>> policy_from("periodic(every=28)").label
    'periodic(every=28)'
    """
    if isinstance(text, Policy):
        return text
    name, arguments = parse_call(text, "policy")
    if name not in POLICIES:
        raise unknown_name("policy", name, POLICIES)
    return build(POLICIES[name], name, arguments)


def build(maker: Callable[..., Policy], name: str, arguments: dict[str, Any]) -> Policy:
    """Return ``maker(**arguments)``; a setting that it does not know is a clear error."""
    known = [spec.name for spec in fields(maker)]  # type: ignore[arg-type]  # dataclasses
    for setting in arguments:
        if setting not in known:
            raise unknown_name(f"setting of `{name}`", setting, known or ["(none)"])
    try:
        return maker(**arguments)
    except TypeError as error:
        raise SettingsError(f"`{name}` cannot be built from {arguments}: {error}") from error


def one_model(policy: Policy | str | None) -> Policy:
    """Return the policy of an agent that has one model per stream; default `MLMA`."""
    chosen = MLMA() if policy is None else policy_from(policy)
    return replace(chosen, pool=1) if isinstance(chosen, MLMA) else chosen


_DECIDES = frozenset(
    {"level", "false_retrainings", "confirm", "follow_ups", "review_age", "review_rise"}
    | {"review_level", "review_every", "max_age"}
)
"""Settings of `MLMA` that say what to do about evidence; all others say how it is read."""


def same_reading(fleet: Policy, other: Policy) -> tuple[str, ...]:
    """Return the settings by which ``other`` would read evidence differently from ``fleet``.

    Streams of one fleet are read together: variances and common parts are theirs together. A policy
    of some streams may differ in what it does about the evidence only; a schedule reads none.

    >>> same_reading(MLMA(), MLMA(false_retrainings=0.1, reference_batches=14))
    ('reference_batches',)
    """
    if not isinstance(other, MLMA):
        return ()
    one = fleet if isinstance(fleet, MLMA) else MLMA()
    return tuple(
        spec.name
        for spec in fields(MLMA)
        if spec.name not in _DECIDES | _AROUND
        and getattr(one, spec.name) != getattr(other, spec.name)
    )


def same_memory(now: Policy, then: Policy) -> tuple[str, ...]:
    """Return the settings whose change would make what is remembered unusable."""
    one = now if isinstance(now, MLMA) else MLMA()
    other = then if isinstance(then, MLMA) else MLMA()
    unlike = [name for name in ("calendar",) if getattr(one, name) != getattr(other, name)]
    if _REMEMBERS.get(one.test, "losses") != _REMEMBERS.get(other.test, "losses"):
        unlike.append("test")
    return tuple(unlike)


_AROUND = frozenset(spec.name for spec in fields(Retraining))
"""Settings about a re-training and the pool: none of them reads evidence."""
_REMEMBERS = {"moderated_t": "means", "batch_t": "means", "profile": "profile"}
