from datetime import UTC, datetime

import pytest

from mlma.domain.orders import (
    Freeze,
    LabelBatches,
    SetBudget,
    SwitchPolicy,
    Undo,
)
from mlma.domain.selectors import Selector
from mlma.service.roles import PERMITTED, ROLES, needs_admin, permits

SOME = Selector(tags=("city=Ghent",))
FLEET = SwitchPolicy(selector=Selector(), everything=True, policy="never")


def test_each_role_has_the_rights_of_those_below_it():
    assert set(PERMITTED) == set(ROLES)
    assert PERMITTED["read"] < PERMITTED["engineer"] < PERMITTED["admin"]
    assert PERMITTED["ingest"] < PERMITTED["engineer"]
    assert not permits("ingest", "read")
    assert not permits("engineer", "admin")


@pytest.mark.parametrize(
    "order",
    [
        FLEET,
        SwitchPolicy(selector=SOME, everything=True, policy="never"),
        SwitchPolicy(selector=Selector(), policy="never"),
        SetBudget(per_cycle=3),
        SetBudget(per_cycle=None),
    ],
    ids=repr,
)
def test_what_changes_how_the_whole_fleet_is_decided_about_takes_an_admin(order):
    assert needs_admin(order)
    assert needs_admin(Undo(action=3), order)


@pytest.mark.parametrize(
    "order",
    [
        SwitchPolicy(selector=SOME, policy="never"),
        Freeze(selector=Selector(), everything=True),
        LabelBatches(
            selector=SOME,
            begins=datetime(2025, 1, 1, tzinfo=UTC),
            ends=datetime(2025, 1, 2, tzinfo=UTC),
            label="broken",
        ),
        Undo(action=1),
    ],
    ids=repr,
)
def test_of_other_orders_an_engineer_is_enough(order):
    assert not needs_admin(order)
    assert not needs_admin(Undo(action=3), order)
