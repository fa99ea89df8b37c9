"""Which addresses clients are told to send media to, and for each other one of this machine the reason why not. Pure,
but for what asks the system.

A candidate that nobody reaches costs every client checks and time, and tells strangers of networks that are none of
their business. What is meant all the same is named with ``announce``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from parlour._media import interface_addresses

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST = 16
"""Addresses that are told; a client checks each of its own with each of them."""

CONTAINERS = re.compile(
    r"(docker|br-[0-9a-f]{12}|cni|podman|virbr|lxcbr|lxdbr|lxc|veth|vnet|cali|cilium|flannel|weave|kube-|nodelocaldns)"
)
"""What container engines and virtual machines call the ends of networks of their own."""

_TEMPORARY, _DADFAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x08, 0x20, 0x40  # linux/if_addr.h


class AnnounceError(Exception):
    """What is to be announced is not there; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One address of an interface that is up. ``flags`` are those of if_addr.h, of IPv6 only."""

    interface: str
    ip: IPAddress
    running: bool = True
    """Whether the interface has a carrier."""
    is_inner: bool = False
    """Whether the interface is a bridge over which this machine does not reach the world."""
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Announced:
    """What clients are told, and the reason for each address that they are not."""

    addresses: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def reasons(self) -> str:
        """The ones left out, for a person: ``172.17.0.1 on docker0 (a network of containers), …``; empty: none."""
        return ", ".join(f"{address} ({reason})" for address, reason in self.left_out)


def announced(bind: str, announce: Sequence[str] = (), machine: Iterable[InterfaceAddress] | None = None) -> Announced:
    """What clients are told where media is bound to ``bind``: what ``announce`` names (addresses, and interfaces for
    theirs), else ``bind``, else of all addresses of the machine those that are worth it. Raises AnnounceError, and
    ValueError for what is no address to bind to.
    """
    try:
        address = ipaddress.ip_address(bind)
    except ValueError:
        raise ValueError(f"media must be bound to an IP address, not to {bind!r}") from None
    if announce:
        return _named(address, announce, machine)
    if not address.is_unspecified:
        return Announced((str(_plain(address)),))
    usable: list[IPAddress] = []
    left_out: list[tuple[InterfaceAddress, str]] = []
    for one in this_machine() if machine is None else machine:
        if address.version == 4 and one.ip.version == 6:
            left_out.append((one, "media is bound to IPv4"))
        elif one.ip in usable:
            continue
        elif (reason := _unfit(one)) is not None:
            left_out.append((one, reason))
        elif len(usable) == MOST:
            left_out.append((one, f"{MOST} others come first"))
        else:
            usable.append(one.ip)
    if not usable:
        # Better one that few reach than none: what is the least unlikely of those that are there.
        family = [one for one, _ in left_out if address.version == 6 or one.ip.version == 4]
        for kind in (_is_only_unstable, _is_link_local_ipv4, _is_inner, _is_loopback):
            usable = list(dict.fromkeys(one.ip for one in family if kind(one)))[:MOST]
            if usable:
                break
    told = tuple((_shown(one), reason) for one, reason in left_out if one.ip not in usable)
    return Announced(tuple(map(str, usable)), told)


def _named(bind: IPAddress, announce: Sequence[str], machine: Iterable[InterfaceAddress] | None) -> Announced:
    there: list[InterfaceAddress] | None = None
    found: list[str] = []
    left_out: list[tuple[str, str]] = []
    for name in announce:
        try:
            found.append(str(_plain(ipaddress.ip_address(name))))
            continue
        except ValueError:
            pass
        if there is None:
            there = list(this_machine() if machine is None else machine)
        of_it = [one for one in there if one.interface == name]
        if not of_it:
            names = ", ".join(dict.fromkeys(one.interface for one in there)) or "none"
            raise AnnounceError(
                f"announce names {name}, which is no IP address, and no interface of this machine that is up and has an"
                f" address ({names})."
            )
        fitting = [one for one in of_it if bind.version == 6 or one.ip.version == 4]
        stable = [one for one in fitting if _unstable(one) is None and not one.ip.is_link_local]
        # Whoever names an interface means it, whatever it is; link-local IPv6 addresses lead nowhere without a zone.
        chosen = stable or [one for one in fitting if not (one.ip.version == 6 and one.ip.is_link_local)]
        if not chosen:
            raise AnnounceError(
                f"announce names {name}, which has no address that clients can be told:"
                f" {', '.join(_shown(one) for one in of_it)}."
            )
        found += [str(one.ip) for one in chosen]
        for one in of_it:
            if one not in chosen:
                reason = _unstable(one) or ("link-local" if one.ip.is_link_local else "media is bound to IPv4")
                left_out.append((_shown(one), reason))
    return Announced(tuple(dict.fromkeys(found)), tuple(left_out))


def _plain(address: IPAddress) -> IPAddress:
    """An IPv4 address that is written as an IPv6 one is told as what it is."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _shown(one: InterfaceAddress) -> str:
    return f"{one.ip} on {one.interface}"


