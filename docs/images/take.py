"""Pictures of the desk for the README and the pages of this folder.

    python docs/images/take.py [--only fleet stream ...]

A fleet of 240 shops in four cities lives through thirteen weeks (`desk_worlds` of the tests); then
somebody signs in, and the pages are saved as ``desk-*.png``, 1280 wide, with a palette of at most
256 colours. Takes a minute, and needs Chromium and the extra ``dev``. Look at each picture
afterwards.
"""

import argparse
import base64
import math
import struct
import sys
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))
from desk_people import Person, chromium
from desk_worlds import START, Desk, Trouble, World, desk_settings
from live_server import serving
from mlma.domain.calendar_events import CalendarEvent
from mlma.domain.orders import Acknowledge, Declare, Freeze, LabelBatches, Order, Plan, SetBudget
from mlma.domain.selectors import Selector

FOLDER = Path(__file__).parent
STREAMS, DAYS = 240, 99
COLOURS = 256
LARGEST = 150_000
GHENT = Selector(tags=("city=Ghent",))
PIXELS = """async data => {
    const image = await createImageBitmap(await (await fetch(data)).blob());
    const canvas = new OffscreenCanvas(image.width, image.height);
    const drawn = canvas.getContext("2d");
    drawn.drawImage(image, 0, 0);
    const bytes = drawn.getImageData(0, 0, image.width, image.height).data;
    let text = "";
    for (let at = 0; at < bytes.length; at += 32768)
        text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return btoa(text);
}"""


def day(number: int, hours: int = 0) -> datetime:
    """Return a time of a day of the world."""
    return START + timedelta(days=number, hours=hours)


def world() -> World:
    """The shops: one of them cannot be helped, some break and heal, a few things happen to all."""
    made = World(streams=STREAMS, noise=0.15)
    rng = np.random.default_rng(11)
    broken = [
        Trouble((int(row),), int(begins), factor=float(factor))
        for row, begins, factor in zip(
            rng.choice(STREAMS, 26, replace=False),
            rng.integers(36, DAYS - 20, 26),
            rng.uniform(1.6, 2.6, 26),
            strict=True,
        )
    ]
    florists = tuple(row for row, name in enumerate(made.names) if name.startswith("florist"))
    made.troubles = (
        *broken,
        Trouble((6,), 46, factor=2.6, heals=False),
        Trouble(tuple(range(STREAMS)), 26, factor=1.6),
        Trouble(made.rows("Ghent"), DAYS - 4, factor=2.0, after=9),
        Trouble(florists, DAYS - 2, factor=math.nan),
    )
    return made


def healed(made: World) -> str:
    """Return the shop with the largest break of these weeks that a re-training healed."""
    alone = [one for one in made.troubles if len(one.rows) == 1 and one.heals]
    middle = [one for one in alone if 50 < one.begins < 75]
    return made.names[max(middle, key=lambda one: one.factor).rows[0]]


def ordered(desk: Desk, order: Order, who: str, why: str = "") -> None:
    """Let somebody give an order."""
    desk.service.engineering.carry_out(order, f"user:{who}", why)  # type: ignore[attr-defined]


def weeks_before(desk: Desk) -> None:
    """Let the thirteen weeks pass; people do what people do."""
    desk.passes(30)
    for one in desk.incidents():
        ordered(desk, Acknowledge(incident=one.id), "ann", "New prices.")
    carnival = CalendarEvent("e1", "Carnival", "holiday", day(43), day(45))
    ordered(desk, Declare(event=carnival), "ann", "Shops are closed.")
    ordered(desk, SetBudget(per_cycle=60), "ada", "The cluster is shared.")
    desk.passes(DAYS - desk.today)
    street = Selector(search="bakery Bruges")
    label = LabelBatches(selector=street, begins=day(95), ends=day(97), label="one_off")
    ordered(desk, label, "bob", "The street was closed for two days.")
    ordered(desk, Freeze(selector=Selector(search="café Leuven 03")), "bob", "It is rebuilt.")
    sale = CalendarEvent("e3", "Spring sale", "promotion", day(103), day(109), GHENT, exclude=False)
    ordered(desk, Declare(event=sale), "ann", "As each year.")
    ordered(desk, Plan(selector=GHENT, at=day(110, 6)), "ann", "After the sale.")
    desk.looks()


