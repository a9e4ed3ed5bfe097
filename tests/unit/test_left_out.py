from mlma.domain.leftovers import LeftOut, merge_left_out


def test_same_reasons_add_up_and_keep_the_first_three_examples() -> None:
    merged = merge_left_out(
        [LeftOut("missing y", "rows", 2, ("a", "b"))],
        [LeftOut("missing y", "rows", 3, ("b", "c", "d")), LeftOut("missing y", "streams", 1)],
    )
    assert merged == (
        LeftOut("missing y", "rows", 5, ("a", "b", "c")),
        LeftOut("missing y", "streams", 1),
    )


def test_merging_nothing_gives_nothing() -> None:
    assert merge_left_out() == ()
    assert merge_left_out([], []) == ()
