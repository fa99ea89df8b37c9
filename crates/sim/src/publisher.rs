//! A publisher's track in a simulation: what it sends, and what it answers to the router's requests.

use crate::client::{Header, packet};
use crate::vp8;
use parlour_media::DropReason::{self, Replayed, RtxUseless, TooOld};
use parlour_media::num::{Rng, SeqNo};
use parlour_media::{Kind, ProducerSpec, Ssrc};
use std::collections::HashSet;

/// Packets that it can send again.
const HISTORY: u64 = 512;

/// A packet that was published: what a subscriber must see of it.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its timestamp.
    pub timestamp: u32,
    /// Whether it ends a frame.
    pub marker: bool,
    /// Whether a keyframe begins with it.
    pub starts: bool,
    /// What it carries; empty: padding alone.
    pub payload: Vec<u8>,
}

/// A track: its packets have numbers without holes.
pub struct Publisher {
    /// As the router knows it.
    pub spec: ProducerSpec,
    /// The SSRC of the media; the retransmissions have the next one.
    pub ssrc: Ssrc,
    /// Number of the first packet.
    pub first: u64,
    /// What was published, from the first number on.
    pub published: Vec<Published>,
    /// The next frame is to be a keyframe.
    pub wants_keyframe: bool,
    next_rtx: u64,
    timestamp: u32,
    transport_wide: u16,
}

impl Publisher {
    /// One that has sent nothing yet. Its numbers begin close to a wrap of 16 bits half of the time.
    pub fn new(spec: ProducerSpec, ssrc: Ssrc, rng: &mut Rng) -> Publisher {
        let first = match rng.below(2) {
            0 => 65_000 + rng.below(500),
            _ => rng.below(0x8000),
        };
        Publisher {
            spec,
            ssrc,
            first,
            published: Vec::new(),
            wants_keyframe: true,
            next_rtx: rng.below(0x8000),
            timestamp: rng.next_u32(),
            transport_wide: 0,
        }
    }

    /// The packet of a number.
    pub fn get(&self, number: u64) -> Option<&Published> {
        self.published.get(number.checked_sub(self.first)? as usize)
    }

    /// The number that a sequence number stands for: the nearest to the newest.
    pub fn unwrap(&self, seq: SeqNo) -> Option<u64> {
        let newest = (self.first + self.published.len() as u64).checked_sub(1)?;
        newest.checked_add_signed(i64::from(SeqNo(newest as u16).distance_to(seq)))
    }

    /// The packets of the next frame, plain, each with its number: one of audio, several of video, at times padding.
    pub fn frame(&mut self, rng: &mut Rng) -> Vec<(u64, Vec<u8>)> {
        let is_video = self.spec.kind == Kind::Video;
        let keyframe = is_video && std::mem::take(&mut self.wants_keyframe);
        let parts = match (is_video, keyframe) {
            (false, _) => 1,
            (true, true) => 6 + rng.below(8),
            (true, false) => 1 + rng.below(6),
        };
        self.timestamp = self
            .timestamp
            .wrapping_add(if is_video { 3000 } else { 960 });
        let mut packets = Vec::new();
        for part in 0..parts {
            let mut filling = vec![0; 20 + rng.below(if is_video { 900 } else { 80 }) as usize];
            filling.chunks_mut(8).for_each(|chunk| {
                chunk.copy_from_slice(&rng.next_u64().to_be_bytes()[..chunk.len()]);
            });
            packets.push(self.publish(Published {
                timestamp: self.timestamp,
                marker: is_video && part + 1 == parts,
                starts: !is_video || keyframe && part == 0,
                payload: match is_video {
                    true => vp8(keyframe, part == 0, &filling),
                    false => filling,
                },
            }));
        }
        if is_video && rng.below(10) == 0 {
            packets.push(self.publish(Published {
                timestamp: self.timestamp,
                marker: false,
                starts: false,
                payload: Vec::new(),
            }));
        }
        packets
    }

