"""The Python SDK: a user in a room, with encoded frames in and out.

``Client`` joins and publishes; ``parlour.client.codecs`` encodes and decodes with PyAV (the extra ``demo``).
Nothing here imports the server.
"""

from parlour.client.client import Client
from parlour.client.peer_connection import EncodedFrame
from parlour.client.streams import LocalStream, RemoteStream
from parlour.errors import RtcError

__all__ = ["Client", "EncodedFrame", "LocalStream", "RemoteStream", "RtcError"]
