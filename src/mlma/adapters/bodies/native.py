"""What polars reads itself: its errors and panics become ours, and columns are flat."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import polars as pl

from mlma.adapters.bodies.errors import BodyError
from mlma.adapters.frames.faults import shown

OF_POLARS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
_ANY = (
    *OF_POLARS,
    OSError,
    ValueError,
    TypeError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)


@contextmanager
def reading(form: str, errors: tuple[type[BaseException], ...] = _ANY) -> Iterator[None]:
    """Turn what polars raises about bytes that it cannot read into a ``BodyError``.

    ``errors`` are those that are about the bytes: `OF_POLARS` when they have been read already.
    """
    try:
        yield
    except errors as error:
        said = " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__
        raise BodyError(
            f"The body cannot be read as {form}. Got: {said[:200].rstrip('.')}.",
            hint="the file may be damaged, not written to its end, or of another format",
        ) from None


def flat(schema: Mapping[str, pl.DataType]) -> None:
    """Raise where a column holds lists or structs."""
    for name, dtype in schema.items():
        if dtype.is_nested() or dtype.is_object():
            raise BodyError(
                f"`{name[:80]}` must hold one plain value a row. Got {str(dtype)[:80]}.",
                column=name[:80],
                hint="write ids as text, times as timestamps and values as floats",
            )


def refuse_twice(names: Sequence[str]) -> None:
    """Raise where two columns have the same name."""
    name, count = max(Counter(names).items(), key=lambda pair: pair[1], default=("", 0))
    if count > 1:
        raise BodyError(
            f"The columns must have different names. Got {shown(name)} {count} times.",
            column=name[:80],
            hint="rename one of them",
        )
