"""The load generator: rooms full of cheap peers that measure a room server.

Media is the extension's business (``crates/load``), signaling that of an adapter for each kind of server: it takes
peers into rooms and hands over what two session descriptions say. :mod:`parlour.load.rooms` is the one for Parlour;
the others live with the bench.
"""

from __future__ import annotations
