"""Which IP addresses a job's request may go to. Pure; knows no name server and no socket.

Everything that is not plainly the public Internet is refused unless a network is named: private and shared
networks, this machine, link-local ones (where clouds keep their metadata), and addresses that hide another.
"""

import ipaddress
from collections.abc import Iterable, Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        # Python's own tables differ between versions; these are refused by all of them.
        (
            "0.0.0.0/8",
            "100.64.0.0/10",
            "168.63.129.16/32",  # a cloud's agent, in the middle of the public space
            "192.0.0.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "224.0.0.0/3",
            "::/96",
            "64:ff9b:1::/48",
            "100::/64",
            "2001::/23",
            "2001:db8::/32",
            "5f00::/16",
            "fec0::/10",
            "ff00::/8",
        ),
    )
)


def address_of(text: str) -> Address | None:
    """The address a text stands for, without its zone; None: it is no address in its plain form."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether it, and every address that hides in it, is one of the public Internet."""
    return all(_is_public(one) for one in _faces(address))


def may_be_reached(address: Address, networks: Iterable[Network]) -> bool:
    """Public, or in one of these networks: then that is where the connection really ends."""
    real = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return is_public(address) or any((real or address) in network for network in networks)


def _is_public(address: Address) -> bool:
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


def _faces(address: Address) -> Iterator[Address]:
    """The address, or the IPv4 address it leads to: mapped, by NAT64, by 6to4."""
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
