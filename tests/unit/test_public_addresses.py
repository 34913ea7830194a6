"""Which IP addresses a job's request may go to."""

from ipaddress import ip_network

import pytest

from worker.handlers.http.public_addresses import address_of, is_public, may_be_reached


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "203.150.1.1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_public_address_may_be_reached(text: str) -> None:
    address = address_of(text)
    assert address is not None
    assert is_public(address)
    assert may_be_reached(address, [])


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "::ffff:0:127.0.0.1",
        "::ffff:0:8.8.8.8",
        "100:0:0:1::1",
        "200::1",
        "4000::1",
        "fdff::1",
        "2001:470:1f0b::5efe:127.0.0.1",
        "2a00::200:5efe:10.0.0.1",
        "3fff::1",
        "3fff:fff:ffff::1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:1::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
    ],
)
def test_other_address_may_not_be_reached(text: str) -> None:
    address = address_of(text)
    assert address is not None
    assert not is_public(address)
    assert not may_be_reached(address, [])


@pytest.mark.parametrize("text", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_named_network_allows_only_its_addresses(text: str) -> None:
    address, other = address_of(text), address_of("10.0.0.1")
    assert address is not None
    assert other is not None
    assert may_be_reached(address, [ip_network("127.0.0.0/8")])
    assert not may_be_reached(other, [ip_network("127.0.0.0/8")])


@pytest.mark.parametrize("text", ["127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "a.example", ""])
def test_unusual_text_is_not_an_address(text: str) -> None:
    assert address_of(text) is None
