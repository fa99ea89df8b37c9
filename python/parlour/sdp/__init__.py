"""Session descriptions: offers read, answers and offers written. Pure: text in, plain data out, and back."""

from parlour.sdp.downlink import (
    AcceptedLine,
    AnsweredDownlink,
    DownlinkLine,
    read_downlink_answer,
    write_downlink_offer,
)
from parlour.sdp.errors import SdpError
from parlour.sdp.model import Candidate, LocalTransport, RemoteTransport, TrackSpec
from parlour.sdp.uplink import DESCRIBED_CODECS, UplinkOffer, downlink_format, read_uplink_offer, write_uplink_answer

__all__ = [
    "DESCRIBED_CODECS",
    "AcceptedLine",
    "AnsweredDownlink",
    "Candidate",
    "DownlinkLine",
    "LocalTransport",
    "RemoteTransport",
    "SdpError",
    "TrackSpec",
    "UplinkOffer",
    "downlink_format",
    "read_downlink_answer",
    "read_uplink_offer",
    "write_downlink_offer",
    "write_uplink_answer",
]
