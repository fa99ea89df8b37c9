//! What came of one stream: every packet once, or which were missing and which came twice.

use crate::socket::Stamp;
use parlour_media::num::{SeqNo, Ssrc};
use parlour_media::rtcp::ReportBlock;
use parlour_media::rtp::RtpHeader;

/// Numbers behind the newest of which it is known whether they came: over a second of video.
const WINDOW: u64 = 1024;

/// What is told of a stream that is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamReport {
    /// Its SSRC.
    pub ssrc: u32,
    /// Packets that came, each counted once.
    pub received: u64,
    /// Numbers between the first and the newest that have not come.
    pub missing: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Frames whose last packet came.
    pub frames: u64,
}

pub(crate) struct Tally {
    pub(crate) ssrc: Ssrc,
    first: u64,
    newest: u64,
    received: u64,
    duplicates: u64,
    frames: u64,
    seen: [u64; (WINDOW / 64) as usize],
    /// The last sender report: the middle of its time, and when it came.
    pub(crate) sender_report: Option<(u32, Stamp)>,
    reported_expected: u64,
    reported_received: u64,
}

/// What a packet was to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It came for the first time. Its rollover counter (RFC 3711 §3.3.1).
    Fresh {
        roc: u32,
    },
    Duplicate,
}

impl Tally {
    /// Of a stream whose first packet has this header.
    pub(crate) fn new(header: &RtpHeader) -> Tally {
        // One cycle ahead, so that what was sent before the first packet has a number too.
        let first = 0x1_0000 + u64::from(header.seq.0);
        Tally {
            ssrc: header.ssrc,
            first,
            newest: first - 1,
            received: 0,
            duplicates: 0,
            frames: 0,
            seen: [0; (WINDOW / 64) as usize],
            sender_report: None,
            reported_expected: 0,
            reported_received: 0,
        }
    }

    pub(crate) fn take(&mut self, header: &RtpHeader) -> Place {
        let distance = i64::from(SeqNo(self.newest as u16).distance_to(header.seq));
        let number = self.newest.saturating_add_signed(distance);
        if number > self.newest {
            // What lies between was not seen; a jump over the whole window clears it once.
            for skipped in (self.newest + 1..=number).rev().take(WINDOW as usize) {
                self.mark(skipped, false);
            }
            self.newest = number;
        } else if self.newest - number >= WINDOW || self.is_marked(number) {
            self.duplicates += 1;
            return Place::Duplicate;
        }
        self.mark(number, true);
        self.first = self.first.min(number);
        self.received += 1;
        self.frames += u64::from(header.marker);
        Place::Fresh {
            roc: (number >> 16) as u32 - 1,
        }
    }

    fn mark(&mut self, number: u64, seen: bool) {
        let (word, bit) = ((number % WINDOW / 64) as usize, 1 << (number % 64));
        if seen {
            self.seen[word] |= bit;
        } else {
            self.seen[word] &= !bit;
        }
    }

    fn is_marked(&self, number: u64) -> bool {
        self.seen[(number % WINDOW / 64) as usize] & 1 << (number % 64) != 0
    }

    fn expected(&self) -> u64 {
        self.newest + 1 - self.first
    }

    pub(crate) fn report(&self) -> StreamReport {
        StreamReport {
            ssrc: self.ssrc.0,
            received: self.received,
            missing: self.expected() - self.received,
            duplicates: self.duplicates,
            frames: self.frames,
        }
    }

    /// The block of a receiver report (RFC 3550 §6.4.1), without jitter: nothing here knows the stream's clock.
    pub(crate) fn report_block(&mut self, now: Stamp) -> ReportBlock {
        let (expected, received) = (self.expected(), self.received);
        let lately = expected - self.reported_expected;
        let lost = lately.saturating_sub(received - self.reported_received);
        (self.reported_expected, self.reported_received) = (expected, received);
        let (last_sr, came) = self.sender_report.unwrap_or((0, now));
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256).checked_div(lately).unwrap_or(0).min(255) as u8,
            cumulative_lost: (expected - received) as i32,
            highest_seq: (self.newest - 0x1_0000) as u32,
            jitter: 0,
            last_sr,
            delay_since_last_sr: (now.0.saturating_sub(came.0) * 65_536 / 1_000_000_000) as u32,
        }
    }
}

