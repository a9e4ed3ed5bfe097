"""Pages are laid out before anybody looks."""

from http_client import lived, serving
from mlma.web.pages.loss_shelf import shelf_of
from mlma.web.warming import Warmer, kept_warm
from threads import until


def test_a_cycle_is_laid_out_once_it_is_judged():
    with serving() as (client, _):
        desk = client.app.state.desk
        with kept_warm(client.app):
            lived(client, 3, ["a", "b"])
            newest = desk.room.newest()
            sheet = until(lambda: desk.room._sheet, 20.0)
            assert sheet
            assert until(lambda: (newest.cycle, 0) in shelf_of(desk.room)._kept, 20.0)


def test_what_is_laid_out_is_not_laid_out_again():
    with serving() as (client, _):
        desk = client.app.state.desk
        warmer = Warmer(desk)
        warmer.look()
        assert desk.room._sheet is None  # nothing was judged yet
        lived(client, 3, ["a", "b"])
        warmer.look()
        sheet = desk.room._sheet
        warmer.look()
        assert desk.room._sheet is sheet
