"""Plays detectors of river on losses; runs in the environment of the peers, knows nothing of mlma.

Reads one job a line, ``{"losses": file, "reference": days, "spec": {...}, "out": file}``, and
writes alarms ``(n_days, n_streams) bool`` to the file ``out`` and one line when it is done.
"""

import json
import sys

import numpy as np
from river import drift

MAKERS = {"ADWIN": drift.ADWIN, "KSWIN": drift.KSWIN, "PageHinkley": drift.PageHinkley}


def standardised(losses, reference):
    """Return losses ``(n_days, slots)`` less the mean of their slot, over its spread."""
    held = losses[:reference]
    spread = held.std(axis=0)
    return (losses - held.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def played(losses, reference, spec):
    """Return the alarms of one stream, ``(n_days,)``; every alarm starts a new detector.

    A prepared one sees standardised losses, and an alarm on a batch below the reference is none.
    """
    prepared = spec["prepared"]
    seen = standardised(losses, reference) if prepared else losses
    alarms = np.zeros(len(seen), dtype=bool)
    detector = MAKERS[spec["detector"]](**spec["settings"])
    for day, batch in enumerate(seen):
        hit = False
        for loss in batch.tolist():
            detector.update(loss)
            hit = hit or detector.drift_detected
        if hit:
            detector = MAKERS[spec["detector"]](**spec["settings"])
        alarms[day] = hit and day >= reference and (not prepared or batch.mean() > 0)
    return alarms


def main():
    for line in sys.stdin:
        job = json.loads(line)
        losses = np.load(job["losses"]).astype(np.float64)
        streams = range(losses.shape[1])
        made = [played(losses[:, one], job["reference"], job["spec"]) for one in streams]
        np.save(job["out"], np.stack(made, axis=1))
        print("done", flush=True)


if __name__ == "__main__":
    main()
