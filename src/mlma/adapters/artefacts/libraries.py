"""Which libraries made an artefact, and whether those installed here may read it.

Takes the roots of what was encoded, gives names and versions for the record; later takes the record
and refuses, warns or stays silent.
"""

import platform
import sys
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from mlma.domain.errors import ArtefactError, MissingExtraError
from mlma.domain.versions import VersionRecord

_ALWAYS = {"mlma": "mlma", "numpy": "numpy", "sklearn": "scikit-learn"}
_EXTRAS = ("lightgbm", "xgboost")
_STABLE = ("numpy", "scipy")  # their arrays mean the same in every minor version


@lru_cache
def versions_of(roots: frozenset[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the versions of all libraries involved, and which of them must fit to read it.

    ``roots`` are top-level modules of what other libraries made; mlma itself always must fit.

    >>> versions_of(frozenset({"sklearn"}))[1]
    ('mlma', 'scikit-learn')
    """
    known = {_ALWAYS.get(root, root): _version(root) for root in {*_ALWAYS, *roots}}
    libraries = {name: found for name, found in sorted(known.items()) if found}
    needed = {_ALWAYS.get(root, root) for root in {"mlma", *roots}}
    return libraries, tuple(name for name in libraries if name in needed)


def python_version() -> str:
    """Return the version of Python that runs here."""
    return platform.python_version()


def check(record: VersionRecord) -> list[str]:
    """Return warnings in words where a library has another minor version than the record says.

    Raises
    ------
    ArtefactError
        A library has another major version; both are named.
    MissingExtraError
        A library is not installed.
    """
    told = []
    for name in record.needs:
        then = record.libraries.get(name, "unknown")
        here = _version(_module(name))
        if here is None:
            raise _missing(record, name)
        if _parts(then)[:1] != _parts(here)[:1]:
            raise ArtefactError(
                f"Version {record.version} of model `{record.forecaster}` was saved with {name} "
                f"{then}. Expected the same major version. Got {here}. Hint: load it where {name} "
                f"{_parts(then)[0]} is installed, or train anew; the store was left as it is."
            )
        if name not in _STABLE and _parts(then)[:2] != _parts(here)[:2]:
            told.append(_other(name, then, here))
    python = python_version()
    if record.format == "pickle" and _parts(record.python)[:2] != _parts(python)[:2]:
        told.append(_other("Python", record.python, python))
    return told


def _other(name: str, then: str, here: str) -> str:
    return f"Versions saved with {name} {then} are read with {here}: forecasts may differ."


def _parts(text: str) -> list[str]:
    return text.split(".")


def _module(name: str) -> str:
    return next((root for root, known in _ALWAYS.items() if known == name), name)


def _missing(record: VersionRecord, name: str) -> Exception:
    what = f"Version {record.version} of model `{record.forecaster}`"
    if name in _EXTRAS:
        return MissingExtraError(what, name)
    return ArtefactError(
        f"{what} was saved with {name} {record.libraries.get(name)}. It is not installed here."
    )


@lru_cache
def _version(root: str) -> str | None:
    """Return the version of a library; None = it is not installed, or has none.

    Only the two boosters are imported, which may come from a package of another name.
    """
    if not root or root in sys.stdlib_module_names:
        return None
    try:
        if root in _EXTRAS:
            return str(import_module(root).__version__)
        return version(_ALWAYS.get(root, root))
    except (ImportError, PackageNotFoundError):
        return None
