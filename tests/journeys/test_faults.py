"""A small part of the harness of benchmarks/faults: kills, a full disk, clocks that jump."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from faults import disk, jumps
from faults.databases import Databases
from faults.histories import SMALL, history
from faults.killer import PHASES, Phase
from faults.played import judged, played

OFTEN = {name: Phase(min(4 * one.chance, 1.0), one.within / 2) for name, one in PHASES.items()}


def test_a_server_that_is_killed_leaves_what_a_calm_one_leaves(tmp_path):
    url = "sqlite:///{}/store.db"
    calm = played(5, url.format(tmp_path), tmp_path, size=SMALL)
    assert calm.error == ""
    assert judged(calm, calm.account).problems == []
    folder = tmp_path / "killed"
    made = played(5, url.format(folder), folder, size=SMALL, kills=6, phases=OFTEN)
    found = judged(made, calm.account)
    assert made.kills.total() >= 4
    assert found.problems == []
    assert found.holds
    sent = sum(len(body.rows) for day in history(5, SMALL) for body in day.bodies)
    assert found.acknowledged >= sent

    def broken(**changes):
        other = replace(made, account=replace(made.account, **changes))
        return judged(other, calm.account)

    # What the checks are for, they see.
    account = made.account
    period = min(period for _, _, period in account.cycles)
    of_first = {row for row in account.inbox if row[2] == period}
    assert broken(inbox=account.inbox - {min(of_first)}).lost == 1
    assert broken(cycles=[*account.cycles, account.cycles[0]]).twice == 1
    key = min(account.ledger)
    assert not broken(ledger=account.ledger | {key: b""}).equal
    without = {one: told for one, told in account.ledger.items() if one != key}
    assert broken(ledger=without).missing == 1
    assert broken(events=account.events | {"never sent": "delivered"}).missing == 1
    deployed = next(one for one in account.actions if one[0] == "deployed")
    assert broken(actions=[*account.actions, deployed]).twice == 1


def test_a_full_disk_refuses_rows_and_loses_none(tmp_path):
    small = replace(SMALL, days=5, breaks=())
    (found,) = disk.scenario(Databases("sqlite", tmp_path), tmp_path, 3, size=small, fills=6)
    if found.told.startswith("skipped"):
        pytest.skip(found.told)
    assert found.holds, found.told


def test_clocks_that_jump_change_nothing(tmp_path):
    for found in jumps.scenario(tmp_path, 1):
        assert found.holds, found
