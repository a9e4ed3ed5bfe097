"""Bodies that were pushed: JSON, NDJSON, CSV, Arrow and Parquet become checked rows."""

from mlma.adapters.bodies.encodings import opened
from mlma.adapters.bodies.errors import BodyError, MediaTypeError, TooLargeError
from mlma.adapters.bodies.limits import BodyLimits
from mlma.adapters.bodies.reading import MEDIA_TYPES, read_body

__all__ = [
    "MEDIA_TYPES",
    "BodyError",
    "BodyLimits",
    "MediaTypeError",
    "TooLargeError",
    "opened",
    "read_body",
]
