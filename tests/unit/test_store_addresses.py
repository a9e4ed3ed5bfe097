"""Addresses of stores: what is taken, what is shown, what is refused."""

from pathlib import Path

import pytest

from mlma.adapters.store import open_store, shown_url
from mlma.adapters.store.addresses import address_of
from mlma.domain.errors import StoreError

SHOWN = {
    "memory://": "memory://",
    "sqlite://": "memory://",
    "sqlite:///mlma.db": "sqlite:///mlma.db",
    "sqlite:////var/lib/mlma.db": "sqlite:////var/lib/mlma.db",
    "postgresql://ann:word@db.example:5433/mlma": "postgresql://ann:***@db.example:5433/mlma",
    "postgres://ann@db.example/mlma": "postgresql://ann@db.example/mlma",
    "postgresql+psycopg://ann:word@db.example/mlma": "postgresql://ann:***@db.example/mlma",
    "postgresql://ann@db/mlma?password=word": "postgresql://ann:***@db/mlma",
    "postgresql://db/mlma?sslmode=require": "postgresql://db/mlma?sslmode=require",
}


@pytest.mark.parametrize("url", SHOWN)
def test_an_address_is_shown_without_its_password(url):
    assert shown_url(url) == SHOWN[url]
    assert "word" not in repr(address_of(url).url)


def test_only_a_file_has_a_path():
    assert address_of("sqlite:////var/lib/mlma.db").path == Path("/var/lib/mlma.db")
    assert address_of("memory://").path is None


def test_every_server_is_reached_through_one_driver():
    assert address_of("postgres://db/mlma").url.drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mlma.db", "cannot be read. Expected sqlite:///file.db"),
        ("", "cannot be read"),
        ("postgresql://ann:s3cret@host:port/mlma", "cannot be read"),
        ("mysql://ann:s3cret@db/mlma", "cannot be at mysql://"),
        ("sqlite://mlma.db", "names no file. Hint: three slashes"),
        ("sqlite:///no/such/folder/mlma.db", "there is no folder no/such/folder"),
    ],
)
def test_a_wrong_address_is_refused_without_its_password(url, words):
    with pytest.raises(StoreError, match=words) as told:
        open_store(url)
    assert "s3cret" not in str(told.value)
