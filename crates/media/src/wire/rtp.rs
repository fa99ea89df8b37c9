//! RTP packets (RFC 3550 §5.1) with header extensions (RFC 8285).

use std::ops::Range;

use super::extensions::{self, Extensions};
use crate::wire::bytes::{Writer, u16_at, u32_at};
use crate::wire::num::{PayloadType, RtpTime, SeqNo, Ssrc};

/// In the first byte: the packet ends with padding (RFC 3550 §5.1).
pub(crate) const PADDING_BIT: u8 = 0x20;

/// In the first byte: a block of extensions follows the header.
pub(crate) const EXTENSION_BIT: u8 = 0x10;

/// The fixed part of the header (RFC 3550 §5.1).
pub const RTP_HEADER_LEN: usize = 12;

/// Whether the first byte says RTP or RTCP rather than STUN or DTLS (RFC 7983 §7).
pub fn is_rtp_or_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, ..])
}

/// Whether the datagram is RTCP, by the packet types that RFC 5761 §4 keeps free of RTP payload types.
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, 192..=223, ..])
}

/// Why a datagram is not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RtpError {
    /// Shorter than its header says.
    Truncated,
    /// The version is not 2.
    Version,
    /// The padding is empty or longer than what follows the header (RFC 3550 §5.1).
    Padding,
}

/// What the header of a packet says. It borrows nothing, so the packet can be decrypted in place afterwards; it holds
/// for the encrypted packet as well, since SRTP leaves the header in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// The marker bit.
    pub marker: bool,
    /// The payload type.
    pub payload_type: PayloadType,
    /// The sequence number.
    pub seq: SeqNo,
    /// The timestamp.
    pub timestamp: RtpTime,
    /// The synchronization source.
    pub ssrc: Ssrc,
    /// Bytes before the payload: fixed header, contributing sources and extensions.
    pub header_len: usize,
    /// Whether the packet ends with padding.
    pub has_padding: bool,
    extension_profile: u16,
    extension: Range<usize>,
}

impl RtpHeader {
    /// Reads the header and checks that the packet is long enough for it.
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let &[first, second, s1, s2, t1, t2, t3, t4, c1, c2, c3, c4] = packet
            .first_chunk::<RTP_HEADER_LEN>()
            .ok_or(RtpError::Truncated)?;
        if first >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let mut header_len = RTP_HEADER_LEN + 4 * usize::from(first & 0x0f);
        let (mut extension_profile, mut extension) = (0, 0..0);
        if first & 0x10 != 0 {
            extension_profile = u16_at(packet, header_len).ok_or(RtpError::Truncated)?;
            let words = u16_at(packet, header_len + 2).ok_or(RtpError::Truncated)?;
            extension = header_len + 4..header_len + 4 + 4 * usize::from(words);
            header_len = extension.end;
        }
        if packet.len() < header_len {
            return Err(RtpError::Truncated);
        }
        Ok(RtpHeader {
            marker: second & 0x80 != 0,
            payload_type: PayloadType(second & 0x7f),
            seq: SeqNo(u16::from_be_bytes([s1, s2])),
            timestamp: RtpTime(u32::from_be_bytes([t1, t2, t3, t4])),
            ssrc: Ssrc(u32::from_be_bytes([c1, c2, c3, c4])),
            header_len,
            has_padding: first & PADDING_BIT != 0,
            extension_profile,
            extension,
        })
    }
}

/// A decrypted RTP packet whose header, extension block and padding lie within it.
#[derive(Clone, Debug)]
pub struct RtpView<'a> {
    packet: &'a [u8],
    header: RtpHeader,
    padding_len: usize,
}

impl<'a> RtpView<'a> {
    /// Reads a whole packet: the header and the padding at its end.
    pub fn parse(packet: &'a [u8]) -> Result<Self, RtpError> {
        let header = RtpHeader::parse(packet)?;
        let mut padding_len = 0;
        if header.has_padding {
            let body = packet.get(header.header_len..).unwrap_or_default();
            padding_len = usize::from(*body.last().ok_or(RtpError::Padding)?);
            if padding_len == 0 || padding_len > body.len() {
                return Err(RtpError::Padding);
            }
        }
        Ok(RtpView {
            packet,
            header,
            padding_len,
        })
    }

    /// The header by itself.
    pub fn header(&self) -> &RtpHeader {
        &self.header
    }

    /// The marker bit.
    pub fn marker(&self) -> bool {
        self.header.marker
    }

    /// The payload type.
    pub fn payload_type(&self) -> PayloadType {
        self.header.payload_type
    }

    /// The sequence number.
    pub fn seq(&self) -> SeqNo {
        self.header.seq
    }

    /// The timestamp.
    pub fn timestamp(&self) -> RtpTime {
        self.header.timestamp
    }

    /// The synchronization source.
    pub fn ssrc(&self) -> Ssrc {
        self.header.ssrc
    }

    /// Bytes before the payload.
    pub fn header_len(&self) -> usize {
        self.header.header_len
    }

