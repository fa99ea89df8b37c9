//! A stream that a publisher sends: its packets when they are due, its sender reports, its keyframes when asked.

use crate::pattern::{Pattern, clock_rate};
use crate::payload::{self, MIN_PAYLOAD, Part};
use parlour_media::Kind;
use parlour_media::num::{ExtSeqNo, PayloadType, RtpTime, Ssrc};
use parlour_media::rtcp::{self, SenderInfo};
use parlour_media::rtp;
use std::sync::Arc;
use std::time::Duration;

/// A stream that is so late goes on from there: the machine stood still.
const MOST_BEHIND: Duration = Duration::from_millis(250);
/// Seconds between 1900 and 1970 (RFC 5905 §6).
const NTP_EPOCH: u64 = 2_208_988_800;

/// How a stream is sent.
#[derive(Clone, Debug)]
pub struct OutgoingSpec {
    /// Audio or video.
    pub kind: Kind,
    /// Its SSRC.
    pub ssrc: u32,
    /// Its payload type.
    pub payload_type: u8,
    /// The id of the transport-wide sequence number (RFC 8285), if it is negotiated.
    pub twcc_extension: Option<u8>,
    /// What to send when.
    pub pattern: Arc<Pattern>,
    /// How long after the start the pattern begins: so that publishers do not send at the same instant.
    pub phase: Duration,
}

pub(crate) struct Outgoing {
    pub(crate) spec: OutgoingSpec,
    /// When it started for the first time, and when it did last, if it sends.
    began: Option<Duration>,
    started: Option<Duration>,
    number: u64,
    next_seq: ExtSeqNo,
    time_base: u32,
    picture: u16,
    keyframe_wanted: bool,
    in_keyframe: bool,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// A packet that was written: its length without a tag, and its rollover counter.
pub(crate) struct Written {
    pub(crate) len: usize,
    pub(crate) roc: u32,
}

impl Outgoing {
    /// `first_seq` is in the lower half, so that whoever misses the first packets knows the cycle (RFC 3711 §3.3.1).
    pub(crate) fn new(spec: OutgoingSpec, first_seq: u16, time_base: u32) -> Outgoing {
        Outgoing {
            spec,
            began: None,
            started: None,
            number: 0,
            next_seq: ExtSeqNo(u64::from(first_seq & 0x7fff)),
            time_base,
            picture: 0,
            keyframe_wanted: true,
            in_keyframe: false,
            packets: 0,
            bytes: 0,
        }
    }

    pub(crate) fn start(&mut self, now: Duration) {
        if self.started.is_none() {
            self.began.get_or_insert(now);
            self.started = Some(now + self.spec.phase);
            self.number = 0;
        }
    }

    pub(crate) fn stop(&mut self) {
        self.started = None;
    }

    pub(crate) fn want_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// When the next packet is due; `None` while it does not send.
    pub(crate) fn due(&self) -> Option<Duration> {
        Some(self.started? + self.spec.pattern.packet(self.number).at)
    }

    /// Nothing is made up for after the machine stood still: the rest of the stream is that much later. Returns how
    /// late the next packet is.
    pub(crate) fn settle(&mut self, now: Duration) -> Duration {
        let late = self
            .due()
            .map_or(Duration::ZERO, |due| now.saturating_sub(due));
        if late > MOST_BEHIND {
            self.started = self.started.map(|started| started + late);
        }
        late
    }

    /// Writes the next packet into `buffer`. `None` when the buffer is too short.
    pub(crate) fn write(
        &mut self,
        buffer: &mut [u8],
        transport_seq: u16,
        sent_ns: u64,
    ) -> Option<Written> {
        let due = self.spec.pattern.packet(self.number);
        if due.first {
            self.in_keyframe = due.keyframe || std::mem::take(&mut self.keyframe_wanted);
            self.picture = (self.picture + 1) & 0x7fff;
        }
        let number = transport_seq.to_be_bytes();
        let extensions = self.spec.twcc_extension.map(|id| (id, &number[..]));
        let header_len = rtp::write_header(
            buffer,
            due.last && self.spec.kind == Kind::Video,
            PayloadType(self.spec.payload_type),
            self.next_seq.seq(),
            self.rtp_time(due.frame_at),
            Ssrc(self.spec.ssrc),
            extensions.as_slice(),
        );
        let len = due.size.max(header_len + MIN_PAYLOAD);
        let payload = buffer.get_mut(header_len..len)?;
        if header_len == 0 {
            return None;
        }
        let part = Part {
            kind: self.spec.kind,
            first: due.first,
            keyframe: self.in_keyframe,
            picture: self.picture,
        };
        payload::write(payload, &part, sent_ns);
        let roc = self.next_seq.roc();
        self.next_seq = self.next_seq.plus(1);
        self.number += 1;
        self.packets += 1;
        self.bytes += len as u64;
        Some(Written { len, roc })
    }

