"""The command ``mlma simulate``: a simulated platform as a file, and what was planted in it."""

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlma.domain.errors import SettingsError

if TYPE_CHECKING:
    import polars as pl

    from mlma.library.simulate import Simulated

EXAMPLE = """
**Example**

    mlma simulate platform.parquet --streams 50 --days 180 --truth truth.parquet \\
        --platform "platform(together=0.77, kinds=('level', 'drift'))"
"""


def register_simulate(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXAMPLE)(simulate)


def simulate(
    out: Annotated[Path, typer.Argument(help="Parquet file to write: unique_id, ds, y, tags.")],
    *,
    streams: Annotated[int, typer.Option(help="Number of streams.")] = 100,
    days: Annotated[int, typer.Option(help="Number of days.")] = 90,
    slot: Annotated[str, typer.Option(help="Length of a slot, such as 15m or 1h.")] = "1h",
    seed: Annotated[int, typer.Option(envvar="MLMA_SEED")] = 0,
    platform: Annotated[
        str | None, typer.Option(help='Settings as in Python: "platform(together=0.77)".')
    ] = None,
    arrivals: Annotated[bool, typer.Option(help="Add the column arrived_at.")] = False,
    truth: Annotated[Path | None, typer.Option(help="Write the planted breaks here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write a simulated last-mile platform with planted breaks, for trying things on."""
    _refuse(out, truth)
    from mlma.library.simulate import simulate as made_of

    made = made_of(streams, days, slot=slot, seed=seed, platform=platform)
    actuals = made.to_df(arrivals=arrivals)
    _write(actuals, out)
    if truth is not None:
        _write(made.truth, truth)
    told = _told(made, len(actuals), out, truth)
    print(json.dumps(told, allow_nan=False) if as_json else _text(told))


def _refuse(out: Path, truth: Path | None) -> None:
    """Tell a wrong path before the work, not after it."""
    for path in filter(None, (out, truth)):
        if path.suffix.lower() != ".parquet":
            raise SettingsError(f"Only Parquet is written. Expected a name.parquet. Got {path}.")
        if path.is_dir() or not path.resolve().parent.is_dir():
            raise SettingsError(f"The file cannot be written to {path}: no such folder.")
    if truth is not None and truth.resolve() == out.resolve():
        raise SettingsError(f"The truth and the actuals cannot share one file. Got {out}.")


def _write(frame: "pl.DataFrame", target: Path) -> None:
    """Write to a temporary file in the same folder, which then takes the place of the old one."""
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            frame.write_parquet(file)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _told(made: "Simulated", rows: int, out: Path, truth: Path | None) -> dict[str, Any]:
    nature, world = made.streams, made.world
    return {
        "file": str(out),
        "truth": None if truth is None else str(truth),
        "streams": world.streams,
        "days": world.days,
        "slots": made.slots,
        "seed": world.seed,
        "rows": rows,
        "breaks": _counts(made.truth),
        "events": _counts(made.events),
        "nature": {
            "zero_inflated": int(nature["zero_inflated"].sum()),
            "dead": int(nature["dead"].sum()),
            "born": int((nature["born"] > nature["born"].min()).sum()),
            "died": int(nature["died"].is_not_null().sum()),
        },
    }


def _counts(frame: "pl.DataFrame") -> dict[str, int]:
    """Return how many rows each kind has, by name."""
    counted = frame["kind"].value_counts().sort("kind")
    return dict(zip(counted["kind"].to_list(), counted["count"].to_list(), strict=True))


def _text(told: dict[str, Any]) -> str:
    size = f"{told['streams']} streams, {told['days']} days of {told['slots']} slots"
    lines = [f"{told['file']}: {told['rows']} rows; {size}; seed {told['seed']}"]
    lines += [f"{what}: {_listed(told[what])}" for what in ("breaks", "events", "nature")]
    if told["truth"]:
        lines.append(f"Planted breaks: {told['truth']}")
    return "\n".join(lines)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"
