"""Decides which IP addresses a job's request may go to. Pure: resolves nothing and opens no socket.

Only addresses of the public Internet are allowed, unless the settings name a network. Excluded are private and shared
networks, this machine, link-local addresses (where clouds keep their metadata), and addresses that embed one of these.
"""

import ipaddress
from collections.abc import Iterable, Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that has been assigned of IPv6; private overlay networks use parts of the rest."""
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        # Python's own tables differ between versions; these are excluded in all of them.
        (
            "0.0.0.0/8",
            "100.64.0.0/10",
            "168.63.129.16/32",  # a cloud's agent, in the middle of the public space
            "192.0.0.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "224.0.0.0/3",
            "2001::/23",
            "2001:db8::/32",
            "3fff::/20",
        ),
    )
)


def address_of(text: str) -> Address | None:
    """Return the address without its zone; None for text that is not an address in its usual form."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Return whether the address, and every address embedded in it, belongs to the public Internet."""
    return all(_is_public(one) for one in _embedded(address))


def may_be_reached(address: Address, networks: Iterable[Network]) -> bool:
    """Return whether the address is public or belongs to one of these networks."""
    real = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return is_public(address) or any((real or address) in network for network in networks)


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


def _embedded(address: Address) -> Iterator[Address]:
    """Yield the address, or the IPv4 address it leads to: mapped, by NAT64, by 6to4, by ISATAP."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    else:
        yield address
        if address.sixtofour is not None:
            yield address.sixtofour
        if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
            yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