def _unfit(one: InterfaceAddress) -> str | None:
    """Why an address is not worth telling."""
    if one.ip.is_loopback or one.interface == "lo":
        return "loopback"
    if one.ip.is_link_local:
        return "link-local"
    if one.ip.is_multicast or one.ip.is_unspecified:
        return "nobody's address"
    if _is_inner(one):
        return "a network of containers or virtual machines"
    if not one.running:
        return "no carrier"
    return _unstable(one)


def _unstable(one: InterfaceAddress) -> str | None:
    if one.flags & _DADFAILED:
        return "another machine has it"
    if one.flags & _TENTATIVE:
        return "not assured yet"
    if one.flags & _DEPRECATED:
        return "deprecated"
    if one.flags & _TEMPORARY:
        return "temporary"
    return None


def _is_only_unstable(one: InterfaceAddress) -> bool:
    outside = not (one.ip.is_loopback or one.ip.is_link_local or _is_inner(one))
    return outside and one.running and _unstable(one) in {"temporary", "deprecated"}


def _is_link_local_ipv4(one: InterfaceAddress) -> bool:
    return one.ip.version == 4 and one.ip.is_link_local and not _is_inner(one)


def _is_inner(one: InterfaceAddress) -> bool:
    return one.is_inner or CONTAINERS.match(one.interface) is not None


def _is_loopback(one: InterfaceAddress) -> bool:
    return one.ip.is_loopback


# --- asking the system ---


def this_machine(root: Path = Path("/")) -> list[InterfaceAddress]:
    """The addresses of all interfaces that are up, in the system's order."""
    flags = _flags(root / "proc/net/if_inet6")
    ways_out = _ways_out(root)
    found = []
    for interface, text, running in interface_addresses():
        ip = ipaddress.ip_address(text)
        is_bridge = (root / "sys/class/net" / interface / "bridge").exists()
        found.append(
            InterfaceAddress(
                interface, ip, running, is_bridge and interface not in ways_out, flags.get((interface, ip), 0)
            )
        )
    return found


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return []  # a system without IPv6, or one that hides it


def _flags(path: Path) -> dict[tuple[str, IPAddress], int]:
    """Of each IPv6 address (proc(5)): the address, index, prefix length, scope, flags, and the interface's name."""
    return {
        (words[5], ipaddress.IPv6Address(int(words[0], 16))): int(words[4], 16)
        for words in _lines(path)
        if len(words) == 6
    }


def _ways_out(root: Path) -> Collection[str]:
    """The interfaces of the default routes."""
    ipv4 = {words[0] for words in _lines(root / "proc/net/route")[1:] if len(words) > 7 and words[1] == words[7]}
    everything = ("0" * 32, "00")
    ipv6 = {
        words[9]
        for words in _lines(root / "proc/net/ipv6_route")
        if len(words) > 9 and (words[0], words[1]) == everything
    }
    return ipv4 | (ipv6 - {"lo"})
