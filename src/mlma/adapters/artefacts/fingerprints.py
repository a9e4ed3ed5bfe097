"""One hash of what a model was trained on, so that the same data can be recognised later.

Takes a series and a range of batches, gives 64 hexadecimal digits.
"""

from hashlib import sha256

import numpy as np

from mlma.domain.errors import SettingsError
from mlma.domain.streams import Series


def fingerprint(series: Series, first: int, last: int) -> str:
    """Return a hash of what is known of batches ``first`` to ``last - 1``.

    sha256 of values, exogenous values, first slot and length of a slot; the name of the stream does
    not enter. All NaN are one, 0.0 and -0.0 are one. Features may read ``warm_up`` batches before
    the window: take ``first - warm_up`` to cover them as well.

    Raises
    ------
    SettingsError
        The window is empty, or not inside the series.

    >>> from mlma.domain.streams import Grid
    >>> grid = Grid(np.datetime64("2024-01-01"), np.timedelta64(1, "D"), 1, 3)
    >>> series = Series("a", grid, np.arange(3.0).reshape(3, 1), np.empty((3, 1, 0)))
    >>> fingerprint(series, 0, 2)[:16]
    '4a14d1143cfd466a'
    """
    if not 0 <= first < last <= len(series.y):
        raise SettingsError(
            f"`first` and `last` of a fingerprint must bound batches of stream "
            f"`{series.unique_id}`, 0 to {len(series.y)}. Got {first} and {last}."
        )
    grid = series.grid
    start = (grid.start + first * grid.batch).astype("datetime64[us]")
    digest = sha256(f"mlma-data-1 {start} {grid.step.astype('timedelta64[us]')}".encode())
    for values in (series.y[first:last], series.exogenous[first:last]):
        one_zero = np.asarray(values, dtype="<f8") + 0.0
        digest.update(f" {values.shape} ".encode())
        digest.update(np.where(np.isnan(one_zero), np.nan, one_zero).astype("<f8").tobytes())
    return digest.hexdigest()