    /// The RTP time that long after it started last.
    fn rtp_time(&self, since: Duration) -> RtpTime {
        let before = self.started.unwrap_or_default() - self.began.unwrap_or_default();
        let clock_rate = u128::from(clock_rate(self.spec.kind));
        let ticks = (before + since).as_nanos() * clock_rate / 1_000_000_000;
        RtpTime(self.time_base.wrapping_add(ticks as u32))
    }

    /// Writes a sender report with a name (RFC 3550 §6.1). Returns its length, 0 before the stream began.
    pub(crate) fn write_report(&self, buffer: &mut [u8], now: Duration, now_ns: u64) -> usize {
        let Some(since) = self.started.and_then(|started| now.checked_sub(started)) else {
            return 0;
        };
        let fraction = (u128::from(now_ns % 1_000_000_000) << 32) / 1_000_000_000;
        let info = SenderInfo {
            ntp: (now_ns / 1_000_000_000 + NTP_EPOCH) << 32 | fraction as u64,
            rtp_time: self.rtp_time(since),
            packets: self.packets as u32,
            octets: self.bytes as u32,
        };
        let ssrc = Ssrc(self.spec.ssrc);
        let len = rtcp::write_sender_report(buffer, ssrc, &info, &[]);
        len + rtcp::write_sdes_cname(&mut buffer[len..], ssrc, "load")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Frame;
    use parlour_media::codecs::{Codec, is_keyframe_start};
    use parlour_media::rtp::RtpView;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Two packets a frame, a frame each 40 ms.
    fn video() -> Outgoing {
        let frame = Frame {
            at: Duration::ZERO,
            keyframe: false,
            packets: vec![(ms(0), 1_100), (ms(0), 900)],
        };
        let spec = OutgoingSpec {
            kind: Kind::Video,
            ssrc: 7,
            payload_type: 96,
            twcc_extension: Some(3),
            pattern: Arc::new(Pattern::new(ms(40), &[frame]).unwrap()),
            phase: ms(5),
        };
        Outgoing::new(spec, 0x7fff, 1_000)
    }

    fn next(stream: &mut Outgoing) -> (u16, u32, bool, usize, bool, u32) {
        let mut buffer = [0; 1_500];
        let written = stream.write(&mut buffer, 9, 1).unwrap();
        let view = RtpView::parse(&buffer[..written.len]).unwrap();
        assert_eq!(view.extension(3), Some(&[0, 9][..]));
        let keyframe = is_keyframe_start(Codec::Vp8, view.payload());
        (
            view.seq().0,
            view.timestamp().0,
            view.marker(),
            written.len,
            keyframe,
            written.roc,
        )
    }

    #[test]
    fn frames_follow_the_pattern_and_the_first_is_a_keyframe() {
        let mut stream = video();
        assert_eq!(stream.due(), None);
        stream.start(ms(100));
        assert_eq!(stream.due(), Some(ms(105)));
        assert_eq!(next(&mut stream), (0x7fff, 1_450, false, 1_100, true, 0));
        assert_eq!(next(&mut stream), (0x8000, 1_450, true, 900, false, 0));
        assert_eq!(stream.due(), Some(ms(145)));
        assert_eq!(next(&mut stream), (0x8001, 5_050, false, 1_100, false, 0));
        stream.want_keyframe();
        assert!(!next(&mut stream).4, "not in the middle of a frame");
        assert!(next(&mut stream).4);
    }

    #[test]
    fn a_stream_that_stood_still_goes_on_from_there() {
        let mut stream = video();
        stream.start(ms(0));
        assert_eq!(stream.settle(ms(105)), ms(100));
        assert_eq!(stream.due(), Some(ms(5)), "a little late is made up for");
        assert_eq!(stream.settle(ms(1_005)), ms(1_000));
        assert_eq!(stream.due(), Some(ms(1_005)));
    }

    #[test]
    fn time_goes_on_when_a_stream_starts_again() {
        let mut stream = video();
        stream.start(ms(0));
        let before = next(&mut stream).1;
        stream.stop();
        assert_eq!(stream.due(), None);
        stream.start(ms(2_000));
        assert_eq!(next(&mut stream).1 - before, 180_000);
    }
}
