//! What is in the generated packets: as much of a codec as a server looks at, and when the packet was sent.

use parlour_media::Kind;
use parlour_media::codecs::{Codec, is_keyframe_start};

/// Where the stamp begins in a payload: behind all that a server may read or rewrite of a codec.
const STAMP_AT: usize = 16;
const AUDIO: &[u8; 4] = b"loda";
const VIDEO: &[u8; 4] = b"lodv";
/// The shortest payload that holds a stamp.
pub(crate) const MIN_PAYLOAD: usize = STAMP_AT + 4 + 8;

/// One packet's part of a frame.
pub(crate) struct Part {
    pub(crate) kind: Kind,
    pub(crate) first: bool,
    pub(crate) keyframe: bool,
    pub(crate) picture: u16,
}

/// Fills a payload of at least [`MIN_PAYLOAD`] bytes.
pub(crate) fn write(payload: &mut [u8], part: &Part, sent_ns: u64) {
    let magic = match part.kind {
        Kind::Audio => {
            payload[0] = 0x78; // RFC 6716 §3.1: CELT, full band, 20 ms, mono, one frame
            AUDIO
        }
        Kind::Video => {
            write_vp8(payload, part);
            VIDEO
        }
    };
    payload[STAMP_AT..STAMP_AT + 4].copy_from_slice(magic);
    payload[STAMP_AT + 4..MIN_PAYLOAD].copy_from_slice(&sent_ns.to_be_bytes());
}

/// A payload descriptor with a 15-bit picture id, as Chromium writes it, and before a frame's first byte its header
/// (RFC 7741 §4.2 and §4.3, RFC 6386 §9.1).
fn write_vp8(payload: &mut [u8], part: &Part) {
    let [high, low] = part.picture.to_be_bytes();
    let start = if part.first { 0x10 } else { 0 };
    payload[..4].copy_from_slice(&[0x80 | start, 0x80, 0x80 | high, low]);
    if part.first {
        let frame: [u8; 10] = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
        payload[4..14].copy_from_slice(&frame);
        payload[4] |= u8::from(!part.keyframe);
    }
}

/// What a payload of ours says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamped {
    /// CLOCK_REALTIME when it was sent.
    pub(crate) sent_ns: u64,
    /// Whether a receiver that has nothing yet can begin here.
    pub(crate) begins: bool,
}

/// Reads a payload; `None` when it is none of ours.
pub(crate) fn read(payload: &[u8]) -> Option<Stamped> {
    let stamp = payload.get(STAMP_AT..MIN_PAYLOAD)?;
    let (magic, time) = stamp.split_first_chunk::<4>()?;
    let begins = match magic {
        AUDIO => true,
        VIDEO => is_keyframe_start(Codec::Vp8, payload),
        _ => return None,
    };
    Some(Stamped {
        sent_ns: u64::from_be_bytes(time.try_into().unwrap_or_default()),
        begins,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_is_read_back_from_both_kinds() {
        for kind in [Kind::Audio, Kind::Video] {
            let part = Part {
                kind,
                first: true,
                keyframe: true,
                picture: 0x7fff,
            };
            let mut payload = [0; MIN_PAYLOAD];
            write(&mut payload, &part, u64::MAX - 1);
            let told = Stamped {
                sent_ns: u64::MAX - 1,
                begins: true,
            };
            assert_eq!(read(&payload), Some(told));
            payload[STAMP_AT] ^= 1;
            assert_eq!(read(&payload), None);
        }
        assert_eq!(read(&[0; MIN_PAYLOAD - 1]), None);
    }

    #[test]
    fn a_server_sees_keyframes_where_they_begin() {
        for (first, keyframe) in [(true, true), (true, false), (false, true), (false, false)] {
            let part = Part {
                kind: Kind::Video,
                first,
                keyframe,
                picture: 300,
            };
            let mut payload = [0; 100];
            write(&mut payload, &part, 1);
            assert_eq!(read(&payload).unwrap().begins, first && keyframe);
        }
    }
}
