"""A path of our own between a client and a server, which delays, loses, reorders, limits and cuts what crosses it.

The kernel of a test machine need not know ``netem``. So client and server run in network namespaces of their own, and
the only way between them is a pair of TUN devices whose packets this process carries. Whatever runs at the ends (a
browser, ``parlour serve``, a socket of the test) is unchanged, and all of it crosses: TCP, UDP and ICMP.

::

    with Namespace("10.203.0.1") as server, Path(server, delay=0.05, loss=0.02, seed=7) as path:
        start_server(["serve", "--host", "10.203.0.1"], data, within=server)
        browser = await launch_within(path.client)
        path.cut("udp")            # media is gone, signaling goes on
        path.restore()
        path.reset()               # every TCP connection ends for both its ends; silence alone would take them a while
        path.rebind()              # the client has another address and port for the server, and does not know it
        path.change(rate=500_000)  # bit/s from now on, in both directions
        assert path.up.counts["udp"].lost == 3

What it takes: root (or CAP_NET_ADMIN and CAP_SYS_ADMIN), ``/dev/net/tun``, and ``ip``, ``unshare`` and ``nsenter``.
Without them every test that needs a path fails with that sentence; none is skipped.

The parts:

- ``link.Link``: one direction as a pure state machine; packets and times go in, packets and times come out. The same
  seed and the same packets give the same losses: the decisions for UDP are drawn apart from those for TCP, so what
  TCP sends again changes nothing for UDP.
- ``packets``: what a packet is (``tcp``, ``udp``, ``other``) and the change of its address.
- ``flows.Flows``: the TCP connections that cross, so that they can be reset.
- ``namespace.Namespace``: a network with nothing in it but its loopback interface. It ends with the test run, also
  when that is killed, and takes the processes in it along: nothing is left for the next run to clean.
- ``path.Path``: the TUN devices, the thread that carries, the address translation.

One direction carries some 5,000 packets a second; a call with film is about 150.
"""

from tests.network.link import Conditions, Counts, Link
from tests.network.namespace import Namespace
from tests.network.path import Path

__all__ = ["Conditions", "Counts", "Link", "Namespace", "Path"]
