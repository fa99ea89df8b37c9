//! The codecs that are forwarded, where a keyframe begins and of which layers a packet is: told from its payload without
//! decoding.

use crate::wire::layers::Layers;
use crate::wire::{vp8, vp9};

/// Audio or video: what decides whether a stream has keyframes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl Kind {
    /// The clock of its timestamps in Hz: 48 kHz for Opus (RFC 7587 §4.1), 90 kHz for video.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Kind::Audio => 48_000,
            Kind::Video => 90_000,
        }
    }
}

/// A codec that can be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 6184.
    H264,
    /// RFC 9628.
    Vp9,
    /// The RTP payload format for AV1 of the Alliance for Open Media.
    Av1,
}

/// Whether this RTP payload holds the beginning of a keyframe, so that a decoder may start here.
///
/// For Opus every packet is one. Truncated or malformed payloads are none.
pub fn is_keyframe_start(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus => !payload.is_empty(),
        Codec::Vp8 => vp8_keyframe(payload).unwrap_or(false),
        Codec::H264 => h264_keyframe(payload).unwrap_or(false),
        Codec::Vp9 => vp9_keyframe(payload).unwrap_or(false),
        Codec::Av1 => av1_keyframe(payload).unwrap_or(false),
    }
}

/// Of which layers a packet is, as far as its payload says.
pub fn layers(codec: Codec, payload: &[u8]) -> Layers {
    match codec {
        Codec::Vp8 if !payload.is_empty() => {
            vp8::parse(payload).map_or(Layers::BROKEN, |it| Layers::of_vp8(&it))
        }
        Codec::Vp9 if !payload.is_empty() => {
            vp9::parse(payload).map_or(Layers::BROKEN, |it| Layers::of_vp9(&it))
        }
        Codec::Opus | Codec::Vp8 | Codec::H264 | Codec::Vp9 | Codec::Av1 => Layers::NONE,
    }
}

/// RFC 9628 §4.2: the beginning of a frame of the lowest spatial layer that was predicted from no other.
fn vp9_keyframe(payload: &[u8]) -> Option<bool> {
    let descriptor = vp9::parse(payload)?;
    let is_lowest = descriptor.layers.is_none_or(|it| it.spatial == 0);
    Some(descriptor.begins_frame && !descriptor.predicted && is_lowest)
}

/// AV1's RTP specification §4.4: N says that a coded video sequence begins with this packet, Z that an OBU goes on in it.
fn av1_keyframe(payload: &[u8]) -> Option<bool> {
    let header = *payload.first()?;
    Some(header & 0x88 == 0x08 && payload.len() > 1)
}

/// RFC 7741 §4.2 and §4.3: past the payload descriptor, the first bit of the frame header is 0 for a keyframe.
fn vp8_keyframe(payload: &[u8]) -> Option<bool> {
    let descriptor = vp8::parse(payload)?;
    let header = *payload.get(descriptor.len)?;
    Some(descriptor.begins_frame && header & 0x01 == 0)
}

const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;

