//! The estimate of what a path carries, fed with any sequence of packets sent and of feedback.

use parlour_media::congestion::{Bandwidth, LEAST, MOST};
use parlour_media::num::Ssrc;
use parlour_media::rtcp::{Rtcp, parse_compound};
use parlour_media::twcc::TwccRecorder;
use std::time::{Duration, Instant};

/// Both ends of the path.
struct Path {
    bandwidth: Bandwidth,
    recorder: TwccRecorder,
    started: Instant,
    now: Instant,
    sent: u64,
    probe: Option<u8>,
}

impl Path {
    /// A packet goes out and, unless it is lost, arrives after so many milliseconds.
    fn send(&mut self, bytes: usize, numbered: bool, takes: Option<u8>) {
        let number = self.bandwidth.next_number();
        let probe = self.probe;
        let given = numbered.then_some(number);
        self.bandwidth.on_sent(self.now, given, bytes, probe);
        self.sent += bytes as u64;
        if let Some(takes) = takes.filter(|_| numbered) {
            let at = self.now - self.started + Duration::from_millis(u64::from(takes));
            self.recorder.on_packet(number.0, at);
        }
    }

    /// Feedback of an honest peer.
    fn report(&mut self) {
        let mut buf = [0; 1200];
        while let Some(len) = self.recorder.build(&mut buf, Ssrc(1), Ssrc(2)) {
            self.hear(&buf[..len]);
        }
    }

    fn hear(&mut self, packet: &[u8]) {
        let Some(Ok(Rtcp::Twcc(feedback))) = parse_compound(packet).next() else {
            return;
        };
        let ignored = self.bandwidth.on_feedback(self.now, &feedback);
        let told = u64::from(feedback.status_count);
        assert!(ignored.never_sent + ignored.forgotten <= told);
    }

    /// Whatever happened, it is within its bounds, and nothing was acknowledged that was not sent.
    fn check(&self) {
        assert!((LEAST..=MOST).contains(&self.bandwidth.estimate()));
        assert!((0.0..=1.0).contains(&self.bandwidth.loss()));
        let most = self.sent * 8 * 20;
        assert!(self.bandwidth.acknowledged().is_none_or(|it| it <= most));
    }
}

/// Any bytes are a sequence of things that happen, four bytes and a kind each.
pub fn bandwidth(data: &[u8]) {
    let now = Instant::now();
    let mut path = Path {
        bandwidth: Bandwidth::default(),
        recorder: TwccRecorder::new(),
        started: now,
        now,
        sent: 0,
        probe: None,
    };
    path.bandwidth.expect_feedback();
    let mut rest = data;
    while let Some((&[kind, a, b, c, d], after)) = rest.split_first_chunk() {
        rest = after;
        let word = u32::from_be_bytes([a, b, c, d]);
        match kind % 9 {
            // A frame, a part of it lost.
            0 => {
                for packet in 0..a % 16 {
                    let takes = (c & 1 << (packet % 8) == 0).then_some(d);
                    path.send(usize::from(b) * 6, true, takes);
                }
            }
            1 => path.now += Duration::from_micros(u64::from(word) >> (8 + a % 8)),
            2 => path.report(),
            3 => {
                let len = usize::from(a).min(rest.len());
                let (body, after) = rest.split_at(len);
                rest = after;
                let mut packet = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
                packet.extend(body);
                packet.resize(packet.len().next_multiple_of(4), 0);
                let words = (packet.len() / 4 - 1) as u16;
                packet[2..4].copy_from_slice(&words.to_be_bytes());
                path.hear(&packet);
            }
            4 => path
                .bandwidth
                .on_remb(path.now, 1 << (a % 64) | u64::from(word)),
            5 => {
                let round_trip = Duration::from_millis(u64::from(d) * 16);
                path.bandwidth
                    .on_report(path.now, a, u64::from(word), Some(round_trip));
            }
            6 => path.bandwidth.on_tick(path.now),
            7 => {
                path.bandwidth.set_wanted(Some(u64::from(word) << (a % 32)));
                path.probe = path.bandwidth.wants_probe(path.now).map(|it| it.cluster);
            }
            _ => path.send(usize::from(b), a & 1 == 0, Some(d)),
        }
        path.check();
    }
}
