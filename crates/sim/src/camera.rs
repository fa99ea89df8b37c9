//! Made-up video.

use crate::{Sim, VIDEO_PT};
use std::time::Duration;

/// A payload that looks like VP8 (RFC 7741 §4.2): the first packet of a keyframe, or anything else.
pub fn vp8(keyframe: bool, first: bool, filling: &[u8]) -> Vec<u8> {
    let descriptor = if first { 0x10 } else { 0x00 };
    let header = if keyframe && first { 0x00 } else { 0x01 };
    [&[descriptor, header], filling].concat()
}

/// A publisher of made-up video: frames of some packets, 30 a second.
pub struct Camera {
    /// Whose it is.
    pub peer: usize,
    /// The SSRC it sends under.
    pub ssrc: u32,
    /// The number of the next packet.
    pub seq: u64,
    /// The timestamp of the next frame.
    pub time: u32,
    /// Packets of a frame.
    pub packets_per_frame: u64,
    /// Frames so far.
    pub frames: u64,
    /// The payloads so far.
    pub sent: Vec<Vec<u8>>,
}

impl Camera {
    /// One that has sent nothing yet.
    pub fn new(peer: usize, ssrc: u32, seq: u64, time: u32) -> Camera {
        Camera {
            peer,
            ssrc,
            seq,
            time,
            packets_per_frame: 4,
            frames: 0,
            sent: Vec::new(),
        }
    }

    /// One frame; what it contains is unique.
    pub fn frame(&mut self, sim: &mut Sim, keyframe: bool) {
        for part in 0..self.packets_per_frame {
            let mut filling = vec![0; 300 + sim.rng.below(700) as usize];
            filling
                .iter_mut()
                .for_each(|byte| *byte = sim.rng.next_u32() as u8);
            let payload = vp8(keyframe, part == 0, &filling);
            self.sent.push(payload.clone());
            let last = part + 1 == self.packets_per_frame;
            sim.send(
                (self.peer, self.ssrc),
                VIDEO_PT,
                self.seq,
                self.time,
                last,
                payload,
            );
            self.seq += 1;
        }
        self.time = self.time.wrapping_add(3000);
        self.frames += 1;
        sim.run(Duration::from_millis(33));
    }
}
