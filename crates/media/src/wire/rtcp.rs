//! RTCP (RFC 3550 §6) with the feedback messages of RFC 4585 and RFC 5104: compound packets are read part by part
//! without copying, and parts are written one behind the other.

mod write;

use crate::wire::bytes::{u16_at, u24_at, u32_at, u64_at};
use crate::wire::num::{RtpTime, SeqNo, Ssrc};
use crate::wire::twcc::{Feedback, FeedbackError};
use crate::wire::xr::{EXTENDED_REPORT, ReferenceEchoes};

pub use write::{
    MAX_REMB_SOURCES, write_bye, write_fir, write_nack, write_pli, write_receiver_report,
    write_remb, write_sdes_cname, write_sender_report,
};

const HEADER_LEN: usize = 4;
const REPORT_BLOCK_LEN: usize = 24; // RFC 3550 §6.4.1

// Packet types: RFC 3550 §12.1 and RFC 4585 §6.1.
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

// Feedback formats: RFC 4585 §6.2 and §6.3, RFC 5104 §4.3.1, draft-holmer-rmcat-transport-wide-cc-extensions §3.1.
const FORMAT_NACK: u8 = 1;
const FORMAT_TWCC: u8 = 15;
const FORMAT_PLI: u8 = 1;
const FORMAT_FIR: u8 = 4;
const FORMAT_APPLICATION: u8 = 15;

const SDES_CNAME: u8 = 1; // RFC 3550 §6.5.1

/// Why a part of a compound packet cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RtcpError {
    /// A length or a count reaches past the end.
    Truncated,
    /// The version is not 2.
    Version,
    /// The padding is empty, or longer than the part.
    Padding,
    /// The contents contradict themselves.
    Malformed,
}

impl From<FeedbackError> for RtcpError {
    fn from(error: FeedbackError) -> Self {
        match error {
            FeedbackError::Truncated => RtcpError::Truncated,
            FeedbackError::Malformed => RtcpError::Malformed,
        }
    }
}

/// The sender's part of a sender report (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// The wall clock in 32.32 NTP format.
    pub ntp: u64,
    /// The same instant on the stream's clock.
    pub rtp_time: RtpTime,
    /// Packets sent so far; it wraps.
    pub packets: u32,
    /// Payload bytes sent so far; it wraps.
    pub octets: u32,
}

/// What a receiver says about one stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream reported on.
    pub ssrc: Ssrc,
    /// Fraction lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning: 24 bits signed, since duplicates count against it.
    pub cumulative_lost: i32,
    /// Extended highest sequence number received.
    pub highest_seq: u32,
    /// Interarrival jitter in units of the stream's clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last sender report, 0 when there was none.
    pub last_sr: u32,
    /// The delay since that report in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// One part of a compound packet. Iterators inside it yield no more than its bytes hold.
#[derive(Clone, Debug)]
pub enum Rtcp<'a> {
    /// SR, RFC 3550 §6.4.1.
    SenderReport {
        /// The stream that reports on itself.
        ssrc: Ssrc,
        /// What it sent.
        info: SenderInfo,
        /// What it received.
        blocks: ReportBlocks<'a>,
    },
    /// RR, RFC 3550 §6.4.2.
    ReceiverReport {
        /// Who reports.
        ssrc: Ssrc,
        /// What it received.
        blocks: ReportBlocks<'a>,
    },
    /// SDES, RFC 3550 §6.5.
    Sdes(Sdes<'a>),
    /// BYE, RFC 3550 §6.6.
    Bye(Ssrcs<'a>),
    /// Generic NACK, RFC 4585 §6.2.1.
    Nack {
        /// Who asks.
        sender: Ssrc,
        /// The stream it misses packets of.
        media: Ssrc,
        /// The packets it misses.
        lost: Lost<'a>,
    },
    /// Transport-wide feedback.
    Twcc(Feedback<'a>),
    /// Picture loss indication, RFC 4585 §6.3.1.
    Pli {
        /// Who asks.
        sender: Ssrc,
        /// The stream it needs a keyframe of.
        media: Ssrc,
    },
    /// Full intra request, RFC 5104 §4.3.1.
    Fir {
        /// Who asks.
        sender: Ssrc,
        /// The streams it needs a keyframe of, each with the number of the request.
        requests: FirRequests<'a>,
    },
    /// Receiver estimated maximum bitrate, draft-alvestrand-rmcat-remb §2.2.
    Remb {
        /// Who estimates.
        sender: Ssrc,
        /// Bits per second for all streams named together; `u64::MAX` when the claim does not fit 64 bits.
        bitrate: u64,
        /// The streams.
        sources: Ssrcs<'a>,
    },
    /// XR, RFC 3611.
    Xr {
        /// Who reports.
        ssrc: Ssrc,
        /// What it says of reference times.
        echoes: ReferenceEchoes<'a>,
    },
    /// Anything else, well-formed as far as every part is.
    Other {
        /// The packet type.
        packet_type: u8,
        /// The five bits that are a count or a format.
        format: u8,
    },
}

/// Reads a compound packet part by part. It ends after the first error: what follows a malformed part has no known
/// place. A compound may start with any part, as RFC 5506 allows.
pub fn parse_compound(compound: &[u8]) -> RtcpIter<'_> {
    RtcpIter { rest: compound }
}

/// Iterator over the parts of a compound packet.
#[derive(Clone, Debug)]
pub struct RtcpIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RtcpIter<'a> {
    type Item = Result<Rtcp<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let part = self
            .take_part()
            .and_then(|(header, body)| parse_part(header[1], header[0] & 0x1f, body));
        if part.is_err() {
            self.rest = &[];
        }
        Some(part)
    }
}

