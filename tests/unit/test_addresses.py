"""Which addresses clients are told, and the reason for each that they are not."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from parlour.media.addresses import MOST, AnnounceError, InterfaceAddress, announced, this_machine

TEMPORARY, DADFAILED, DEPRECATED, TENTATIVE = 0x01, 0x08, 0x20, 0x40


def at(interface: str, address: str, **more: object) -> InterfaceAddress:
    return InterfaceAddress(interface, ip_address(address), **more)  # type: ignore[arg-type]


LOOPBACK = [at("lo", "127.0.0.1"), at("lo", "::1")]
SERVER = [
    *LOOPBACK,
    at("eth0", "203.0.113.7"),
    at("eth0", "2001:db8::7"),
    at("eth0", "2001:db8::aaaa", flags=TEMPORARY),
    at("eth0", "2001:db8::bbbb", flags=DEPRECATED),
    at("eth0", "2001:db8::cccc", flags=TENTATIVE),
    at("eth0", "2001:db8::dddd", flags=TENTATIVE | DADFAILED),
    at("eth0", "fe80::1"),
    at("eth1", "169.254.3.4"),
    at("docker0", "172.17.0.1", running=False),
    at("br-0123456789ab", "172.18.0.1"),
    at("virbr0", "192.168.122.1"),
    at("br7", "10.7.0.1", is_inner=True),
    at("eth2", "198.51.100.9", running=False),
]


def test_what_others_reach_is_told_and_each_other_address_has_its_reason() -> None:
    told = announced("::", machine=SERVER)
    assert told.addresses == ("203.0.113.7", "2001:db8::7")
    reasons = dict(told.left_out)
    assert reasons == {
        "127.0.0.1 on lo": "loopback",
        "::1 on lo": "loopback",
        "2001:db8::aaaa on eth0": "temporary",
        "2001:db8::bbbb on eth0": "deprecated",
        "2001:db8::cccc on eth0": "not assured yet",
        "2001:db8::dddd on eth0": "another machine has it",
        "fe80::1 on eth0": "link-local",
        "169.254.3.4 on eth1": "link-local",
        "172.17.0.1 on docker0": "a network of containers or virtual machines",
        "172.18.0.1 on br-0123456789ab": "a network of containers or virtual machines",
        "192.168.122.1 on virbr0": "a network of containers or virtual machines",
        "10.7.0.1 on br7": "a network of containers or virtual machines",
        "198.51.100.9 on eth2": "no carrier",
    }
    assert "\n" not in told.reasons
    assert "fe80::1 on eth0 (link-local), " in told.reasons


def test_a_socket_of_ipv4_is_told_no_address_of_ipv6() -> None:
    told = announced("0.0.0.0", machine=SERVER)
    assert told.addresses == ("203.0.113.7",)
    assert dict(told.left_out)["2001:db8::7 on eth0"] == "media is bound to IPv4"


def test_a_container_tells_the_address_of_its_only_interface_and_a_bridge_to_the_world_is_one_too() -> None:
    # Inside of a container the interface is a veth too, but is not called so; Proxmox has the world behind a bridge.
    told = announced("::", machine=[*LOOPBACK, at("eth0", "172.17.0.2"), at("vmbr0", "192.0.2.4")])
    assert told.addresses == ("172.17.0.2", "192.0.2.4")


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (LOOPBACK, ("127.0.0.1", "::1")),
        ([at("lo", "::1")], ("::1",)),
        ([*LOOPBACK, at("eth0", "fe80::1")], ("127.0.0.1", "::1")),
        ([*LOOPBACK, at("docker0", "172.17.0.1")], ("172.17.0.1",)),
        ([*LOOPBACK, at("docker0", "172.17.0.1"), at("eth0", "169.254.3.4")], ("169.254.3.4",)),
        ([*LOOPBACK, at("eth0", "169.254.3.4"), at("eth0", "2001:db8::a", flags=TEMPORARY)], ("2001:db8::a",)),
        ([], ()),
    ],
)
def test_noise_is_told_where_there_is_nothing_else_the_least_of_it_first(
    there: list[InterfaceAddress], told: tuple[str, ...]
) -> None:
    found = announced("::", machine=there)
    assert found.addresses == told
    assert not {address for address, _ in found.left_out} & {f"{one} on" for one in told}


def test_an_address_of_two_interfaces_is_told_once_and_no_more_than_a_client_can_check() -> None:
    many = [at(f"eth{number}", f"192.0.2.{number}") for number in range(1, MOST + 3)]
    told = announced("0.0.0.0", machine=[many[0], many[0], *many])
    assert told.addresses == tuple(f"192.0.2.{number}" for number in range(1, MOST + 1))
    assert [reason for _, reason in told.left_out] == [f"{MOST} others come first"] * 2


def test_a_bound_address_is_the_one_that_is_told_in_its_own_spelling() -> None:
    assert announced("192.0.2.9", machine=SERVER).addresses == ("192.0.2.9",)
    assert announced("::ffff:192.0.2.9", machine=SERVER).addresses == ("192.0.2.9",)
    assert announced("127.0.0.1", machine=SERVER).addresses == ("127.0.0.1",)


def test_addresses_and_interfaces_are_announced_side_by_side_in_the_order_in_which_they_are_named() -> None:
    told = announced("::", ["198.51.100.1", "eth0", "::ffff:198.51.100.1"], SERVER)
    assert told.addresses == ("198.51.100.1", "203.0.113.7", "2001:db8::7")
    assert dict(told.left_out)["2001:db8::aaaa on eth0"] == "temporary"
    assert announced("0.0.0.0", ["eth0"], SERVER).addresses == ("203.0.113.7",)


def test_an_interface_that_is_named_is_meant_whatever_it_is() -> None:
    assert announced("::", ["docker0", "eth1", "lo"], SERVER).addresses == (
        "172.17.0.1",
        "169.254.3.4",
        "127.0.0.1",
        "::1",
    )
    only_temporary = [at("eth0", "2001:db8::a", flags=TEMPORARY), at("eth0", "fe80::1")]
    assert announced("::", ["eth0"], only_temporary).addresses == ("2001:db8::a",)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("eth9", "no interface of this machine that is up and has an address (lo, eth0, eth1,"),
        ("wlan0", "has no address that clients can be told: fe80::5 on wlan0"),
    ],
)
def test_an_interface_without_an_address_to_tell_stops_the_start_in_a_sentence(named: str, said: str) -> None:
    with pytest.raises(AnnounceError) as raised:
        announced("::", [named], [*SERVER, at("wlan0", "fe80::5")])
    assert said in str(raised.value)
    assert str(raised.value).endswith(".")


def test_the_system_is_read_as_it_is() -> None:
    there = this_machine()
    assert any(one.interface == "lo" and one.ip.is_loopback for one in there)
    told = announced("0.0.0.0")
    assert told.addresses


def test_bridges_and_flags_are_read_from_the_system(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "sys/class/net/lo/bridge").mkdir(parents=True)
    (tmp_path / "proc/net/if_inet6").write_text("00000000000000000000000000000001 01 80 10 a1       lo\n")
    (tmp_path / "proc/net/route").write_text("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n")
    there = [one for one in this_machine(tmp_path) if one.interface == "lo"]
    assert all(one.is_inner for one in there)
    assert {one.flags for one in there if one.ip.version == 6} <= {0xA1}
    (tmp_path / "proc/net/route").write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\nlo\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\n"
    )
    assert not any(one.is_inner for one in this_machine(tmp_path) if one.interface == "lo")
