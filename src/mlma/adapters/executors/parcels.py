"""What travels to workers and back: tasks without what they share, answers, errors.

Takes tasks, finds the arguments that many of them share, packs tasks so that a shared argument is
only named in them; unpacks them where it is known. Next are the processes that send parcels.
"""

import io
import pickle
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from enum import Enum
from traceback import format_exception
from typing import Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from mlma.adapters.executors.ledger import Outcome
from mlma.domain.errors import ExecutorError

LARGE_BYTES = 2**20
"""An array of this size travels once, whatever it is part of."""

_SMALL = (int, float, complex, str, bytes, bool, type(None), type, Enum, np.generic)

_NOTE = "In the worker:\n"

Name = Callable[[object], Hashable | None]
Load = Callable[[Any], object]


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    def __init__(self, file: io.BytesIO, name: Name) -> None:
        super().__init__(file, protocol=5)
        self._name = name

    def persistent_id(self, thing: object) -> Hashable | None:
        return self._name(thing)


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, load: Load) -> None:
        super().__init__(file)
        self._load = load

    def persistent_load(self, name: Any) -> object:
        return self._load(name)


def pack(thing: object, name: Name | None = None) -> bytes:
    """Return the bytes of anything, functions of a notebook included.

    Where ``name`` returns something for a part, that name travels in place of the part.
    """
    if name is None:
        return bytes(cloudpickle.dumps(thing, protocol=5))
    file = io.BytesIO()
    _Packer(file, name).dump(thing)
    return file.getvalue()


def unpack(data: bytes, load: Load | None = None) -> Any:
    """Return what was packed; ``load`` returns the part that a name stands for.

    >>> shared = [1, 2]
    >>> data = pack((shared, 3), lambda part: "list" if part is shared else None)
    >>> unpack(data, {"list": shared}.get)
    ([1, 2], 3)
    """
    return pickle.loads(data) if load is None else _Unpacker(io.BytesIO(data), load).load()


def pack_apart(thing: object) -> tuple[bytes, list[NDArray[np.uint8]]]:
    """Return the bytes of anything without those of its arrays, and these, not copied.

    >>> unpack_apart(pack_apart({"y": np.arange(3.0)}))["y"].sum()
    np.float64(3.0)
    """
    buffers: list[pickle.PickleBuffer] = []
    data = cloudpickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
    return data, [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]


def unpack_apart(parcel: tuple[bytes, list[NDArray[np.uint8]]]) -> Any:
    """Return what was packed; its arrays are views of those that were handed in."""
    return pickle.loads(parcel[0], buffers=parcel[1])


def pack_function(function: Callable[..., Any], name: Name | None = None) -> bytes:
    """Return the bytes of a function, with the folders in which its module may be found."""
    return pack((list(sys.path), pack(function, name)))


def unpack_function(data: bytes, load: Load | None = None) -> Callable[..., Any]:
    """Return the function; folders that this process did not know are searched last."""
    folders, packed = unpack(data)
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    function: Callable[..., Any] = unpack(packed, load)
    return function


def is_large_array(part: object) -> bool:
    """Return whether a part is an array that is worth a way of its own."""
    return type(part) is np.ndarray and part.nbytes >= LARGE_BYTES and not part.dtype.hasobject


def pack_outcome(outcome: Outcome) -> bytes:
    """Return the bytes of an outcome; what cannot travel becomes an error that says so.

    The traceback of an error travels as a note.
    """
    if outcome.raised is not None:
        outcome = Outcome(outcome.answers, outcome.seconds, _travelling(outcome.raised))
    try:
        return pack(outcome)
    except Exception:
        return pack(_travelled_so_far(outcome))


def _travelling(error: BaseException) -> BaseException:
    told = "".join(format_exception(error)).rstrip()
    if not any(note.startswith(_NOTE) for note in getattr(error, "__notes__", ())):
        error.add_note(f"{_NOTE}{told}")
    try:
        unpack(pack(error))
    except Exception:
        return ExecutorError(
            f"A task raised `{type(error).__name__}: {error}`, which cannot be pickled. Expected "
            f"an error that can travel between processes. Hint: its traceback was\n{told}"
        )
    return error


def _travelled_so_far(outcome: Outcome) -> Outcome:
    for place, answer in enumerate(outcome.answers):
        try:
            pack(answer)
        except Exception as error:
            told = ExecutorError(
                f"The answer of a task, a `{type(answer).__name__}`, cannot be pickled: {error}. "
                f"Expected something that can travel between processes. Hint: return plain data."
            )
            return Outcome(outcome.answers[:place], outcome.seconds, told)
    return outcome


class Shared:
    """The arguments that several tasks share, by identity, as long as a task needs them.

    >>> series = [1.0, 2.0]
    >>> tasks = [(series, 1), (series, 2), ([3.0], 3)]
    >>> shared = Shared(tasks)
    >>> shared.uses(series), shared.uses([3.0])
    (2, 0)
    >>> shared.answered(tasks[0]), shared.answered(tasks[1]) == [id(series)]
    ([], True)
    """

    def __init__(self, tasks: Sequence[tuple[Any, ...]]) -> None:
        self._tasks = tasks  # keeps every argument alive, and so its id its own
        counts = Counter(key for task in tasks for key in _keys(task))
        self._uses = {key: count for key, count in counts.items() if count > 1}

    def uses(self, part: object) -> int:
        """Return how many unanswered tasks share this very object; 0 = it is not shared."""
        return self._uses.get(id(part), 0)

    def answered(self, task: tuple[Any, ...]) -> list[int]:
        """Count a task as answered; return the ids of arguments that no other one needs."""
        gone = []
        for key in _keys(task):
            if key in self._uses:
                self._uses[key] -= 1
                if not self._uses[key]:
                    gone.append(key)
                    del self._uses[key]
        return gone


def _keys(task: tuple[Any, ...]) -> set[int]:
    return {id(part) for part in task if not isinstance(part, _SMALL)}
