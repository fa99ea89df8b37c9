"""What a privateMapKey allows to send and to receive in its room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parlour.errors import ErrorCode, RtcError
from parlour.protocol.words import Kind, StreamType
from parlour.usersig import Privilege

_SEND: dict[tuple[StreamType, Kind], tuple[Privilege, ErrorCode]] = {
    ("main", "audio"): (Privilege.SEND_AUDIO, ErrorCode.PUBLISH_FORBIDDEN),
    ("main", "video"): (Privilege.SEND_VIDEO, ErrorCode.PUBLISH_FORBIDDEN),
    ("auxiliary", "audio"): (Privilege.SEND_AUDIO, ErrorCode.AUXILIARY_FORBIDDEN),
    ("auxiliary", "video"): (Privilege.SEND_AUXILIARY, ErrorCode.AUXILIARY_FORBIDDEN),
}
_RECEIVE: dict[tuple[StreamType, Kind], Privilege] = {
    ("main", "audio"): Privilege.RECEIVE_AUDIO,
    ("main", "video"): Privilege.RECEIVE_VIDEO,
    ("auxiliary", "audio"): Privilege.RECEIVE_AUDIO,
    ("auxiliary", "video"): Privilege.RECEIVE_AUXILIARY,
}


def may_send(privileges: Privilege, stream_type: StreamType, kinds: Iterable[Kind]) -> None:
    """Refuse a stream that has a track which the user may not send: -102013, or -102015 for an auxiliary stream."""
    for kind in kinds:
        needed, code = _SEND[stream_type, kind]
        if needed not in privileges:
            raise RtcError(
                ErrorCode.INVALID_OPERATION,
                f"the privateMapKey of this room does not allow to send {kind} in a {stream_type} stream",
                extra=code,
            )


def may_receive(privileges: Privilege, stream_type: StreamType, kinds: Sequence[Kind]) -> list[Kind]:
    """Those of the kinds that the user may receive; -102019 when kinds were asked for and none is left."""
    allowed = [kind for kind in kinds if _RECEIVE[stream_type, kind] in privileges]
    if kinds and not allowed:
        raise RtcError(
            ErrorCode.INVALID_OPERATION,
            f"the privateMapKey of this room does not allow to receive {' or '.join(kinds)} of a {stream_type} stream",
            extra=ErrorCode.SUBSCRIBE_FORBIDDEN,
        )
    return allowed
