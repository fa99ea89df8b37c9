//! What a publisher sends and when: frames of packets, repeated for ever.

use parlour_media::Kind;
use std::time::Duration;

/// Ticks of the RTP clock in a second: of Opus (RFC 7587 §4.1) and of video (RFC 7741 §4.1).
pub(crate) fn clock_rate(kind: Kind) -> u32 {
    match kind {
        Kind::Audio => 48_000,
        Kind::Video => 90_000,
    }
}

/// One frame as its packets were or are to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When its first packet may go, since the beginning of the pattern.
    pub at: Duration,
    /// Whether it decodes without earlier ones.
    pub keyframe: bool,
    /// Each packet: how long after `at`, and its bytes from the RTP header to the end of the payload.
    pub packets: Vec<(Duration, usize)>,
}

/// The next packet of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Since the start of the stream.
    pub(crate) at: Duration,
    /// When the frame it belongs to began: what its RTP timestamp says.
    pub(crate) frame_at: Duration,
    pub(crate) size: usize,
    pub(crate) first: bool,
    pub(crate) last: bool,
    pub(crate) keyframe: bool,
}

/// Frames that come again and again, each repetition one period after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    period: Duration,
    packets: Vec<Due>,
}

/// Of one packet: RTP header, extensions, payload descriptor and the stamp have to fit in, and a link has to take it.
const SIZES: std::ops::RangeInclusive<usize> = 60..=1_400;

impl Pattern {
    /// Checks the frames.
    ///
    /// # Errors
    /// A sentence about what is wrong with them.
    pub fn new(period: Duration, frames: &[Frame]) -> Result<Pattern, String> {
        let mut packets: Vec<Due> = Vec::new();
        for frame in frames {
            for (index, &(offset, size)) in frame.packets.iter().enumerate() {
                if !SIZES.contains(&size) {
                    return Err(format!(
                        "a packet of {size} bytes is not between {} and {}",
                        SIZES.start(),
                        SIZES.end()
                    ));
                }
                let due = Due {
                    at: frame.at + offset,
                    frame_at: frame.at,
                    size,
                    first: index == 0,
                    last: index + 1 == frame.packets.len(),
                    keyframe: frame.keyframe,
                };
                if packets.last().is_some_and(|before| before.at > due.at) || due.at >= period {
                    return Err(
                        "the packets of a pattern are in order and lie within its period".into(),
                    );
                }
                packets.push(due);
            }
        }
        if packets.is_empty() {
            return Err("a pattern has at least one packet".into());
        }
        Ok(Pattern { period, packets })
    }

    /// The packet with that number, from 0 for ever.
    pub(crate) fn packet(&self, number: u64) -> Due {
        let count = self.packets.len() as u64;
        let before = self.period.mul_f64((number / count) as f64);
        let due = self.packets[(number % count) as usize];
        Due {
            at: before + due.at,
            frame_at: before + due.frame_at,
            ..due
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn frame(at: u64, packets: &[(u64, usize)]) -> Frame {
        Frame {
            at: ms(at),
            keyframe: at == 0,
            packets: packets.iter().map(|&(at, size)| (ms(at), size)).collect(),
        }
    }

    #[test]
    fn packets_come_again_one_period_later() {
        let pattern = Pattern::new(
            ms(100),
            &[frame(0, &[(0, 100), (1, 200)]), frame(40, &[(0, 300)])],
        )
        .unwrap();
        let told: Vec<_> = (0..6)
            .map(|number| pattern.packet(number))
            .map(|due| (due.at, due.frame_at, due.size, due.first, due.last))
            .collect();
        let expected = [
            (ms(0), ms(0), 100, true, false),
            (ms(1), ms(0), 200, false, true),
            (ms(40), ms(40), 300, true, true),
            (ms(100), ms(100), 100, true, false),
            (ms(101), ms(100), 200, false, true),
            (ms(140), ms(140), 300, true, true),
        ];
        assert_eq!(told, expected);
        assert!(pattern.packet(3).keyframe && !pattern.packet(5).keyframe);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_a_sentence() {
        for (frames, says) in [
            (vec![], "at least one packet"),
            (vec![frame(0, &[(0, 10)])], "10 bytes"),
            (vec![frame(0, &[(0, 5_000)])], "5000 bytes"),
            (vec![frame(0, &[(100, 100)])], "within its period"),
            (
                vec![frame(50, &[(0, 100)]), frame(0, &[(0, 100)])],
                "in order",
            ),
        ] {
            let refused = Pattern::new(ms(100), &frames).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
    }
}
