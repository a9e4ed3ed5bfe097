"""One thread for the numerical libraries: many small fits run side by side, not each in parallel.

Spinning threads of linear algebra and OpenMP slow small fits on shared cores many times over.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

_state = threading.local()


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS and OpenMP to one thread inside the block.

    Entering costs a few milliseconds, because the loaded libraries are searched: enter once around
    many fits. An inner block inside an outer one costs nothing.
    """
    if getattr(_state, "limited", False):
        yield
        return
    _state.limited = True
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        _state.limited = False
