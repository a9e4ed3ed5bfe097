"""The figures at the top of the page of a stream."""

import numpy as np

from mlma.web.pages.fleet_figures import Figure
from mlma.web.pages.story import Story
from mlma.web.pages.words import NOTHING, counted, number, percent


def stream_facts(story: Story) -> list[Figure]:
    """Return the key figures of a stream; none where it was in no batch."""
    if not len(story):
        return []
    last = story.records[-1]
    return [
        _loss(story),
        _reference(story),
        _evidence(story),
        _version(story),
        _retrainings(story),
        _complete(int(last["n"]), int(last["forecasts"])),
    ]


def _loss(story: Story) -> Figure:
    return Figure("Loss", number(story.numbers("loss")[-1]), "Mean loss of the last batch.")


def _reference(story: Story) -> Figure:
    effect = story.numbers("effect")[-1]
    expected = number(story.numbers("reference_loss")[-1])
    tone = "bad" if story.texts("verdict")[-1] == "degraded" else ""
    note = f"The reference expects {expected} of this batch."
    return Figure("Against reference", percent(effect, signed=True), note, tone)


def _evidence(story: Story) -> Figure:
    evidence, limit = story.numbers("evidence")[-1], story.limits.up
    if not np.isfinite(limit):
        return Figure("Evidence", number(evidence, 2), "Added up over batches.")
    note = f"Added up over batches; at {number(limit, 2)} it is an alarm."
    return Figure("Evidence", number(evidence, 2), note, "bad" if evidence >= limit else "")


def _version(story: Story) -> Figure:
    live = story.versions[0]
    note = f"Live for {counted(live.batches, 'batch', 'batches')} of this range."
    return Figure("Version", number(live.number) if live.number else NOTHING, note)


def _retrainings(story: Story) -> Figure:
    asked = sum(one == "retrain" for one in story.texts("decision"))
    return Figure("Re-trainings", number(asked), "Asked for in this range.")


def _complete(n: int, forecasts: int) -> Figure:
    share = n / forecasts if forecasts else float("nan")
    note = f"{counted(n, 'pair')} of {counted(forecasts, 'forecast')} in the last batch."
    return Figure("Complete", percent(share), note)
