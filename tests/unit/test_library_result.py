"""The frames of a result are enough to compute every figure of its summary again."""

import json
from collections import Counter

import numpy as np
import polars as pl
import pytest

from histories import fleet, replayed, stream
from mlma import SettingsError

MLMA = "mlma(pool=1, level=0.01, adjustment=0, follow_ups=(7,))"
POLICIES = [MLMA, "periodic(every=10, phase=2)", "random(rate=0.1)"]
ALARMS = ["loss above the reference", "the stream was dead in the reference and is alive"]


@pytest.fixture(scope="module")
def result():
    """Four streams, one dead, one with a hole; the first breaks."""
    history = fleet()
    hole = (pl.col("unique_id") == "s2") & pl.col("ds").dt.ordinal_day().is_between(50, 53)
    dead = stream("zero", 120).with_columns(y=pl.lit(0.0))
    return replayed(pl.concat([history.filter(~hole), dead]), policies=POLICIES, phases=2)


@pytest.fixture(scope="module")
def by_stream(result):
    return result.to_df()


def joined_with_always(losses):
    always = losses.filter(pl.col("policy") == "always").drop("policy")
    return losses.join(always, on=["unique_id", "ds"], suffix="_of_always")


def test_every_policy_and_its_yardsticks_have_a_row(result):
    assert result.summary().select("policy", "role").rows() == [
        ("seasonal_naive", "baseline"),
        ("never", "baseline"),
        ("always", "baseline"),
        (MLMA, "policy"),
        ("periodic(every=10, phase=2)", "policy"),
        ("random(rate=0.1)", "policy"),
        *[(row["policy"], "matched") for row in result.summary().rows(named=True)[6:]],
    ]
    names = [label.split("(")[0] for label in result.summary()["policy"][6:]]
    assert names == ["periodic", "random"]


def test_the_relative_loss_is_a_ratio_of_sums_over_shared_batches(result, by_stream):
    pairs = joined_with_always(result.losses)
    sums = pairs.group_by("policy", "unique_id").agg(pl.col("loss", "loss_of_always").sum())
    ratios = sums.with_columns(again=pl.col("loss") / pl.col("loss_of_always"))
    both = by_stream.join(ratios, on=["policy", "unique_id"], suffix="_sum")
    alive = both.filter(pl.col("unique_id") != "zero")
    assert len(alive) == 4 * 8
    np.testing.assert_allclose(alive["relative_loss"], alive["again"], rtol=1e-9)
    assert both.filter(pl.col("unique_id") == "zero")["relative_loss"].is_nan().all()
    means = alive.group_by("policy").agg(mean=pl.col("again").mean(), worst=pl.col("again").max())
    shown = result.summary().join(means, on="policy", suffix="_again")
    np.testing.assert_allclose(shown["loss"], shown["mean"], rtol=1e-9)
    np.testing.assert_allclose(shown["worst"], shown["worst_again"], rtol=1e-9)


def test_losses_per_stream_are_means_of_the_batches(result, by_stream):
    means = result.losses.group_by("policy", "unique_id").agg(
        again=pl.col("loss").mean(), number=pl.len()
    )
    both = by_stream.join(means, on=["policy", "unique_id"])
    assert len(both) == len(by_stream) == 5 * 8
    np.testing.assert_allclose(both["loss"], both["again"], rtol=1e-9)
    assert both["batches"].to_list() == both["number"].to_list()
    hole = both.filter(pl.col("unique_id") == "s2")["batches"]
    assert set(hole) == {120 - 28 - 4}


def test_alarms_are_counted_from_the_decisions(result, by_stream):
    alarms = result.decisions.filter(pl.col("alarm"))
    assert set(alarms["reason"]) <= set(ALARMS)  # nothing was held back here
    assert result.decisions["reason"].is_in(ALARMS).sum() == len(alarms)
    counts = Counter(alarms.select("policy", "unique_id").iter_rows())
    for row in by_stream.rows(named=True):
        assert row["alarms"] == counts[row["policy"], row["unique_id"]]
    shown = dict(result.summary().select("policy", "alarms").iter_rows())
    assert shown[MLMA] == len(alarms) / 5 > 0


