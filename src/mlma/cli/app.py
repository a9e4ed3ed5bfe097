"""The commands. Tables go to stdout, progress and errors to stderr.

Exit codes: 0 done; 1 the model, the workers or a saved state failed; 2 wrong data or settings; 130
interrupted.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mlma.cli.act import register_act
from mlma.cli.alert import register_alert
from mlma.cli.config import table_of
from mlma.cli.cycle import register_cycle
from mlma.cli.db import register_db
from mlma.cli.doctor import register_doctor
from mlma.cli.incidents import register_incidents
from mlma.cli.init import register_init
from mlma.cli.key import register_key
from mlma.cli.lab import register_lab
from mlma.cli.serve import register_serve
from mlma.cli.serve_demo import register_serve_demo
from mlma.cli.simulate import register_simulate
from mlma.cli.status import register_status
from mlma.cli.user import register_user
from mlma.cli.verify import register_verify
from mlma.cli.versions import register_versions
from mlma.domain.errors import DataError, MissingExtraError, MlmaError, SettingsError

app = typer.Typer(
    name="mlma",
    help="Keep a very large number of forecasting models accurate with very little human work.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130

EXAMPLE = """
**Example**

    mlma replay history.parquet --policy "mlma(level=0.01)" \\
        --policy "periodic(every=28)" --report report.html
"""


def main() -> None:
    """Run the command line; every error of ours is one message and an exit code."""
    try:
        left_with = app(standalone_mode=False)  # typer turns an interrupt into this exit code
        if left_with == INTERRUPTED:
            _stop("Interrupted; nothing was written.", INTERRUPTED)
    except MlmaError as error:
        wrong_input = isinstance(error, DataError | SettingsError | MissingExtraError)
        _stop(str(error), BAD_INPUT if wrong_input else FAILED)
    except (KeyboardInterrupt, typer.Abort):
        _stop("Interrupted; nothing was written.", INTERRUPTED)
    except typer.Exit as leaving:
        sys.exit(leaving.exit_code)
    except Exception as error:
        # Click's own usage errors know how to show themselves.
        if not hasattr(error, "show"):
            raise
        error.show()
        sys.exit(BAD_INPUT)


def _stop(message: str, code: int) -> None:
    print(f"mlma: {message}", file=sys.stderr)
    sys.exit(code)


def _version(asked: bool) -> None:
    if asked:
        from mlma import __version__

        print(f"mlma {__version__}")
        raise typer.Exit


@app.callback(epilog=EXAMPLE)
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Keep a very large number of forecasting models accurate with very little human work."""