    fn publish(&mut self, what: Published) -> (u64, Vec<u8>) {
        let number = self.first + self.published.len() as u64;
        let header = self.header(number, &what, false);
        let mut plain = self.packet(&header, &what.payload);
        if what.payload.is_empty() {
            plain[0] |= 0x20;
            plain.extend([0, 0, 0, 4]);
        }
        self.published.push(what);
        (number, plain)
    }

    /// A lost packet again (RFC 4588 §4), plain, with its own number; None: it is too old.
    pub fn repair(&mut self, number: u64) -> Option<(u64, Vec<u8>)> {
        let newest = self.first + self.published.len() as u64;
        let what = self
            .get(number)
            .filter(|_| newest - number < HISTORY)?
            .clone();
        let rtx = self.next_rtx;
        self.next_rtx += 1;
        let header = self.header(rtx, &what, true);
        let body = [&(number as u16).to_be_bytes()[..], &what.payload].concat();
        Some((rtx, self.packet(&header, &body)))
    }

    fn header(&self, number: u64, what: &Published, is_rtx: bool) -> Header {
        let rtx = self.spec.rtx_payload_type.filter(|_| is_rtx);
        Header {
            payload_type: rtx.unwrap_or(self.spec.payload_type),
            ssrc: Ssrc(self.ssrc.0 + u32::from(is_rtx)),
            number,
            timestamp: what.timestamp,
            marker: what.marker,
        }
    }

    fn packet(&mut self, header: &Header, body: &[u8]) -> Vec<u8> {
        self.transport_wide = self.transport_wide.wrapping_add(1);
        packet(&self.spec, header, self.transport_wide, body)
    }
}

/// Which packets of a track came to the router and what it must say to the next one.
#[derive(Default)]
pub struct Arrivals {
    /// Numbers that came, by whichever way.
    pub came: HashSet<u64>,
    direct: HashSet<u64>,
    repairs: HashSet<u64>,
    newest_direct: u64,
    newest_repair: u64,
    base: Option<u64>,
    newest: u64,
}

/// How far SRTP's replay window of the router reaches back, and its reception's.
const REPLAY_WINDOW: u64 = 128;
const RECEPTION_WINDOW: u64 = 1024;

impl Arrivals {
    /// A packet of the stream itself comes: whether it is taken, or why it is dropped.
    pub fn direct(&mut self, number: u64) -> Result<(), DropReason> {
        opened(&mut self.direct, &mut self.newest_direct, number)?;
        let Some(base) = self.base else {
            self.base = Some(number);
            self.newest = number;
            self.came.insert(number);
            return Ok(());
        };
        if number < base || self.newest.saturating_sub(number) >= RECEPTION_WINDOW {
            return Err(TooOld);
        }
        self.newest = self.newest.max(number);
        if !self.came.insert(number) {
            return Err(Replayed);
        }
        Ok(())
    }

    /// The same for a retransmission of `number`, which has a number of its own.
    pub fn repair(&mut self, rtx: u64, number: u64) -> Result<(), DropReason> {
        opened(&mut self.repairs, &mut self.newest_repair, rtx)?;
        let base = self.base.ok_or(RtxUseless)?;
        let is_inside =
            number >= base && number <= self.newest && self.newest - number < RECEPTION_WINDOW;
        match is_inside && self.came.insert(number) {
            true => Ok(()),
            false => Err(RtxUseless),
        }
    }
}

/// What SRTP says (RFC 3711 §3.3.2).
fn opened(before: &mut HashSet<u64>, newest: &mut u64, index: u64) -> Result<(), DropReason> {
    if !before.is_empty() && *newest >= index + REPLAY_WINDOW {
        return Err(TooOld);
    }
    if !before.insert(index) {
        return Err(Replayed);
    }
    *newest = (*newest).max(index);
    Ok(())
}