    /// Bytes of padding after the payload, the count byte included.
    pub fn padding_len(&self) -> usize {
        self.padding_len
    }

    /// Where in the packet the payload lies.
    pub fn payload_range(&self) -> Range<usize> {
        self.header.header_len..self.packet.len() - self.padding_len
    }

    /// The payload without padding; empty in a packet of padding alone.
    pub fn payload(&self) -> &'a [u8] {
        self.packet.get(self.payload_range()).unwrap_or_default()
    }

    /// The value of the header extension `id`, in either form of RFC 8285.
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        self.extensions()
            .find(|(found, _)| *found == id)
            .map(|(_, value)| value)
    }

    /// All header extensions in their order. It ends at the first one that does not fit the block.
    pub fn extensions(&self) -> Extensions<'a> {
        let block = self.packet.get(self.header.extension.clone());
        Extensions::new(self.header.extension_profile, block.unwrap_or_default())
    }
}

/// Writes a header in front of an extension block that was made before; of an empty one it says nothing.
///
/// Returns the length of both; 0 when they do not fit.
pub(crate) fn write_header_before(
    buf: &mut [u8],
    marker: bool,
    payload_type: PayloadType,
    seq: SeqNo,
    timestamp: RtpTime,
    ssrc: Ssrc,
    block: &[u8],
) -> usize {
    let len = RTP_HEADER_LEN + block.len();
    let Some((header, rest)) = buf
        .get_mut(..len)
        .and_then(|header| header.split_first_chunk_mut::<RTP_HEADER_LEN>())
    else {
        return 0;
    };
    header[0] = if block.is_empty() { 0x80 } else { 0x90 };
    header[1] = u8::from(marker) << 7 | payload_type.0 & 0x7f;
    header[2..4].copy_from_slice(&seq.0.to_be_bytes());
    header[4..8].copy_from_slice(&timestamp.0.to_be_bytes());
    header[8..12].copy_from_slice(&ssrc.0.to_be_bytes());
    rest.copy_from_slice(block);
    len
}

/// Writes a header with extensions, padded to 32 bits: in the one-byte form (RFC 8285 §4.2), or in the two-byte form where a
/// value has more than 16 bytes.
///
/// Returns its length; 0 when it does not fit or an extension cannot be expressed (id outside 1–14, value outside
/// 1–255 bytes).
pub fn write_header(
    buf: &mut [u8],
    marker: bool,
    payload_type: PayloadType,
    seq: SeqNo,
    timestamp: RtpTime,
    ssrc: Ssrc,
    extensions: &[(u8, &[u8])],
) -> usize {
    let mut out = Writer::new(buf);
    out.u8(if extensions.is_empty() { 0x80 } else { 0x90 });
    out.u8(u8::from(marker) << 7 | payload_type.0 & 0x7f);
    out.u16(seq.0);
    out.u32(timestamp.0);
    out.u32(ssrc.0);
    if !extensions.is_empty() && !extensions::write_block(&mut out, extensions) {
        return 0;
    }
    out.finish()
}

/// The original sequence number at the head of a retransmission's payload (RFC 4588 §4).
pub fn rtx_original_seq(payload: &[u8]) -> Option<SeqNo> {
    u16_at(payload, 0).map(SeqNo)
}