def _configured(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None:
        keys = {_key(parameter): parameter for parameter in context.command.params}
        del keys["config"]
        lists = {key for key, parameter in keys.items() if getattr(parameter, "multiple", False)}
        settings = table_of(path, "replay", keys, lists)
        named = {str(keys[key].name): value for key, value in settings.items()}
        context.default_map = {**(context.default_map or {}), **named}
    return path


def _key(parameter: Any) -> str:
    """Return what a parameter is called on the command line, which is its key in a file too."""
    return str(max(parameter.opts, key=len)).lstrip("-").replace("-", "_")


Policies = Annotated[
    list[str] | None,
    typer.Option(help='As in Python, repeated as needed: "mlma(level=0.01)", "never".'),
]
Config = Annotated[
    Path | None,
    typer.Option(
        callback=_configured, is_eager=True, help="TOML file with a table [replay]; CLI wins."
    ),
]


@app.command(epilog=EXAMPLE)
def replay(
    data: Annotated[str, typer.Argument(help="Parquet or CSV file: unique_id, ds, y.")],
    *,
    model: Annotated[str, typer.Option(envvar="MLMA_MODEL", help="ridge, lightgbm, ...")] = "ridge",
    loss: Annotated[str, typer.Option(envvar="MLMA_LOSS")] = "absolute",
    batch: Annotated[str, typer.Option(envvar="MLMA_BATCH", help="Length of a batch.")] = "1d",
    policy: Policies = None,
    window: Annotated[
        str | None, typer.Option(help="Training window, a length such as 84d.")
    ] = None,
    mode: Annotated[str, typer.Option(help="day_ahead or one_step.")] = "day_ahead",
    step: Annotated[str | None, typer.Option(help="Length of a slot; default: found.")] = None,
    unique_id: Annotated[str, typer.Option(help="Column of the stream's name.")] = "unique_id",
    ds: Annotated[str, typer.Option(help="Column of the time.")] = "ds",
    y: Annotated[str, typer.Option(help="Column of the observed value.")] = "y",
    tag: Annotated[list[str] | None, typer.Option(help="Column of labels; repeat.")] = None,
    exogenous: Annotated[
        list[str] | None, typer.Option(help="Column known in advance; repeat.")
    ] = None,
    scope: Annotated[
        str, typer.Option(help="Who shares a model: stream, fleet or the name of a tag.")
    ] = "stream",
    exclude: Annotated[
        Path | None,
        typer.Option(help="File of batches not to use: start, end, and unique_id if not all."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Folder or address that keeps the versions of the first MLMA policy."),
    ] = None,
    complete_share: Annotated[
        float, typer.Option(help="Share of a batch's actuals it takes to judge it.")
    ] = 0.5,
    phases: Annotated[int, typer.Option(help="Random phases of the baselines.")] = 5,
    seed: Annotated[int, typer.Option(envvar="MLMA_SEED")] = 0,
    jobs: Annotated[
        int | None, typer.Option(envvar="MLMA_JOBS", help="Processes; default: all cores.")
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            envvar="MLMA_EXECUTOR", help="Where models are trained: local, ray, ray(address='...')."
        ),
    ] = "local",
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds that one fit may take; default: no limit.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report to this HTML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    config: Config = None,
) -> None:
    """Replay a history under many policies: what would each have cost and lost?"""
    _refuse_bad_report(report)
    from mlma.library.replay import replay as run

    result = run(
        data,
        model=model,
        loss=loss,
        batch=batch,
        policies=policy or None,
        window=window,
        mode=mode,
        step=step,
        unique_id=unique_id,
        ds=ds,
        y=y,
        tags=tag or None,
        exogenous=exogenous or None,
        scope=scope,
        exclude=exclude,
        store=store,
        complete_share=complete_share,
        phases=phases,
        seed=seed,
        n_jobs=jobs,
        executor=executor,
        time_limit=time_limit,
    )
    _show(result, report, as_json)


@app.command()
def demo(
    report: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("mlma-demo.html"),
    jobs: Annotated[int | None, typer.Option(help="Processes; default: all cores.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Replay seven years of 21 real hourly streams (pedestrians in Auckland)."""
    _refuse_bad_report(report)
    from mlma.library.datasets import auckland_pedestrians
    from mlma.library.replay import replay as run

    policies = ["mlma", "mlma(pool=1)", "mlma(budget=0.0025)", "periodic(every=28)"]
    result = run(auckland_pedestrians(), policies=policies, n_jobs=jobs, progress=True)
    _show(result, report, as_json)


register_simulate(app)
register_versions(app)
register_init(app)
register_serve(app)
register_serve_demo(app)
register_cycle(app)
register_status(app)
register_act(app)
register_incidents(app)
register_lab(app)
register_alert(app)
register_doctor(app)
register_key(app)
register_user(app)
register_db(app)
register_verify(app)


def _refuse_bad_report(report: Path | None) -> None:
    """Tell a wrong path before the work, not after it."""
    if report is None:
        return
    folder = report.resolve().parent
    if report.is_dir():
        raise SettingsError(f"The report cannot be written to {report}: it is a folder.")
    if not folder.is_dir():
        raise SettingsError(f"The report cannot be written to {report}: no such folder.")
    if not os.access(folder, os.W_OK):
        raise SettingsError(f"The report cannot be written to {report}: permission denied.")


def _show(result: Any, report: Path | None, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result.to_dict(), allow_nan=False))
    else:
        result.print()
    if report is not None:
        result.save_html(report)
        if not as_json:
            print(f"Report: {report}")
