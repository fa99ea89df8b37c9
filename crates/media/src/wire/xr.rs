//! Extended reports (RFC 3611), of which two blocks tell a receiver its round trip: it names a time of its own, and the
//! sender says which one it saw last and how long ago.

use crate::wire::bytes::{Writer, u16_at, u32_at};
use crate::wire::num::Ssrc;

/// Packet type (RFC 3611 §2).
pub(super) const EXTENDED_REPORT: u8 = 207;

const REFERENCE_TIME: u8 = 4; // RFC 3611 §4.4
const DELAY_SINCE_REFERENCE: u8 = 5; // RFC 3611 §4.5

/// What a sender says of the reference times of one receiver (DLRR, RFC 3611 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceEcho {
    /// The receiver.
    pub ssrc: Ssrc,
    /// The middle 32 bits of its last reference time, 0 when none came.
    pub last_reference: u32,
    /// The delay since that in 1/65536 s.
    pub delay: u32,
}

/// Iterator over the echoes in an extended report; other blocks are passed over, and it ends at the first that does not
/// fit.
#[derive(Clone, Debug)]
pub struct ReferenceEchoes<'a> {
    blocks: &'a [u8],
    /// What is left of the block that is read.
    block: &'a [u8],
}

impl<'a> ReferenceEchoes<'a> {
    pub(super) fn new(blocks: &'a [u8]) -> Self {
        ReferenceEchoes { blocks, block: &[] }
    }
}

impl Iterator for ReferenceEchoes<'_> {
    type Item = ReferenceEcho;

    fn next(&mut self) -> Option<ReferenceEcho> {
        loop {
            if let Some((echo, rest)) = self.block.split_at_checked(12) {
                self.block = rest;
                return Some(ReferenceEcho {
                    ssrc: Ssrc(u32_at(echo, 0)?),
                    last_reference: u32_at(echo, 4)?,
                    delay: u32_at(echo, 8)?,
                });
            }
            let kind = *self.blocks.first()?;
            let end = 4 + 4 * usize::from(u16_at(self.blocks, 2)?);
            let (block, rest) = self.blocks.split_at_checked(end)?;
            self.blocks = rest;
            if kind == DELAY_SINCE_REFERENCE {
                self.block = block.get(4..)?;
            }
        }
    }
}

/// A report that names our time, of which the middle 32 bits will be echoed; 0 when it does not fit.
pub fn write_reference_time(buf: &mut [u8], sender: Ssrc, ntp: u64) -> usize {
    let mut out = Writer::new(buf);
    out.u8(0x80);
    out.u8(EXTENDED_REPORT);
    out.u16(4);
    out.u32(sender.0);
    out.u8(REFERENCE_TIME);
    out.u8(0);
    out.u16(2);
    out.u64(ntp);
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtcp::{Rtcp, parse_compound};

    fn echoes(report: &[u8]) -> Vec<ReferenceEcho> {
        let part = parse_compound(report).next();
        match part {
            Some(Ok(Rtcp::Xr { echoes, .. })) => echoes.collect(),
            other => panic!("{other:?}"),
        }
    }

    /// An extended report of these blocks, each a type and its words.
    fn report(blocks: &[(u8, &[u32])]) -> Vec<u8> {
        let mut body = 9u32.to_be_bytes().to_vec();
        for (kind, words) in blocks {
            body.extend([*kind, 0]);
            body.extend((words.len() as u16).to_be_bytes());
            body.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        }
        let mut report = vec![0x80, EXTENDED_REPORT];
        report.extend((body.len() as u16 / 4).to_be_bytes());
        report.extend(body);
        report
    }

    #[test]
    fn echoes_are_found_among_other_blocks() {
        let report = report(&[
            (4, &[1, 2]),
            (5, &[10, 11, 12, 20, 21, 22]),
            (99, &[]),
            (5, &[30, 31, 32]),
        ]);
        let found = echoes(&report);
        let expected = [10, 20, 30].map(|ssrc| ReferenceEcho {
            ssrc: Ssrc(ssrc),
            last_reference: ssrc + 1,
            delay: ssrc + 2,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_block_that_reaches_past_the_end_ends_the_reading() {
        let mut cut = report(&[(5, &[10, 11, 12]), (5, &[20, 21, 22])]);
        let second = cut.len() - 16;
        cut[second + 3] = 4;
        assert_eq!(echoes(&cut).len(), 1);
        // An echo that is cut off is none.
        assert_eq!(echoes(&report(&[(5, &[10, 11])])), []);
        assert_eq!(echoes(&report(&[])), []);
    }

    #[test]
    fn our_time_is_written_as_the_standard_has_it() {
        let mut buf = [0; 20];
        let len = write_reference_time(&mut buf, Ssrc(0x0102_0304), 0x1122_3344_5566_7788);
        let expected = [
            0x80, 207, 0, 4, 1, 2, 3, 4, 4, 0, 0, 2, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
        ];
        assert_eq!((len, buf), (20, expected));
        assert_eq!(write_reference_time(&mut buf[..19], Ssrc(1), 1), 0);
    }
}