/// The SSRC of an RTP packet, read without looking at anything else.
pub fn peek_ssrc(packet: &[u8]) -> Option<Ssrc> {
    u32_at(packet, 8).map(Ssrc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::num::Rng;

    fn header(buf: &mut [u8], extensions: &[(u8, &[u8])]) -> usize {
        write_header(
            buf,
            true,
            PayloadType(96),
            SeqNo(0x1234),
            RtpTime(0xdead_beef),
            Ssrc(0xcafe_babe),
            extensions,
        )
    }

    #[test]
    fn a_written_header_reads_back_with_its_extensions() {
        let mut packet = [0u8; 64];
        let len = header(&mut packet, &[(4, b"0"), (3, &[0xab, 0xcd])]);
        assert_eq!(len, 12 + 4 + 8);
        packet[len..len + 3].copy_from_slice(b"abc");
        let view = RtpView::parse(&packet[..len + 3]).unwrap();
        assert!(view.marker());
        assert_eq!(view.payload_type(), PayloadType(96));
        assert_eq!(view.seq(), SeqNo(0x1234));
        assert_eq!(view.timestamp(), RtpTime(0xdead_beef));
        assert_eq!(view.ssrc(), Ssrc(0xcafe_babe));
        assert_eq!(peek_ssrc(&packet), Some(Ssrc(0xcafe_babe)));
        assert_eq!(view.extension(4), Some(&b"0"[..]));
        assert_eq!(view.extension(3), Some(&[0xab, 0xcd][..]));
        assert_eq!(view.extension(5), None);
        assert_eq!(view.payload(), b"abc");
    }

    #[test]
    fn a_header_without_extensions_has_twelve_bytes() {
        let mut packet = [0u8; 12];
        assert_eq!(header(&mut packet, &[]), 12);
        assert_eq!(header(&mut packet[..11], &[]), 0);
        assert_eq!(header(&mut [0; 64], &[(15, b"x")]), 0);
        assert_eq!(header(&mut [0; 64], &[(1, b"")]), 0);
        assert_eq!(header(&mut [0; 400], &[(1, &[0; 256])]), 0);
    }

    #[test]
    fn a_long_value_is_written_in_the_two_byte_form_with_all_that_is_beside_it() {
        let mut packet = [0u8; 300];
        let extensions: [(u8, &[u8]); 3] = [(4, b"0"), (3, &[7; 17]), (1, &[8; 250])];
        let len = header(&mut packet, &extensions);
        assert_eq!(len, 12 + 4 + 276);
        assert_eq!(packet[12..16], [0x10, 0, 0, 69]);
        let view = RtpView::parse(&packet[..len]).unwrap();
        assert_eq!(view.extensions().collect::<Vec<_>>(), extensions);
    }

    #[test]
    fn two_byte_extensions_are_read_and_may_be_empty() {
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
        packet.extend([0x10, 0x00, 0, 2, 5, 0, 0, 20, 3, b'a', b'b', b'c']);
        let view = RtpView::parse(&packet).unwrap();
        assert_eq!(view.extension(5), Some(&[][..]));
        assert_eq!(view.extension(20), Some(&b"abc"[..]));
        assert_eq!(view.extensions().count(), 2);
    }

    #[test]
    fn id_fifteen_ends_a_one_byte_block_and_a_value_past_its_end_is_no_value() {
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
        packet.extend([0xbe, 0xde, 0, 2, 0x10, 1, 0xf0, 0, 0x20, 2, 0, 0]);
        let view = RtpView::parse(&packet).unwrap();
        assert_eq!(view.extension(1), Some(&[1][..]));
        assert_eq!(view.extension(2), None);
        packet[16..].copy_from_slice(&[0x1f, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(RtpView::parse(&packet).unwrap().extensions().count(), 0);
    }

    #[test]
    fn padding_is_taken_off_and_refused_when_it_lies() {
        let mut packet = vec![0xa0, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, b'x', 0, 2];
        let view = RtpView::parse(&packet).unwrap();
        assert_eq!(
            (view.payload(), view.padding_len(), view.payload_range()),
            (&b"x"[..], 2, 12..13)
        );
        packet[14] = 3;
        assert_eq!(RtpView::parse(&packet).unwrap().payload(), b"");
        packet[14] = 4;
        assert_eq!(RtpView::parse(&packet).unwrap_err(), RtpError::Padding);
        packet[14] = 0;
        assert_eq!(RtpView::parse(&packet).unwrap_err(), RtpError::Padding);
        assert_eq!(
            RtpView::parse(&packet[..12]).unwrap_err(),
            RtpError::Padding
        );
    }

    #[test]
    fn lengths_past_the_end_are_refused() {
        assert_eq!(
            RtpView::parse(&[0x80; 11]).unwrap_err(),
            RtpError::Truncated
        );
        assert_eq!(
            RtpView::parse(&[0x8f; 40]).unwrap_err(),
            RtpError::Truncated
        );
        assert_eq!(RtpView::parse(&[0x40; 40]).unwrap_err(), RtpError::Version);
        let mut packet = vec![
            0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0xbe, 0xde, 0, 1, 0, 0, 0,
        ];
        assert_eq!(RtpView::parse(&packet).unwrap_err(), RtpError::Truncated);
        packet.truncate(14);
        assert_eq!(RtpView::parse(&packet).unwrap_err(), RtpError::Truncated);
    }

    #[test]
    fn the_first_two_bytes_tell_rtp_rtcp_and_the_rest_apart() {
        assert!(is_rtp_or_rtcp(&[0x80, 96]) && !is_rtcp(&[0x80, 96]));
        assert!(is_rtcp(&[0x80, 200]) && is_rtcp(&[0x81, 205]));
        assert!(!is_rtp_or_rtcp(&[22, 254]) && !is_rtp_or_rtcp(&[0, 1]) && !is_rtp_or_rtcp(&[]));
        assert!(!is_rtcp(&[0x80]));
    }

    #[test]
    fn random_bytes_never_panic_and_ranges_stay_inside() {
        let mut rng = Rng::new(11);
        for _ in 0..20_000 {
            let mut packet: Vec<u8> = (0..rng.below(80)).map(|_| rng.next_u32() as u8).collect();
            if let Some(first) = packet.first_mut() {
                *first = 0x80 | *first & 0x3f;
            }
            if let Ok(view) = RtpView::parse(&packet) {
                assert!(view.payload_range().end <= packet.len());
                assert_eq!(
                    view.header_len() + view.payload().len() + view.padding_len(),
                    packet.len()
                );
                assert!(view.extensions().count() <= packet.len());
            }
        }
    }
}
