"""What a receiver checks: the signature of a message and its time."""

import hashlib
import hmac

import pytest

from mlma import SettingsError
from mlma.adapters.notify.signature import signature, verify_signature

BODY, NOW = b'{"id":"1"}', 1_704_110_400


def test_the_signature_is_the_documented_one():
    code = hmac.new(b"secret", b'1704110400.{"id":"1"}', hashlib.sha256).hexdigest()
    assert signature(BODY, "secret", NOW) == f"t=1704110400,v1={code}"
    assert signature(BODY, b"secret", NOW) == signature(BODY, "secret", NOW)


@pytest.mark.parametrize(("later", "holds"), [(0, True), (300, True), (-300, True), (301, False)])
def test_an_old_message_cannot_be_played_back(later, holds):
    header = signature(BODY, "secret", NOW)
    assert verify_signature(BODY, header, "secret", now=NOW + later) is holds
    assert verify_signature(BODY, header, "secret", 1000, now=NOW + later)


def test_the_clock_of_the_receiver_is_used():
    assert not verify_signature(BODY, signature(BODY, "secret", NOW), "secret")


def test_one_of_several_signatures_is_enough():
    old, new = signature(BODY, "old", NOW), signature(BODY, "new", NOW)
    both = f"{old}, {new.partition(',')[2]}"
    assert verify_signature(BODY, both, "new", now=NOW)
    assert verify_signature(BODY, both, "old", now=NOW)
    assert not verify_signature(BODY, both, "third", now=NOW)


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "t", "t=", "v1=", "=", ",,,", 7, "t=1704110400", "t=1704110400,v1="),
        *("t=1704110400,v1=ä", "t=1704110400,v1=\x00", "t=-1704110400,v1=ab", "t=1e9,v1=ab"),
        *("t=" + "9" * 5000 + ",v1=ab", "t=٣,v1=ab", "t=1704110400," + "v1=ab," * 900),
    ],
)
def test_a_header_that_is_none_verifies_nothing(header):
    assert not verify_signature(BODY, header, "secret", now=NOW)


@pytest.mark.parametrize("changed", ["t=1704110401", "t=1704110400,t=1704110400", "t=01704110400"])
def test_the_time_is_signed_too(changed):
    header = signature(BODY, "secret", NOW).replace("t=1704110400", changed)
    assert not verify_signature(BODY, header, "secret", now=NOW)


@pytest.mark.parametrize("secret", ["", b"", None, 7])
def test_nothing_is_verified_without_a_secret(secret):
    with pytest.raises(SettingsError, match="secret of a webhook"):
        verify_signature(BODY, signature(BODY, "secret", NOW), secret, now=NOW)