def test_re_trainings_are_the_decisions_before_a_streams_last_batch(result, by_stream):
    last = result.losses.group_by("unique_id").agg(last=pl.col("ds").max())
    decided = result.decisions.filter(pl.col("decision") == "retrain").join(last, on="unique_id")
    in_time = decided.filter(pl.col("ds") < pl.col("last"))
    counts = Counter(in_time.select("policy", "unique_id").iter_rows())
    for row in by_stream.rows(named=True):
        assert row["retrainings"] == counts[row["policy"], row["unique_id"]]
    assert by_stream.filter(pl.col("policy") == MLMA)["retrainings"].sum() > 1


def test_fits_are_re_trainings_and_the_first_model(result, by_stream):
    one_phase = by_stream.filter(
        pl.col("policy").is_in(["never", "always", MLMA, "periodic(every=10, phase=2)"])
    )
    assert (one_phase["fits"] == one_phase["retrainings"] + 1).all()
    summary = {row["policy"]: row for row in result.summary().rows(named=True)}
    always = summary["always"]["fits"]
    assert always == pytest.approx(92, abs=1)
    assert summary["periodic(every=10, phase=2)"]["fits"] == pytest.approx(92 / 10, abs=1)
    assert summary["random(rate=0.1)"]["fits"] == pytest.approx(1 + 91 * 0.1, rel=0.35)
    assert summary["random(rate=0.1)"]["phases"] == 2
    assert summary["seasonal_naive"]["fits"] == 0
    for row in summary.values():
        assert row["fits_share"] == pytest.approx(row["fits"] / always)
        if row["role"] == "matched":
            assert row["fits"] == pytest.approx(summary[MLMA]["fits"], rel=0.5)


def test_the_losses_of_a_policy_that_looks_are_those_of_its_decisions(result):
    looked = result.decisions.filter(pl.col("policy") == MLMA, pl.col("loss").is_not_nan())
    losses = result.losses.filter(pl.col("policy") == MLMA)
    both = losses.join(looked, on=["unique_id", "ds"])
    assert len(both) == len(losses)
    np.testing.assert_array_equal(both["loss"], both["loss_right"])


def test_the_adjusted_p_values_of_a_batch_are_those_of_benjamini_and_hochberg(result):
    told = result.decisions.filter(pl.col("policy") == MLMA, pl.col("p_value").is_not_nan())
    for _, batch in told.group_by("ds"):
        p = np.sort(batch["p_value"].to_numpy())
        stepped = np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
        np.testing.assert_allclose(np.sort(batch["p_adjusted"]), np.minimum(stepped, 1), rtol=1e-12)


def test_the_dictionary_is_json_without_nan_and_has_the_same_figures(result):
    text = json.dumps(result.to_dict(), allow_nan=False)
    document = json.loads(text)
    assert list(document) == ["data", "policies", "left_out", "failures"]
    shown = result.summary().rows(named=True)
    assert [row["policy"] for row in document["policies"]] == [row["policy"] for row in shown]
    for got, expected in zip(document["policies"], shown, strict=True):
        assert got == {name: got[name] for name in expected}
        assert got["loss"] == pytest.approx(expected["loss"])
        assert got["fits"] == expected["fits"]
    data = document["data"]
    assert (data["streams"], data["batches"], data["model"]) == (5, 120, "ridge")
    assert (data["first_batch"], data["last_batch"]) == (
        "2024-01-01T00:00:00",
        "2024-04-29T00:00:00",
    )


def test_figures_that_are_not_defined_are_null_in_json():
    dead = stream("zero", 60).with_columns(y=pl.lit(0.0))
    document = replayed(dead, policies=["never"]).to_dict()
    assert [row["loss"] for row in document["policies"]] == [None, None, None]
    json.dumps(document, allow_nan=False)


def test_terminal_notebook_and_page_name_every_policy(result, tmp_path):
    page = tmp_path / "report.html"
    result.save_html(page)
    for text in (repr(result), result._repr_html_(), page.read_text()):
        for name in ("seasonal_naive", "never", "always", "mlma", "periodic", "random"):
            assert name in text


def test_a_report_that_cannot_be_written_is_a_settings_error(result, tmp_path):
    (tmp_path / "file").write_text("no folder")
    for bad in (tmp_path, tmp_path / "file" / "report.html"):
        with pytest.raises(SettingsError, match="cannot be written to"):
            result.save_html(bad)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_without_a_policy_that_looks_decisions_are_schedules():
    result = replayed(fleet(2, 45), policies=["never"])
    assert result.decisions["policy"].unique().to_list() == ["always"]
    assert set(result.decisions["reason"]) == {"schedule of the policy"}
    assert result.summary()["alarms"].to_list() == [0, 0, 0]
