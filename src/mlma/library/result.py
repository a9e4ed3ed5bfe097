"""The result of a replay: frames to recompute every figure from, a table, a page.

Takes the record of the players, gives it in the kind of frame that came in.
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mlma.adapters.frames.columns import Columns
from mlma.adapters.frames.native import like
from mlma.domain.errors import SettingsError
from mlma.domain.labour import rates_of
from mlma.domain.leftovers import LeftOut
from mlma.domain.policy import Policy
from mlma.domain.runs import PolicyRun, Replayed
from mlma.domain.settings import MLMA, policy_from
from mlma.domain.verdicts import Decision, Evidence, Reason, Verdict
from mlma.library.findings import findings_frame
from mlma.report.figures import alarm_counts
from mlma.report.requests import unfulfilled
from mlma.report.weights import MEMBERS, mean_weights
from mlma.stats.effects import effect_columns

if TYPE_CHECKING:
    from rich.console import Console

_ENUMS: dict[str, type[Verdict] | type[Decision] | type[Reason]] = {
    "verdict": Verdict,
    "decision": Decision,
    "reason": Reason,
}


class ReplayResult:
    """What every policy would have cost and lost.

    ``record`` holds the dense arrays; the frames below are of the kind of the history.
    """

    def __init__(self, record: Replayed, example: Any, columns: Columns) -> None:
        self.record = record
        self._example = example
        self._columns = columns

    def summary(self) -> Any:
        """Return one row per policy.

        ``loss``: mean over streams of the stream's loss relative to always (streams on which
        always loses nothing do not count); ``worst``: the largest of them; ``fits``: models
        trained per stream, first ones and held-out siblings included; ``fits_share``: of the fits
        of always; ``alarms``: batches per stream at which the evidence reached the level (while
        follow-ups are due, none counts); ``deferred``, ``held``, ``escalated``: re-trainings per
        stream that waited for the budget, that came to nothing (kept back by the gate, a trial or
        chance, or failed), and that were refused because re-training does not help; ``incidents``,
        ``minutes``: incidents that the policy would have opened, and minutes of a person that they
        take, per 1,000 streams and week (NaN for a policy that looks at no losses: somebody has to
        look at charts there, and the minutes are known only where `LabourModel` states them);
        ``seconds``:
        computing that the policy takes by itself; ``weight_newest``, ``weight_older``,
        ``weight_long``, ``weight_naive``: mean weights in the pools over streams and batches, see
        `pool`; NaN without one.
        """
        return like(pl.DataFrame(self._rows()), self._example)

    def to_df(self) -> Any:
        """Return one row per stream and policy: loss, relative loss, fits, re-trainings, alarms."""
        record = self.record
        frames = []
        for run in record.runs:
            judged = np.isfinite(run.loss)
            total = np.where(judged, run.loss, 0.0).sum(axis=1)
            count = judged.sum(axis=1)
            mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
            frames.append(
                pl.DataFrame(
                    {
                        self._columns.unique_id: list(record.ids),
                        "policy": run.label,
                        "loss": mean,
                        "relative_loss": record.relative_loss(run),
                        "batches": count,
                        "fits": run.fits,
                        "retrainings": run.retrained.sum(axis=1),
                        "alarms": _alarms(run),
                    },
                ),
            )
        return like(pl.concat(frames), self._example)

    @property
    def losses(self) -> Any:
        """One row per policy, stream and judged batch: its mean loss."""
        record, starts = self.record, self.record.grid.batch_starts()
        frames = []
        for run in record.runs:
            rows, batches = np.nonzero(np.isfinite(run.loss))
            frame = {
                "policy": pl.Series([run.label]).new_from_index(0, len(rows)),
                self._columns.unique_id: pl.Series(record.ids, dtype=pl.String).gather(rows),
                self._columns.ds: starts[batches],
                "loss": run.loss[rows, batches],
            }
            frames.append(pl.DataFrame(frame))
        return like(pl.concat(frames), self._example)

    @property
    def decisions(self) -> Any:
        """One row per policy, stream and batch that was looked at: evidence, verdict, decision.

        Policies that do not look at losses have rows only where they re-trained.
        """
        frames = [_decided(self.record, run, self._columns) for run in self.record.runs]
        filled = [frame for frame in frames if len(frame)]
        return like(pl.concat(filled or frames[:1], how="diagonal"), self._example)

    def pool(self, policy: Policy | str | None = None) -> Any:
        """Return the weights in the pools of one policy, one row per stream and batch with a pool.

        Parameters
        ----------
        policy
            a policy that was played, or its text; None = the first that has a pool.

        Returns
        -------
        frame
            ``unique_id``, ``ds`` (start of the batch) and the weights after that batch, which add
            up to 1: ``newest`` version, ``older`` versions together, the ``long``-history and the
            ``naive`` member. A weight differs between the hours of the day: these are the means.

        Raises
        ------
        SettingsError
            The policy was not played, or forecasts with one model at a time.

        >>> from mlma import replay
        >>> from datetime import date
        >>> days = pl.date_range(date(2024, 1, 1), date(2024, 6, 30), eager=True)
        >>> y = np.arange(len(days)) % 7 + 1.0
        >>> frame = pl.DataFrame({"unique_id": "a", "ds": days, "y": y})
        >>> weights = replay(frame, policies="mlma", n_jobs=1, phases=1).pool()
        >>> weights.columns
        ['unique_id', 'ds', 'newest', 'older', 'long', 'naive']
        """
        run = self._pooled_run(policy)
        shares = np.asarray(run.shares, dtype=np.float64)
        rows, batches = np.nonzero(np.isfinite(shares).all(axis=2))
        frame: dict[str, Any] = {
            self._columns.unique_id: pl.Series(self.record.ids, dtype=pl.String).gather(rows),
            self._columns.ds: self.record.grid.batch_starts()[batches],
        }
        frame |= {name: shares[rows, batches, place] for place, name in enumerate(MEMBERS)}
        return like(pl.DataFrame(frame), self._example)

    def _pooled_run(self, policy: Policy | str | None) -> PolicyRun:
        runs = {run.label: run for run in self.record.runs}
        pooled = [label for label, run in runs.items() if run.shares is not None]
        hint = f"Hint: {', '.join(pooled)} had one." if pooled else 'Hint: play "mlma(pool=8)".'
        if policy is None:
            if not pooled:
                raise SettingsError(f"No policy of this replay has a pool. {hint}")
            return runs[pooled[0]]
        known = isinstance(policy, str) and policy in runs
        run = self.record.run(str(policy) if known else policy_from(policy).label)
        if run.shares is None:
            raise SettingsError(
                f"`{run.label}` has no pool: it forecasts with one model at a time. {hint}"
            )
        return run

    @property
    def findings(self) -> Any:
        """One row per policy, batch and group whose losses rose together: see `Finding`."""
        starts = self.record.grid.batch_starts()
        frames = []
        for run in self.record.runs:
            made = findings_frame([one for _, one in run.findings])
            policy = pl.Series("policy", [run.label] * len(made), dtype=pl.String)
            ds = pl.Series(self._columns.ds, starts[[batch for batch, _ in run.findings]])
            frames.append(made.select(policy, ds, pl.all()))
        return like(pl.concat(frames), self._example)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What was left out, why, and the first three examples."""
        return self.record.left_out

    @property
    def failures(self) -> dict[str, str]:
        """Streams whose model failed, with the message."""
        return self.record.failures

    def save_html(self, path: str | PathLike[str]) -> None:
        """Write the report: one file, no outside request.

        Raises
        ------
        SettingsError
            The file cannot be written.
        """
        from mlma.report.page import save_html

        try:
            save_html(self.record, Path(path))
        except OSError as error:
            raise SettingsError(
                f"The report cannot be written to {path}: {error.strerror or error}."
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return data, policies and what was left out, as plain values for JSON.

        ``policies`` are the rows of `summary`; what is not defined is null.
        """
        record = self.record
        starts = record.grid.batch_starts()
        return {
            "data": {
                **record.settings,
                "streams": len(record.ids),
                "batches": record.grid.n_batches,
                "first_batch": str(starts[0].astype("datetime64[s]")),
                "last_batch": str(starts[-1].astype("datetime64[s]")),
                "seconds": round(record.seconds, 3),
            },
            "policies": [
                {name: _plain(value) for name, value in row.items()} for row in self._rows()
            ],
            "left_out": [
                {
                    "reason": out.reason,
                    "unit": out.unit,
                    "count": out.count,
                    "examples": list(out.examples),
                }
                for out in record.left_out
            ],
            "failures": record.failures,
        }

    def print(self, console: "Console | None" = None) -> None:
        """Print the table and what was left out."""
        from rich.console import Console

        from mlma.report.terminal import print_summary

        print_summary(self.record, console or Console())

    def __repr__(self) -> str:
        from io import StringIO

        from rich.console import Console

        text = StringIO()
        self.print(Console(file=text, width=100))
        return text.getvalue()

    def _repr_html_(self) -> str:
        from mlma.report.notebook import notebook_html

        return notebook_html(self.record)

    def _rows(self) -> list[dict[str, Any]]:
        record = self.record
        always = max(float(record.always.fits.mean()), 1e-12)
        rows = []
        for run in record.runs:
            ratio = record.relative_loss(run)
            telling = ratio[np.isfinite(ratio)]
            fits = float(run.fits.mean())
            incidents, minutes = rates_of(run)
            deferred, held, escalated = np.nan_to_num(unfulfilled(run)).mean(axis=0).tolist()
            rows.append(
                {
                    "policy": run.label,
                    "role": run.role,
                    "loss": float(telling.mean()) if len(telling) else float("nan"),
                    "worst": float(telling.max()) if len(telling) else float("nan"),
                    "fits": fits,
                    "fits_share": fits / always,
                    "retrainings": float(run.retrained.sum(axis=1).mean()),
                    "alarms": float(_alarms(run).mean()),
                    "deferred": deferred,
                    "held": held,
                    "escalated": escalated,
                    "incidents": incidents,
                    "minutes": minutes,
                    "seconds": run.seconds,
                    "phases": run.phases,
                    **_weights(run),
                },
            )
        return rows


def _plain(value: Any) -> Any:
    """Return NaN as None, because JSON has no NaN."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _weights(run: PolicyRun) -> dict[str, float]:
    weights = mean_weights(run) or dict.fromkeys(MEMBERS, float("nan"))
    return {f"weight_{name}": weight for name, weight in weights.items()}


def _alarms(run: PolicyRun) -> Any:
    return np.zeros(len(run.fits)) if run.evidence is None else alarm_counts(run.evidence)


def _level_of(run: PolicyRun) -> float:
    policy = policy_from(run.settings)
    return policy.level if isinstance(policy, MLMA) else MLMA().level


def _decided(record: Replayed, run: PolicyRun, columns: Columns) -> pl.DataFrame:
    if run.evidence is None:
        rows, batches = np.nonzero(run.retrained)
        batches = batches - 1  # decided after the batch before
    else:
        rows, batches = np.nonzero(np.isfinite(run.loss) | (run.evidence.decision > 0))
    frame = pl.DataFrame(
        {
            "policy": pl.Series([run.label]).new_from_index(0, len(rows)),
            columns.unique_id: pl.Series(record.ids, dtype=pl.String).gather(rows),
            columns.ds: record.grid.batch_starts()[batches],
        },
    )
    if run.evidence is None:
        told = (Decision.RETRAIN.label, Reason.SCHEDULE.label)
        return frame.with_columns(decision=pl.lit(told[0]), reason=pl.lit(told[1]))
    return frame.hstack(evidence_frame(run.evidence, (rows, batches), _level_of(run)))


def evidence_frame(evidence: Evidence, at: Any, level: float) -> pl.DataFrame:
    """Return evidence as columns, codes in words; ``at`` selects the entries.

    ``level`` is the policy's, for the smallest detectable rise.
    """
    columns: dict[str, Any] = {}
    for name in ("verdict", "decision", "reason"):
        words = pl.Series([member.label for member in _ENUMS[name]], dtype=pl.String)
        columns[name] = words.gather(getattr(evidence, name)[at].astype(np.int64))
    for name in ("p_value", "p_adjusted", "effect", "loss", "reference_loss", "n"):
        columns[name] = getattr(evidence, name)[at]
    columns |= effect_columns(evidence.effect[at], evidence.spread[at], evidence.df[at], level)
    for name in ("statistic", "score", "common", "evidence", "drift", "p_evidence", "alarm"):
        columns[name] = getattr(evidence, name)[at]
    return pl.DataFrame(columns)