/// RFC 6184 §5: a sequence parameter set or an IDR slice, alone, in an aggregate or as the start of fragments.
fn h264_keyframe(payload: &[u8]) -> Option<bool> {
    let opens = |unit: u8| matches!(unit & 0x1f, NAL_IDR | NAL_SPS);
    match payload.first()? & 0x1f {
        NAL_STAP_A => {
            let mut rest = &payload[1..];
            // Each turn takes at least two bytes, so the loop ends with the payload.
            while let Some((size, after)) = rest.split_first_chunk::<2>() {
                let size = usize::from(u16::from_be_bytes(*size));
                if after.len() < size {
                    return Some(false);
                }
                let (unit, next) = after.split_at(size);
                if unit.first().is_some_and(|&header| opens(header)) {
                    return Some(true);
                }
                rest = next;
            }
            Some(false)
        }
        NAL_FU_A => {
            let header = *payload.get(1)?;
            Some(header & 0x80 != 0 && opens(header))
        }
        _ => Some(opens(payload[0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::num::Rng;

    #[test]
    fn a_vp8_keyframe_is_seen_behind_every_length_of_descriptor() {
        let descriptors: [&[u8]; 5] = [
            &[0x10],
            &[0x90, 0x80, 0x11],
            &[0x90, 0x80, 0x91, 0x22],
            &[0x90, 0xc0, 0x91, 0x22, 0x05],
            &[0x90, 0xf0, 0x91, 0x22, 0x05, 0x60],
        ];
        for descriptor in descriptors {
            let keyframe = [descriptor, &[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a]].concat();
            let delta = [descriptor, &[0x11, 0x02, 0x00]].concat();
            assert!(is_keyframe_start(Codec::Vp8, &keyframe), "{descriptor:?}");
            assert!(!is_keyframe_start(Codec::Vp8, &delta), "{descriptor:?}");
            assert!(
                !is_keyframe_start(Codec::Vp8, descriptor),
                "truncated: {descriptor:?}"
            );
        }
    }

    #[test]
    fn a_vp8_packet_in_the_middle_of_a_keyframe_does_not_start_one() {
        assert!(!is_keyframe_start(Codec::Vp8, &[0x00, 0x10]));
        assert!(
            !is_keyframe_start(Codec::Vp8, &[0x11, 0x10]),
            "second partition"
        );
    }

    #[test]
    fn a_vp9_keyframe_is_a_frame_of_the_lowest_layer_that_begins_and_needs_no_other() {
        assert!(is_keyframe_start(Codec::Vp9, &[0x08, 0x82]));
        assert!(is_keyframe_start(Codec::Vp9, &[0x88, 0x11, 0x82]));
        assert!(is_keyframe_start(
            Codec::Vp9,
            &[0xa8, 0x91, 0x22, 0x00, 0x01, 0x82]
        ));
        assert!(
            !is_keyframe_start(Codec::Vp9, &[0xa8, 0x91, 0x22, 0x03, 0x01, 0x82]),
            "of a higher layer"
        );
        assert!(!is_keyframe_start(Codec::Vp9, &[0x48, 0x82]), "predicted");
        assert!(
            !is_keyframe_start(Codec::Vp9, &[0x00, 0x82]),
            "in its middle"
        );
        assert!(
            !is_keyframe_start(Codec::Vp9, &[0xa8, 0x91, 0x22]),
            "truncated"
        );
    }

    #[test]
    fn an_av1_sequence_begins_where_its_packet_says_so() {
        assert!(is_keyframe_start(Codec::Av1, &[0x18, 0x0a]));
        assert!(!is_keyframe_start(Codec::Av1, &[0x10, 0x32]));
        assert!(
            !is_keyframe_start(Codec::Av1, &[0x98, 0x0a]),
            "an OBU goes on"
        );
        assert!(!is_keyframe_start(Codec::Av1, &[0x18]), "truncated");
    }

    #[test]
    fn h264_is_told_by_single_units_aggregates_and_first_fragments() {
        assert!(is_keyframe_start(Codec::H264, &[0x67, 0x42]));
        assert!(is_keyframe_start(Codec::H264, &[0x65, 0x88]));
        assert!(!is_keyframe_start(Codec::H264, &[0x41, 0x9a]));
        assert!(is_keyframe_start(
            Codec::H264,
            &[0x78, 0, 2, 0x06, 0x01, 0, 1, 0x67]
        ));
        assert!(
            !is_keyframe_start(Codec::H264, &[0x78, 0, 2, 0x06, 0x01, 0, 9, 0x67]),
            "unit longer than the packet"
        );
        assert!(
            !is_keyframe_start(Codec::H264, &[0x78, 0, 0, 0, 0]),
            "empty units"
        );
        assert!(is_keyframe_start(Codec::H264, &[0x7c, 0x85, 0x88]));
        assert!(
            !is_keyframe_start(Codec::H264, &[0x7c, 0x05, 0x88]),
            "a later fragment"
        );
        assert!(!is_keyframe_start(Codec::H264, &[0x7c]), "truncated");
    }

    #[test]
    fn nothing_panics_on_random_payloads() {
        let mut rng = Rng::new(11);
        for _ in 0..20_000 {
            let payload: Vec<u8> = (0..rng.below(24)).map(|_| rng.next_u32() as u8).collect();
            for codec in [Codec::Opus, Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1] {
                is_keyframe_start(codec, &payload);
            }
        }
    }
}