@dataclass
class Camera:
    """A browser with scripts, to turn what it draws into pixels."""

    browser: Any
    only: list[str]

    def takes(self, person: Person, name: str, height: int, scheme: str = "light") -> None:
        """Save the upper part of the page in front of somebody."""
        if self.only and name not in self.only:
            return
        page = person.page
        page.emulate_media(color_scheme=scheme)
        page.evaluate("window.scrollTo(0, 0)")
        page.set_viewport_size({"width": 1280, "height": 900})
        whole = page.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": 1280, "height": min(height, whole)}
        drawn = page.screenshot(full_page=True, clip=clip)
        page.emulate_media(color_scheme="light")
        path = FOLDER / f"desk-{name}.png"
        path.write_bytes(palette_png(self.pixels(drawn, clip["height"])))
        size = path.stat().st_size
        print(f"{path.name}: 1280 x {clip['height']}, {size / 1000:.0f} kB")
        assert size < LARGEST, path

    def pixels(self, drawn: bytes, height: int) -> NDArray[np.uint8]:
        """Return the pixels of a picture, ``(height, width, 3)``."""
        page = self.browser.new_page()
        data = "data:image/png;base64," + base64.b64encode(drawn).decode()
        raw = base64.b64decode(page.evaluate(PIXELS, data))
        page.close()
        return np.frombuffer(raw, dtype=np.uint8).reshape(height, -1, 4)[:, :, :3]


def palette_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG with a palette: the commonest colours, and those far from all others."""
    height, width, _ = pixels.shape
    colours, place, count = np.unique(
        pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    points = colours.astype(np.float64)
    nearest, far = np.zeros(len(points), dtype=np.uint8), np.full(len(points), np.inf)
    chosen: list[int] = []
    while len(chosen) < min(COLOURS, len(points)):
        weight = np.sqrt(count) * np.minimum(far, 1e6)
        chosen.append(int(weight.argmax()))
        apart = ((points - points[chosen[-1]]) ** 2).sum(axis=1)
        nearest[apart < far] = len(chosen) - 1
        far = np.minimum(far, apart)
    rows = nearest[place.reshape(height, width)]
    plain = np.hstack([np.zeros((height, 1), dtype=np.uint8), rows]).tobytes()
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", colours[chosen].tobytes()),
            _chunk(b"IDAT", zlib.compress(plain, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@contextmanager
def desk_of(folder: Path) -> Any:
    """Lend a desk after thirteen weeks."""
    made = world()
    with serving(desk_settings(folder / "store.db")) as (service, client):
        service.lab._wall = service.clock.now  # the time of the pictures, also for trials
        service.store.register(made.names)
        service.live.tag(made.tags)
        desk = Desk(service, made, 0, str(client.base_url).rstrip("/"))
        weeks_before(desk)
        yield desk


def take(desk: Desk, camera: Camera) -> None:
    """Walk through the pages."""
    ada = Person(camera.browser, desk.base).signs_in("ada", "admin")
    ada.goes("/fleet?weeks=13")
    camera.takes(ada, "fleet", 1330)
    camera.takes(ada, "fleet-dark", 1330, "dark")
    ada.goes("/incidents")
    camera.takes(ada, "incidents", 900)
    ada.follows("city=Ghent")
    camera.takes(ada, "incident", 1180)
    ada.follows("Label batches")
    ada.field("They were").select_option("one-off")
    ada.presses(ada.button("See what it would change"))
    camera.takes(ada, "dry-run", 1000)
    ada.goes(f"/stream?unique_id={healed(desk.world)}&weeks=13")
    camera.takes(ada, "stream", 1420)
    ada.goes("/streams")
    camera.takes(ada, "streams", 900)
    ada.goes("/calendar?month=2024-04")
    camera.takes(ada, "calendar", 1050)
    ada.goes("/lab")
    ada.field("Follow-ups").fill("none")
    ada.presses(ada.button("Start the trial"))
    ada.page.get_by_role("heading", name="What it would have done").wait_for(timeout=120_000)
    camera.takes(ada, "lab", 1130)
    ada.leaves()


def main() -> int:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="names of pictures")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, desk_of(Path(folder)) as desk:
        for one in desk.incidents():
            print(f"{one.state} {one.kind} {one.scope}: {one.cause}")
        with chromium() as browser:
            take(desk, Camera(browser, asked.only))
    return 0


if __name__ == "__main__":
    sys.exit(main())
