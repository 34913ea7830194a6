"""The client's address behind trusted proxies, in every spelling that proxies use."""

from ipaddress import ip_network
from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import Request
from multidict import CIMultiDict

from worker.core.clock import Clock
from worker.hub.connection_limits import ConnectionLimiter, ConnectionLimits
from worker.net.client_address import address_group, client_address, is_trusted

PROXIES = [ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def a_request(*forwarded: str, remote: str = "127.0.0.1") -> Request:
    """A request from `remote` with one X-Forwarded-For line for each of `forwarded`."""
    transport = Mock()
    transport.get_extra_info.side_effect = lambda name, default=None: (remote, 50000) if name == "peername" else default
    headers = CIMultiDict(("X-Forwarded-For", line) for line in forwarded)
    return make_mocked_request("GET", "/ws", headers=headers, transport=transport)


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9, 10.1.2.3, 127.0.0.2"], "203.0.113.9"),
        (["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9", "10.1.2.3"], "203.0.113.9"),
        ([" 203.0.113.9 ,, "], "203.0.113.9"),
        (["203.0.113.9:51234"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9:51234, 10.1.2.3:80"], "203.0.113.9"),
        (["[2001:db8::9]"], "2001:db8::9"),
        (["[2001:db8::9]:51234"], "2001:db8::9"),
        (["[2001:db8::9]:51234, [fd00::1]:80"], "2001:db8::9"),
        (['"[2001:db8::9]:51234"'], "2001:db8::9"),
        (["2001:DB8:0:0::9"], "2001:db8::9"),
        (["fe80::9%eth0"], "fe80::9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, ::ffff:10.1.2.3"], "203.0.113.9"),
        (["10.1.2.3, 10.4.5.6"], "10.1.2.3"),
        ([], "127.0.0.1"),
        ([""], "127.0.0.1"),
    ],
)
def test_client_address_behind_a_trusted_proxy_is_the_nearest_untrusted_hop(lines, client):
    assert client_address(a_request(*lines), PROXIES) == client


@pytest.mark.parametrize(
    "hop", ["unknown", "_hidden", "client.example", "1.2.3", "[::1", "999.1.1.1", "1.2.3.4:x", "[]"]
)
def test_client_address_of_a_hop_that_is_not_an_address_is_the_reporting_proxy(hop):
    assert client_address(a_request(f"203.0.113.9, {hop}, 10.1.2.3"), PROXIES) == "10.1.2.3"
    assert client_address(a_request(hop), PROXIES) == "127.0.0.1"


def test_client_address_from_an_untrusted_peer_ignores_forwarded_headers():
    assert client_address(a_request("6.6.6.6", remote="203.0.113.9"), PROXIES) == "203.0.113.9"
    assert client_address(a_request("6.6.6.6"), []) == "127.0.0.1"


def test_client_address_from_a_dual_stack_listener_trusts_the_mapped_proxy():
    assert client_address(a_request("203.0.113.9", remote="::ffff:127.0.0.1"), PROXIES) == "203.0.113.9"


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_address_group_of_ipv6_is_its_64_bit_network(address, group):
    assert address_group(address) == group


def test_address_groups_of_texts_that_are_not_addresses_differ():
    assert address_group("one") != address_group("two")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:80", "::ffff:10.0.0.1", "[fd00::1]:443"])
def test_is_trusted_for_each_spelling_of_a_proxy(address):
    assert is_trusted(address, PROXIES)


def test_is_trusted_for_a_text_that_is_not_an_address_is_false():
    assert not is_trusted("unknown", [ip_network("0.0.0.0/0"), ip_network("::/0")])


def test_hub_limits_count_one_ipv6_network_together():
    limiter = ConnectionLimiter(ConnectionLimits(per_address=2), Clock().monotonic)
    limiter.add("2001:db8::1")
    limiter.add("2001:db8::2")
    rejection = limiter.check(a_request(), "2001:db8::3")
    assert rejection is not None
    assert rejection.status == 429
    assert limiter.check(a_request(), "2001:db8:0:1::1") is None
    limiter.remove("2001:db8::1")
    assert limiter.check(a_request(), "2001:db8::3") is None


def test_hub_limits_do_not_count_clients_of_two_proxies_together():
    limiter = ConnectionLimiter(ConnectionLimits(), Clock().monotonic, proxies=PROXIES)
    first = limiter.address(a_request("unknown", remote="10.0.0.1"))
    second = limiter.address(a_request("unknown", remote="10.0.0.2"))
    assert (first, second) == ("10.0.0.1", "10.0.0.2")
