"""The book of requests: which are open, which have yet to be handed over, which are closed.

Takes new requests and what became of them; gives what is to be sent. It is saved as JSON beside the
agent that asked.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from mlma.adapters.notify.documents import as_document, compact, from_document
from mlma.domain.errors import StateError
from mlma.ports import DeliveryError, RetrainingRequest, RetrainingRequests

FORMAT = 1


class RequestBook:
    """Open requests by stream, and the outbox: portions that nobody has confirmed yet.

    open
        the open request of each stream; there is one at most.
    outbox
        portions in the order in which they were made. A portion stays as it is until it is handed
        over, so that it has the same id whenever it is sent.
    closed
        by stream, the cycle of its last request that came to an end: an old frame does not ask
        again.
    error
        why the last portion could not be handed over; None = all were.
    """

    def __init__(self) -> None:
        self.open: dict[str, RetrainingRequest] = {}
        self.outbox: list[tuple[RetrainingRequest, ...]] = []
        self.closed: dict[str, int] = {}
        self.error: str | None = None

    @property
    def waiting(self) -> set[str]:
        """Ids of the requests in the outbox."""
        return {request.id for portion in self.outbox for request in portion}

    def is_new(self, unique_id: str, cycle: int) -> bool:
        """Return whether a stream asks for what was not asked for before."""
        known = self.open.get(unique_id)
        last = self.closed.get(unique_id, -1) if known is None else known.cycle
        return cycle > last

    def add(self, requests: Sequence[RetrainingRequest], via: RetrainingRequests) -> None:
        """Open requests and put them into the outbox, in the portions in which they travel."""
        self.close([one.unique_id for one in requests])
        self.open |= {one.unique_id: one for one in requests}
        self.outbox += via.batches(requests)

    def hand_over(self, via: RetrainingRequests) -> int:
        """Send the outbox, oldest first, and return how many requests were handed over.

        A portion that is refused stays and lets others pass; where nobody can be reached, all stay.
        """
        delivered, self.error = 0, None
        for portion in list(self.outbox):
            try:
                via.send(portion)
            except DeliveryError as error:
                self.error = self.error or str(error)
                if not error.refused:
                    break
            else:
                self.outbox.remove(portion)
                delivered += len(portion)
        return delivered

    def close(self, names: Iterable[str]) -> None:
        """Close the requests of streams, those without one included; nothing of them is sent."""
        ended = [self.open.pop(name) for name in names if name in self.open]
        if not ended:
            return
        self.closed |= {one.unique_id: one.cycle for one in ended}
        ids = {one.id for one in ended}
        left = (tuple(one for one in portion if one.id not in ids) for portion in self.outbox)
        self.outbox = [portion for portion in left if portion]

    def close_where(self, over: Callable[[RetrainingRequest], bool]) -> None:
        """Close the requests that are over."""
        self.close([name for name, request in self.open.items() if over(request)])

    def save(self, path: str | PathLike[str]) -> None:
        """Write the book to a file, or leave the old one as it was.

        Raises
        ------
        StateError
            The file cannot be written.
        """
        document = {
            "format": FORMAT,
            "open": [as_document(request) for request in self.open.values()],
            "outbox": [[request.id for request in portion] for portion in self.outbox],
            "closed": self.closed,
        }
        try:
            _replace(Path(path), compact(document))
        except OSError as error:
            raise StateError(f"The requests cannot be saved to {path}: {error}.") from error

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "RequestBook":
        """Return the book that `save` wrote.

        Raises
        ------
        StateError
            The file is missing, damaged or of another version.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="ascii"))
            made_in = document["format"]
            if made_in == FORMAT:
                return cls._read(document)
        except FileNotFoundError as error:
            raise StateError(f"There are no saved requests at {path}.") from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StateError(
                f"{path} does not hold saved requests, or it is damaged: "
                f"{type(error).__name__} {error}."
            ) from error
        raise StateError(f"{path} was saved in format {made_in}. Expected {FORMAT}.")

    @classmethod
    def _read(cls, document: dict[str, Any]) -> "RequestBook":
        book = cls()
        requests = [from_document(one) for one in document["open"]]
        by_id = {request.id: request for request in requests}
        book.open = {request.unique_id: request for request in requests}
        book.outbox = [tuple(by_id[key] for key in portion) for portion in document["outbox"]]
        book.closed = {str(name): int(cycle) for name, cycle in document["closed"].items()}
        return book


def _replace(target: Path, text: str) -> None:
    """Write to a temporary file in the same folder, which then takes the place of the old one."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
