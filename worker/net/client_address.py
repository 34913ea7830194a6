"""Decide where a request comes from: the client behind the trusted proxies, and the page behind the browser.

The HTTP API and the hub both use `client_address`, so that caps, guess limits, logs and the audit trail agree.
"""

import ipaddress
import re
from collections.abc import Collection, Iterable, Sequence

from aiohttp import web

from config.cross_checks import is_loopback

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FORWARDED = ("forwarded", "x-forwarded-", "x-real-ip", "via")
_WITH_PORT = re.compile(r"(?P<v4>[0-9.]+):[0-9]*|\[(?P<bracketed>[^\[\]]*)\](?::[0-9]*)?")
_IPV6_GROUP_BITS = 64
"""One customer usually has a whole /64, so a single IPv6 address identifies no one."""


def networks_of(proxies: Iterable[str]) -> list[Network]:
    """Return the networks of Http:TrustedProxies; a plain address is a network of one."""
    return [ipaddress.ip_network(proxy, strict=False) for proxy in proxies]


def client_address(request: web.Request, proxies: Sequence[Network]) -> str:
    """Return the client's IP address in its canonical form, as text.

    The hops of all `X-Forwarded-For` lines are read from right to left, as long as the hop before is a trusted proxy.
    A hop that is not an IP address ends the search at the proxy that reported it: this proxy's clients cannot be told
    apart, and must not be counted with the clients of any other proxy. Empty for a UNIX socket.
    """
    address = _parsed(request.remote or "")
    if address is None:
        return request.remote or ""
    for hop in _hops_from_the_right(request):
        if not _is_in(address, proxies):
            break
        forwarded = _parsed(hop)
        if forwarded is None:
            break
        address = forwarded
    return str(address)


def is_trusted(address: str, proxies: Sequence[Network]) -> bool:
    """Return whether the address is one of the trusted proxies."""
    parsed = _parsed(address)
    return parsed is not None and _is_in(parsed, proxies)


def address_group(address: str) -> str:
    """Return the name under which limits count this address: the IPv4 address itself, or the /64 of an IPv6 address.

    A text that is not an IP address is a group of its own.
    """
    parsed = _parsed(address)
    if parsed is None:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(ipaddress.ip_network((parsed, _IPV6_GROUP_BITS), strict=False))


def own_origin(request: web.Request, proxies: Sequence[Network]) -> str:
    """Return the origin of the service's own pages as this browser sees it, in lower case."""
    scheme, host = request.scheme, host_of(request)
    if is_trusted(request.remote or "", proxies):
        scheme = request.headers.get("X-Forwarded-Proto", scheme).split(",")[0].strip()
        host = request.headers.get("X-Forwarded-Host", host).split(",")[0].strip()
    return f"{scheme}://{host}".lower()


def is_from_own_page(request: web.Request, proxies: Sequence[Network]) -> bool:
    """Return whether the browser confirms that one of the service's own pages sent the request.

    A request without `Sec-Fetch-Site` and `Origin` does not come from a current browser, and counts as foreign.
    """
    site, origins = request.headers.getall("Sec-Fetch-Site", []), request.headers.getall("Origin", [])
    if origins and (len(origins) > 1 or origins[0].lower() != own_origin(request, proxies)):
        return False
    return site == ["same-origin"] or (not site and bool(origins))


def is_from_this_machine(request: web.Request, allowed_hosts: Collection[str]) -> bool:
    """Return whether the request comes directly from this machine.

    False behind any proxy, for a host name that merely resolves to loopback, and for a page of another origin.
    """
    if any(name.lower().startswith(_FORWARDED) for name in request.headers):
        return False
    host = host_name(request)
    if not (is_loopback(host) or host in allowed_hosts):
        return False
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{host_of(request)}":
        return False
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return False
    return is_loopback(request.remote or "")


def host_of(request: web.Request) -> str:
    """Return the Host header; empty without one.

    aiohttp's `request.host` falls back to the address of the socket, which other checks would trust.
    """
    return request.headers.get("Host", "")


def host_name(request: web.Request) -> str:
    """Return the host name of the Host header in lower case, without its port."""
    host = re.sub(r":\d*$", "", host_of(request)).lower()
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def check_allowed_host(request: web.Request, allowed_hosts: Collection[str]) -> None:
    """Raise HTTPMisdirectedRequest if Http:AllowedHosts, unless it is empty, does not name the request's host."""
    host = host_name(request)
    if allowed_hosts and host not in allowed_hosts and not is_loopback(host):
        raise web.HTTPMisdirectedRequest(text="Http:AllowedHosts does not name the host of this request")


def _hops_from_the_right(request: web.Request) -> list[str]:
    """Return the hops of all X-Forwarded-For lines, the nearest to this server first; empty ones are left out."""
    lines = ",".join(request.headers.getall("X-Forwarded-For", []))
    return [hop.strip() for hop in reversed(lines.split(",")) if hop.strip()]


def _parsed(text: str) -> Address | None:
    """Return the IP address of `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80`, each also in quotes; else None.

    An IPv4-mapped IPv6 address becomes the IPv4 address, and a zone such as `%eth0` is dropped.
    """
    text = text.strip().strip('"')
    match = _WITH_PORT.fullmatch(text)
    if match is not None:
        text = match["v4"] or match["bracketed"] or ""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
