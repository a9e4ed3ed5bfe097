"""Addresses that a message may go to: which ones a host has, and which of them are not public.

Takes host and port, gives addresses that were looked at. Next is the connection to just these: a
name that answers otherwise a moment later changes nothing.
"""

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from mlma.domain.errors import MlmaError

Resolve = Callable[[str, int], Sequence[str]]

# The host agent of a large cloud answers at a public address.
_METADATA = frozenset({IPv4Address("168.63.129.16")})
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = frozenset({0x5EFE, 0x0200_5EFE})  # bits 64 to 95 of an address that holds one of IPv4
# All that is routed in public; `is_global` of older Pythons also holds of ranges beyond it, such as
# the site-local fec0::/10 and ::ffff:0:0:0/96, which a translator turns into IPv4.
_ROUTED = IPv6Network("2000::/3")
# Likewise: for protocols, where a large cloud has its host agent, relays, and documentation.
_SPECIAL = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001::/23"),
    IPv6Network("3fff::/20"),
)


class ForbiddenAddressError(MlmaError):
    """A host has an address that is not public."""


def resolved(host: str, port: int) -> list[str]:
    """Return the addresses of a host, each once, in the order of the system's resolver.

    Raises
    ------
    OSError
        It has none, or cannot be looked up.

    >>> resolved("2130706433", 80)
    ['127.0.0.1']
    """
    return _looked_up(host, port, 0)


def numeric(host: str, port: int) -> list[str]:
    """Return the address of a host that is written as a number; empty = it is a name."""
    try:
        return _looked_up(host, port, socket.AI_NUMERICHOST)
    except OSError:
        return []


def check_public(host: str, addresses: Sequence[str]) -> None:
    """Check that every address of a host is public.

    Raises
    ------
    ForbiddenAddressError
        One is loopback, private, link-local or another that is not public.
    """
    for address in addresses:
        if not is_public(address):
            raise ForbiddenAddressError(
                f"{host} is at {address}, which is not a public address. "
                f"Hint: `allow_private=True`, if it is meant to be inside your network."
            )


def is_public(address: str) -> bool:
    """Return whether an address is on the public network, also where it wraps another one.

    >>> [is_public(one) for one in ("93.184.216.34", "10.0.0.1", "::1", "::ffff:169.254.169.254")]
    [True, False, False, False]
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    every = [found, *_wrapped(found)]
    return all(map(_is_public, every))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _ROUTED:
        return address in _NAT64 or address.ipv4_mapped is not None  # what they wrap is looked at
    special = address in _METADATA or any(address in network for network in _SPECIAL)
    return address.is_global and not address.is_multicast and not special


def _wrapped(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    last = int(address) & 0xFFFFFFFFFFFFFFFF
    if address in _NAT64 or int(address) >> 32 == 0 or last >> 32 in _ISATAP:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def _looked_up(host: str, port: int, flags: int) -> list[str]:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:
        raise OSError("not a name of a host") from error
    return list(dict.fromkeys(str(row[4][0]) for row in rows))
