//! Redundant audio (RFC 2198): packets that carry what was in those before them, in front of their own.

use crate::wire::num::PayloadType;

/// Blocks of one packet. Browsers send two; a receiver has no use for what is long past.
const MOST_BLOCKS: usize = 16;

/// The header of a block that is not the last: a bit, the payload type, the offset of its timestamp and its length.
const HEADER: usize = 4;

/// What a packet carries of its own: its payload type, and where that begins. It is the last block (§3). None when the
/// payload is malformed, or its blocks are of several types.
pub fn primary(payload: &[u8]) -> Option<(PayloadType, usize)> {
    let (mut at, mut copies) = (0, 0);
    let payload_type = payload.first()? & 0x7f;
    for _ in 0..MOST_BLOCKS {
        let first = *payload.get(at)?;
        if first & 0x7f != payload_type {
            return None;
        }
        if first & 0x80 == 0 {
            let begins = at + 1 + copies;
            return (begins <= payload.len()).then_some((PayloadType(first), begins));
        }
        let header = payload.get(at..at + HEADER)?;
        copies += usize::from(u16::from_be_bytes([header[2], header[3]]) & 0x3ff);
        at += HEADER;
    }
    None
}

/// Writes another payload type into all blocks of a payload that [`primary`] found to be sound.
pub fn set_payload_type(payload: &mut [u8], payload_type: PayloadType) {
    let mut at = 0;
    while let Some(first) = payload.get_mut(at) {
        let follows = *first & 0x80;
        *first = follows | payload_type.0 & 0x7f;
        if follows == 0 {
            return;
        }
        at += HEADER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with copies of these lengths, as RFC 2198 §3 draws it.
    fn packet(copies: &[u16], own: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        for (back, len) in (1..=copies.len() as u32).rev().zip(copies) {
            let bits = 1 << 31 | 111 << 24 | (960 * back) << 10 | u32::from(*len);
            packet.extend(bits.to_be_bytes());
        }
        packet.push(111);
        for len in copies {
            packet.extend(std::iter::repeat_n(7, usize::from(*len)));
        }
        packet.extend(own);
        packet
    }

    #[test]
    fn what_a_packet_carries_of_its_own_is_behind_the_copies() {
        for copies in [&[][..], &[0], &[1], &[80], &[80, 3, 1023]] {
            let packet = packet(copies, b"own");
            let (payload_type, at) = primary(&packet).unwrap();
            assert_eq!(
                (payload_type, &packet[at..]),
                (PayloadType(111), &b"own"[..])
            );
        }
        assert_eq!(primary(&packet(&[5], b"")).unwrap().1, 4 + 1 + 5);
        let mut other = packet(&[80, 3], b"own");
        other[4] = 0x80 | 9;
        assert_eq!(primary(&other), None, "a copy of another type");
    }

    #[test]
    fn all_blocks_get_another_type_and_nothing_else_changes() {
        for copies in [&[][..], &[80], &[80, 3, 1023]] {
            let before = packet(copies, &[111; 20]);
            let mut after = before.clone();
            set_payload_type(&mut after, PayloadType(96));
            assert_eq!(
                primary(&after).unwrap(),
                (PayloadType(96), primary(&before).unwrap().1)
            );
            set_payload_type(&mut after, PayloadType(111));
            assert_eq!(after, before);
        }
        set_payload_type(&mut [], PayloadType(96));
    }

    #[test]
    fn a_packet_that_ends_inside_its_headers_or_copies_has_nothing() {
        let whole = packet(&[80, 40], b"");
        for len in 0..whole.len() {
            assert_eq!(primary(&whole[..len]), None, "{len}");
        }
        assert_eq!(primary(&packet(&[1; MOST_BLOCKS], b"own")), None);
        assert!(primary(&packet(&[1; MOST_BLOCKS - 1], b"own")).is_some());
    }
}
