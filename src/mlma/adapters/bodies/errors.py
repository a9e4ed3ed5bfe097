"""Why a body is refused.

::

    DataError
    └── BodyError             what it holds is not what was asked for (HTTP 400)
        ├── MediaTypeError    its format or encoding is not known here (HTTP 415)
        └── TooLargeError     it is larger than the limits allow (HTTP 413)
"""

from mlma.adapters.frames.faults import BodyError

__all__ = ["BodyError", "MediaTypeError", "TooLargeError"]


class MediaTypeError(BodyError):
    """The format or the encoding of a body is not known here."""


class TooLargeError(BodyError):
    """A body is larger than the limits allow, or says that it will be when it is unpacked."""
