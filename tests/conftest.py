from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real streams that stands beside the checkout."""
    if not _SHARED.is_dir():
        pytest.skip(f"the folder of real streams, {_SHARED}, is not beside this checkout")
    return _SHARED