impl<'a> RtcpIter<'a> {
    /// Splits off the next part: its header, and its body without padding.
    fn take_part(&mut self) -> Result<([u8; HEADER_LEN], &'a [u8]), RtcpError> {
        let &header = self
            .rest
            .first_chunk::<HEADER_LEN>()
            .ok_or(RtcpError::Truncated)?;
        if header[0] >> 6 != 2 {
            return Err(RtcpError::Version);
        }
        let len = HEADER_LEN + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
        let (part, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(RtcpError::Truncated)?;
        self.rest = rest;
        let mut body = part.get(HEADER_LEN..).unwrap_or_default();
        if header[0] & 0x20 != 0 {
            // A multiple of four (RFC 3550 §6.4.1), but that browsers fill up transport-wide feedback with one to three.
            let padding = usize::from(*body.last().ok_or(RtcpError::Padding)?);
            body = body
                .len()
                .checked_sub(padding)
                .filter(|_| padding > 0)
                .and_then(|len| body.get(..len))
                .ok_or(RtcpError::Padding)?;
        }
        Ok((header, body))
    }
}

fn parse_part(packet_type: u8, format: u8, body: &[u8]) -> Result<Rtcp<'_>, RtcpError> {
    let ssrc_at = |at| u32_at(body, at).map(Ssrc).ok_or(RtcpError::Truncated);
    let tail = |at: usize| body.get(at..).ok_or(RtcpError::Truncated);
    let blocks = |at: usize| {
        let len = usize::from(format) * REPORT_BLOCK_LEN;
        tail(at)?
            .get(..len)
            .map(|blocks| ReportBlocks { blocks })
            .ok_or(RtcpError::Truncated)
    };
    Ok(match (packet_type, format) {
        (SENDER_REPORT, _) => Rtcp::SenderReport {
            ssrc: ssrc_at(0)?,
            info: SenderInfo {
                ntp: u64_at(body, 4).ok_or(RtcpError::Truncated)?,
                rtp_time: RtpTime(u32_at(body, 12).ok_or(RtcpError::Truncated)?),
                packets: u32_at(body, 16).ok_or(RtcpError::Truncated)?,
                octets: u32_at(body, 20).ok_or(RtcpError::Truncated)?,
            },
            blocks: blocks(24)?,
        },
        (RECEIVER_REPORT, _) => Rtcp::ReceiverReport {
            ssrc: ssrc_at(0)?,
            blocks: blocks(4)?,
        },
        (SOURCE_DESCRIPTION, chunks) => Rtcp::Sdes(Sdes {
            rest: body,
            chunks,
            ssrc: None,
        }),
        (GOODBYE, count) => Rtcp::Bye(Ssrcs(
            body.get(..4 * usize::from(count))
                .ok_or(RtcpError::Truncated)?,
        )),
        (TRANSPORT_FEEDBACK, FORMAT_NACK) => Rtcp::Nack {
            sender: ssrc_at(0)?,
            media: ssrc_at(4)?,
            lost: Lost {
                pairs: tail(8)?,
                pending: None,
            },
        },
        (TRANSPORT_FEEDBACK, FORMAT_TWCC) => {
            Rtcp::Twcc(Feedback::parse(ssrc_at(0)?, ssrc_at(4)?, tail(8)?)?)
        }
        (PAYLOAD_FEEDBACK, FORMAT_PLI) => Rtcp::Pli {
            sender: ssrc_at(0)?,
            media: ssrc_at(4)?,
        },
        (PAYLOAD_FEEDBACK, FORMAT_FIR) => Rtcp::Fir {
            sender: ssrc_at(0)?,
            requests: FirRequests(tail(8)?),
        },
        (PAYLOAD_FEEDBACK, FORMAT_APPLICATION) if tail(8)?.starts_with(b"REMB") => {
            let count = usize::from(*body.get(12).ok_or(RtcpError::Truncated)?);
            let rate = u24_at(body, 13).ok_or(RtcpError::Truncated)?;
            let (exponent, mantissa) = (rate >> 18, u64::from(rate & 0x3_ffff));
            let bitrate = if mantissa.leading_zeros() >= exponent {
                mantissa << exponent
            } else {
                u64::MAX
            };
            let sources = Ssrcs(tail(16)?.get(..4 * count).ok_or(RtcpError::Truncated)?);
            Rtcp::Remb {
                sender: ssrc_at(0)?,
                bitrate,
                sources,
            }
        }
        (EXTENDED_REPORT, _) => Rtcp::Xr {
            ssrc: ssrc_at(0)?,
            echoes: ReferenceEchoes::new(tail(4)?),
        },
        _ => Rtcp::Other {
            packet_type,
            format,
        },
    })
}

