"""A network namespace that lives as long as the test run, however that ends."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from typing import Self, TypeVar

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 1500
DEADLINE = 10.0
MISSING = (
    "A path of our own needs root, /dev/net/tun and the commands ip, unshare and nsenter "
    "(apt-get install iproute2 util-linux; in a container: --privileged): {}."
)
# Holds the namespace open until the test run ends its input, be it by closing or by dying in whatever way. Then what
# is still in there is killed; without processes the namespace is gone. IPv6 off: no packet but those of the test.
KEEPER = """
echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 2>/dev/null
ip link set lo up && echo ready
read -r _
for namespace in $(find -L /proc/[0-9]*/ns/net -samefile /proc/self/ns/net 2>/dev/null); do
  id=${namespace#/proc/}; id=${id%%/*}
  [ "$id" != $$ ] && kill -9 "$id"
done 2>/dev/null
exit 0
"""

Result = TypeVar("Result")


class Namespace:
    """A network with nothing in it but a loopback interface, which also has the addresses given.

    With ``ipv6`` there is IPv6 as well, and an interface beside the loopback that has those addresses: browsers look
    for one. What leaves over it is lost.
    """

    def __init__(self, *addresses: str, ipv6: tuple[str, ...] = ()) -> None:
        self.addresses = addresses
        self.ipv6 = ipv6
        self._device: int | None = None
        self._paths = 0
        self._keeper: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        _say_what_is_missing()
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", KEEPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # the Ctrl-C that ends the test run is not for the keeper
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != "ready\n":
            told = self._keeper.communicate(timeout=DEADLINE)[1]
            raise AssertionError(MISSING.format(told.strip() or "unshare --net was refused"))
        for address in self.addresses:
            self.ip("address", "add", f"{address}/32", "dev", "lo")
        if self.ipv6:
            self._allow_ipv6()
        return self

    def _allow_ipv6(self) -> None:
        allow = "echo 0 | tee /proc/sys/net/ipv6/conf/all/disable_ipv6 /proc/sys/net/ipv6/conf/default/disable_ipv6"
        done = subprocess.run(
            self.command("sh", "-c", allow), capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        assert done.returncode == 0, f"the kernel has no IPv6: {done.stderr.strip()}"
        self._device = self.tun("six")
        self.ip("link", "set", "six", "up")
        for address in self.ipv6:
            self.ip("-6", "address", "add", f"{address}/64", "dev", "six", "nodad")
        self.ip("-6", "route", "add", "default", "dev", "six")  # by it a browser finds the address that it has

    def __exit__(self, *_: object) -> None:
        assert self._keeper is not None
        if self._device is not None:
            os.close(self._device)
        self._keeper.communicate(timeout=DEADLINE)  # ends its input, and waits until all in there is gone

    @property
    def handle(self) -> str:
        """The file that stands for it, as ``nsenter --net=`` takes it."""
        assert self._keeper is not None, "the namespace is not open: use it in a with statement"
        return f"/proc/{self._keeper.pid}/ns/net"

    def command(self, *arguments: str | os.PathLike[str]) -> list[str]:
        """A command line that runs this one in there."""
        return ["nsenter", f"--net={self.handle}", *(os.fspath(one) for one in arguments)]

    def ip(self, *arguments: str) -> str:
        """Run ``ip`` in there; what it printed."""
        command = self.command("ip", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"
        return done.stdout

    def call(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Call a function in there, in a thread of its own. A socket that it makes belongs to this network for good."""
        results: list[Result] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                _enter(self.handle)
                results.append(function(*arguments))
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    def socket(self, kind: socket.SocketKind = socket.SOCK_DGRAM, address: str = "", port: int = 0) -> socket.socket:
        """An IPv4 socket in there, bound."""

        def bound() -> socket.socket:
            made = socket.socket(socket.AF_INET, kind)
            made.bind((address, port))
            return made

        return self.call(bound)

    def tun(self, name: str) -> int:
        """The descriptor, which does not block, of a new TUN device in there. The device goes when it is closed."""

        def opened() -> int:
            descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
            except OSError:
                os.close(descriptor)
                raise
            return descriptor

        return self.call(opened)

    def next_path(self) -> int:
        """A number for one more path that leads here, from 1."""
        self._paths += 1
        assert self._paths < 255, "one network has 254 paths at the most"
        return self._paths


def _enter(handle: str) -> None:
    """Move the calling thread into a namespace; ``os.setns`` came with Python 3.12."""
    descriptor = os.open(handle, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")
    finally:
        os.close(descriptor)


def _say_what_is_missing() -> None:
    missing = [f"no {name}" for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]
    missing += [] if os.path.exists("/dev/net/tun") else ["no /dev/net/tun"]
    missing += [] if os.geteuid() == 0 else ["this is not root"]
    if missing:
        raise AssertionError(MISSING.format(", ".join(missing)))