/// The value of a header extension in the one-byte form (RFC 8285 §4.2), read from a packet that is still encrypted.
pub(crate) fn extension(packet: &[u8], id: u8) -> Option<&[u8]> {
    let first = *packet.first()?;
    let at = 12 + 4 * usize::from(first & 0x0f);
    let &[0xbe, 0xde, high, low] = packet.get(at..)?.first_chunk::<4>()? else {
        return None;
    };
    if first & 0x10 == 0 {
        return None;
    }
    let words = usize::from(u16::from_be_bytes([high, low]));
    let mut rest = packet.get(at + 4..at + 4 + 4 * words)?;
    while let Some((&head, after)) = rest.split_first() {
        if head == 0 {
            rest = after;
            continue;
        }
        let value = after.get(..usize::from(head & 0x0f) + 1)?;
        if head >> 4 == id {
            return Some(value);
        }
        rest = &after[value.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlour_media::num::{PayloadType, RtpTime};
    use parlour_media::rtp;

    fn header(seq: u16) -> RtpHeader {
        let mut packet = [0; 64];
        let at = rtp::write_header(
            &mut packet,
            true,
            PayloadType(96),
            SeqNo(seq),
            RtpTime(0),
            Ssrc(7),
            &[(3, &[1, 2])],
        );
        assert_eq!(extension(&packet[..at + 8], 3), Some(&[1, 2][..]));
        assert_eq!(extension(&packet[..at + 8], 4), None);
        RtpHeader::parse(&packet[..at + 8]).unwrap()
    }

    fn tally(numbers: impl IntoIterator<Item = u16>) -> Tally {
        let mut numbers = numbers.into_iter().peekable();
        let mut tally = Tally::new(&header(*numbers.peek().unwrap()));
        for number in numbers {
            tally.take(&header(number));
        }
        tally
    }

    #[test]
    fn all_packets_over_two_wraps_are_all_once() {
        let told = tally((0..150_000_u32).map(|number| (number + 65_000) as u16)).report();
        assert_eq!(
            (told.received, told.missing, told.duplicates),
            (150_000, 0, 0)
        );
        assert_eq!(told.frames, 150_000);
    }

    #[test]
    fn the_rollover_counter_follows_the_wraps_in_any_order() {
        let mut tally = Tally::new(&header(65_534));
        let places = [65_534, 0, 65_535, 65_533, 1].map(|number| tally.take(&header(number)));
        let rocs = [0, 1, 0, 0, 1].map(|roc| Place::Fresh { roc });
        assert_eq!(places, rocs);
        assert_eq!(tally.report().missing, 0);
    }

    #[test]
    fn what_is_missing_and_what_comes_twice_is_counted_exactly() {
        let told = tally([10, 11, 14, 11, 13, 13, 14]).report();
        assert_eq!((told.received, told.missing, told.duplicates), (4, 1, 3));
        let told = tally([10, 5_000, 10]).report();
        assert_eq!(
            (told.received, told.missing, told.duplicates),
            (2, 4_989, 1)
        );
    }

    #[test]
    fn a_receiver_report_tells_the_loss_since_the_last_one() {
        let mut tally = tally([0, 1, 2, 3]);
        assert_eq!(tally.report_block(Stamp(0)).fraction_lost, 0);
        tally.take(&header(7));
        let block = tally.report_block(Stamp(0));
        assert_eq!((block.fraction_lost, block.cumulative_lost), (192, 3));
        assert_eq!(block.highest_seq, 7);
    }
}