/// Iterator over report blocks.
#[derive(Clone, Debug)]
pub struct ReportBlocks<'a> {
    blocks: &'a [u8],
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.blocks.split_at_checked(REPORT_BLOCK_LEN)?;
        self.blocks = rest;
        Some(ReportBlock {
            ssrc: Ssrc(u32_at(block, 0)?),
            fraction_lost: *block.get(4)?,
            cumulative_lost: (u24_at(block, 5)? << 8).cast_signed() >> 8,
            highest_seq: u32_at(block, 8)?,
            jitter: u32_at(block, 12)?,
            last_sr: u32_at(block, 16)?,
            delay_since_last_sr: u32_at(block, 20)?,
        })
    }
}

/// Iterator over a list of SSRCs.
#[derive(Clone, Debug)]
pub struct Ssrcs<'a>(&'a [u8]);

impl Iterator for Ssrcs<'_> {
    type Item = Ssrc;

    fn next(&mut self) -> Option<Ssrc> {
        let ssrc = u32_at(self.0, 0)?;
        self.0 = self.0.get(4..)?;
        Some(Ssrc(ssrc))
    }
}

/// Iterator over the sequence numbers that a NACK names: 17 at most for each four bytes of it.
#[derive(Clone, Debug)]
pub struct Lost<'a> {
    pairs: &'a [u8],
    /// The number that the lowest bit of the mask stands for, and the mask.
    pending: Option<(SeqNo, u16)>,
}

impl Iterator for Lost<'_> {
    type Item = SeqNo;

    fn next(&mut self) -> Option<SeqNo> {
        if let Some((first, mask)) = self.pending.take().filter(|(_, mask)| *mask != 0) {
            let offset = mask.trailing_zeros() as u16;
            self.pending = Some((first, mask & (mask - 1)));
            return Some(first.wrapping_add(offset));
        }
        let (pid, mask) = (SeqNo(u16_at(self.pairs, 0)?), u16_at(self.pairs, 2)?);
        self.pairs = self.pairs.get(4..)?;
        self.pending = Some((pid.wrapping_add(1), mask));
        Some(pid)
    }
}

/// Iterator over the streams that a FIR asks a keyframe of, each with the request's sequence number: a number seen
/// before is a repetition (RFC 5104 §4.3.1.2).
#[derive(Clone, Debug)]
pub struct FirRequests<'a>(&'a [u8]);

impl Iterator for FirRequests<'_> {
    type Item = (Ssrc, u8);

    fn next(&mut self) -> Option<(Ssrc, u8)> {
        let request = (Ssrc(u32_at(self.0, 0)?), *self.0.get(4)?);
        self.0 = self.0.get(8..)?;
        Some(request)
    }
}

/// Iterator over the canonical names in a source description; it ends at the first chunk that does not fit.
#[derive(Clone, Debug)]
pub struct Sdes<'a> {
    rest: &'a [u8],
    chunks: u8,
    ssrc: Option<Ssrc>,
}

impl<'a> Iterator for Sdes<'a> {
    type Item = (Ssrc, &'a [u8]);

    fn next(&mut self) -> Option<(Ssrc, &'a [u8])> {
        loop {
            let Some(ssrc) = self.ssrc else {
                self.chunks = self.chunks.checked_sub(1)?;
                self.ssrc = Some(Ssrc(u32_at(self.rest, 0)?));
                self.rest = self.rest.get(4..)?;
                continue;
            };
            let &kind = self.rest.first()?;
            if kind == 0 {
                // A chunk ends with one to four zero bytes, up to the next word. The body is words, as are SSRCs, so
                // what is left tells where words begin.
                let end = match self.rest.len() % 4 {
                    0 => 4,
                    odd => odd,
                };
                self.rest = self.rest.get(end..)?;
                self.ssrc = None;
                continue;
            }
            let len = usize::from(*self.rest.get(1)?);
            let value = self.rest.get(2..2 + len)?;
            self.rest = self.rest.get(2 + len..)?;
            if kind == SDES_CNAME {
                return Some((ssrc, value));
            }
        }
    }
}

#[cfg(test)]
mod tests;
