"""Where a request comes from: the peer behind the proxies we trust, the page behind the browser. Knows no key."""

import ipaddress
import re
from collections.abc import Collection, Sequence

from aiohttp import web

from config.checks import is_loopback

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FORWARDED = ("forwarded", "x-forwarded-", "x-real-ip", "via")


def is_trusted(address: str, proxies: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in proxies)


def client_address(request: web.Request, proxies: Sequence[Network]) -> str:
    """The peer's address: the last one in X-Forwarded-For that is no proxy of ours."""
    address = request.remote or ""
    if not is_trusted(address, proxies):
        return address
    for hop in reversed(",".join(request.headers.getall("X-Forwarded-For", [])).split(",")):
        if hop.strip():
            address = hop.strip()
            if not is_trusted(address, proxies):
                break
    return address


def neighbourhood(address: str) -> str:
    """What one attacker has for sure: his IPv4 address, or the /64 that his IPv6 addresses come from."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def own_origin(request: web.Request, proxies: Sequence[Network]) -> str:
    """The origin of our own pages as this browser sees them."""
    scheme, host = request.scheme, host_of(request)
    if is_trusted(request.remote or "", proxies):
        scheme = request.headers.get("X-Forwarded-Proto", scheme).split(",")[0].strip()
        host = request.headers.get("X-Forwarded-Host", host).split(",")[0].strip()
    return f"{scheme}://{host}".lower()


def is_from_own_page(request: web.Request, proxies: Sequence[Network]) -> bool:
    """Whether a browser vouches that a page of ours sent this. Who says nothing is no browser, or hides something."""
    site, origins = request.headers.getall("Sec-Fetch-Site", []), request.headers.getall("Origin", [])
    if origins and (len(origins) > 1 or origins[0].lower() != own_origin(request, proxies)):
        return False
    return site == ["same-origin"] or (not site and bool(origins))


def is_from_this_machine(request: web.Request, allowed_hosts: Collection[str]) -> bool:
    """Straight from here: no proxy in between, no name that only leads here, no page of another origin behind it."""
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
    """What the request says; for one that says nothing aiohttp has the socket's own address, and that is trusted."""
    return request.headers.get("Host", "")


def host_name(request: web.Request) -> str:
    """The name the request is addressed to, without its port."""
    host = re.sub(r":\d*$", "", host_of(request)).lower()
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host
