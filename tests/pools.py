"""Pools for tests, and their rules as loops that can be read aloud."""

import math

import numpy as np

from mlma.domain.pools import PoolState
from mlma.stats.pool import BestRecent, Exponential, FixedShare, Mean
from mlma.steps.pool import OUTLYING, UNIT_BATCHES, admitted

RULES = (
    FixedShare(1.0, 0.02),
    FixedShare(4.0, 0.1),
    FixedShare(0.5, 0.0),
    Exponential(2.0),
    BestRecent(2.0),
    Mean(),
)


def pool_of(n, n_classes, n_members, rule=None):
    """Pools with a member in every place."""
    state, rows = PoolState.empty(n, n_classes, n_members), np.arange(n)
    for place in range(n_members):
        state = admitted(state, rows, np.full(n, place), place, rule or FixedShare())
    return state


class SlowPool:
    """One pool of one stream and one class of slots, in float64."""

    def __init__(self, rule, n_places):
        self.rule, self.unit = rule, math.nan
        self.score = [0.0] * n_places  # log weights, or discounted gains with BestRecent
        self.there = [False] * n_places

    def members(self):
        return [place for place, there in enumerate(self.there) if there]

    def weights(self, among=None):
        among = self.members() if among is None else among
        if isinstance(self.rule, BestRecent):
            top = max(self.score[one] for one in among)
            mass = {one: float(self.score[one] == top) for one in among}
        elif isinstance(self.rule, Mean):
            mass = dict.fromkeys(among, 1.0)
        else:
            mass = {one: math.exp(self.score[one]) for one in among}
        total = sum(mass.values())
        return [mass.get(one, 0.0) / total for one in range(len(self.there))]

    def forecast(self, forecasts):
        return sum(w * f for w, f in zip(self.weights(), forecasts, strict=True) if w > 0)

    def enter(self, place):
        others = [one for one in self.members() if one != place]
        mass = [math.exp(self.score[one]) for one in others]
        self.score[place] = math.log(sum(mass) / len(mass)) if others else 0.0
        self.there[place] = True
        self.top()

    def top(self):
        best = max(self.score[one] for one in self.members())
        self.score = [max(score - best, -80.0) for score in self.score]

    def learn(self, losses):
        losses = self.relative(losses)
        awake = [one for one in self.members() if not math.isnan(losses[one])]
        if not awake:
            return
        weights = self.weights(awake)
        mean = sum(weights[one] * losses[one] for one in awake)
        charge = {one: losses[one] if one in awake else mean for one in self.members()}
        if isinstance(self.rule, BestRecent):
            kept = 0.5 ** (1 / self.rule.half_life)
            for one, loss in charge.items():
                self.score[one] = kept * self.score[one] - loss
        elif not isinstance(self.rule, Mean):
            self.multiply(charge)
        if not isinstance(self.rule, Mean):
            self.top()

    def multiply(self, charge):
        share = getattr(self.rule, "share", 0.0)
        low = min(charge.values())
        mass = {
            one: math.exp(self.score[one] - self.rule.rate * (loss - low))
            for one, loss in charge.items()
        }
        total = sum(mass.values())
        for one in charge:
            part = (1 - share) * mass[one] / total + share / len(charge)
            self.score[one] = math.log(part) if part > 0 else -1e9

    def relative(self, losses):
        """Losses in the unit; the unit follows."""
        seen = [losses[one] for one in self.members() if not math.isnan(losses[one])]
        positive = [loss for loss in seen if loss > 0]
        if not positive and math.isnan(self.unit):
            return losses
        cap = OUTLYING * (min(positive) if math.isnan(self.unit) else self.unit)
        level = sum(min(loss, cap) for loss in seen) / len(seen) if seen else 0.0
        if math.isnan(self.unit):
            self.unit = level
        told = [loss / self.unit for loss in losses]
        if level > 0:
            self.unit += (level - self.unit) / UNIT_BATCHES
        return told
