//! A publisher's track in a simulation: what it sends, and what it answers to the router's requests.

use crate::arrivals::Sender;
use crate::client::{Header, packet};
use crate::layered::{Encoder, Picture, Shape};
use parlour_media::num::{Rng, SeqNo};
use parlour_media::{Kind, ProducerSpec, Ssrc};
use std::time::Duration;

/// Packets that it can send again.
const HISTORY: u64 = 512;

/// How far apart the numbers of two of its streams are at least. Nothing in a retransmission says of which stream the
/// number in it is (RFC 4588 §8.5 binds them by MID): one under way for the stream before must not look like one of this.
const APART: u16 = 4096;

/// A packet that was published: what a subscriber must see of it.
#[derive(Clone, Debug)]
pub struct Published {
    /// Where it was sent.
    pub sender: Sender,
    /// Its timestamp, and that of the moment that all clocks count from.
    pub timestamp: u32,
    /// See above.
    pub epoch: u32,
    /// Whether it ends a frame.
    pub marker: bool,
    /// Whether a keyframe begins with it.
    pub starts: bool,
    /// What its descriptor says; none of sound, and of padding.
    pub picture: Option<Picture>,
    /// What it carries; empty: padding alone.
    pub payload: Vec<u8>,
}

/// A track: its packets have numbers without holes, until it jumps or changes its SSRC.
pub struct Publisher {
    /// As the router knows it.
    pub spec: ProducerSpec,
    /// The SSRC of the media; the retransmissions have the next one.
    pub ssrc: Ssrc,
    /// What was published, each in the place of its id.
    pub published: Vec<Published>,
    /// The next frame is to be a keyframe.
    pub wants_keyframe: bool,
    /// Whether it sends again what is lost. One in four does not, so that there are holes for good.
    repairs: bool,
    /// Id and number of the first packet since the numbers last jumped.
    since: (u64, u64),
    next_rtx: u64,
    encoder: Encoder,
    /// How large its packets are: a half of that for each step.
    steps: u32,
    /// The timestamp of the moment that all clocks count from.
    epoch: u32,
    timestamp: u32,
    transport_wide: u16,
}

impl Publisher {
    /// One that has sent nothing yet.
    pub fn new(
        spec: ProducerSpec,
        ssrc: Ssrc,
        (shape, steps): (Shape, u32),
        rng: &mut Rng,
    ) -> Publisher {
        Publisher {
            encoder: Encoder::new(shape, rng),
            steps,
            epoch: rng.next_u32(),
            spec,
            ssrc,
            published: Vec::new(),
            wants_keyframe: true,
            repairs: rng.below(4) != 0,
            since: (0, first_number(rng)),
            next_rtx: rng.below(0x8000),
            timestamp: 0,
            transport_wide: 0,
        }
    }

    /// How many packets it has published: the next id.
    pub fn count(&self) -> u64 {
        self.published.len() as u64
    }

    /// The number of the next packet.
    pub fn next_number(&self) -> u64 {
        self.since.1 + (self.count() - self.since.0)
    }

    /// It goes on under another SSRC, as one that was started again does: other numbers, another time line, and a
    /// keyframe or none.
    pub fn change_ssrc(&mut self, ssrc: Ssrc, rng: &mut Rng) {
        let before = SeqNo(self.next_number() as u16);
        let far = |number: &u64| before.distance_to(SeqNo(*number as u16)).unsigned_abs() >= APART;
        let first = std::iter::repeat_with(|| first_number(rng)).find(far);
        self.since = (self.count(), first.expect("most numbers are far"));
        self.ssrc = ssrc;
        self.next_rtx = rng.below(0x8000);
        self.epoch = rng.next_u32();
        self.encoder.start_anew(rng);
        self.wants_keyframe |= rng.below(2) == 0;
    }

    /// Its numbers jump ahead under the same SSRC, by more than any loss and by less than a third of what SRTP can follow
    /// (RFC 3711 §3.3.1); its timestamps may jump anywhere.
    pub fn jump(&mut self, rng: &mut Rng) {
        let number = self.next_number() + u64::from(APART) + rng.below(6000);
        self.since = (self.count(), number);
        if rng.below(2) == 0 {
            self.epoch = rng.next_u32();
        }
    }

    /// The packet of an id.
    pub fn get(&self, id: u64) -> Option<&Published> {
        self.published.get(id as usize)
    }

    /// The packet that a sequence number stands for: the nearest to the newest, if that is of the numbers it has now.
    pub fn find(&self, seq: SeqNo) -> Option<u64> {
        let newest = self.next_number().checked_sub(1)?;
        let ahead = i64::from(SeqNo(newest as u16).distance_to(seq));
        let number = newest.checked_add_signed(ahead)?;
        let id = self.since.0 + number.checked_sub(self.since.1)?;
        (id < self.count()).then_some(id)
    }

    /// What its clock showed at the moment that all clocks count from.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What its clock shows so long after the moment that all clocks count from.
    pub fn clock(&self, at: Duration) -> u32 {
        let rate = u128::from(self.spec.kind.clock_rate());
        let ticks = at.as_micros() * rate / 1_000_000;
        self.epoch.wrapping_add(ticks as u32)
    }

    /// The packets of the next frame, plain, each with its id: one of audio, several of video, at times padding.
    pub fn frame(&mut self, at: Duration, rng: &mut Rng) -> Vec<(u64, Vec<u8>)> {
        let is_video = self.spec.kind == Kind::Video;
        let keyframe = is_video && std::mem::take(&mut self.wants_keyframe);
        let parts = match (is_video, keyframe) {
            (false, _) => 1,
            (true, true) => 6 + rng.below(8),
            (true, false) => 1 + rng.below(6),
        };
        self.timestamp = self.clock(at);
        let picture = is_video.then(|| self.encoder.next(keyframe));
        let most = if is_video { 900 >> self.steps } else { 80 };
        let mut packets = Vec::new();
        for part in 0..parts {
            let mut filling = vec![0; 20 + rng.below(most) as usize];
            filling.chunks_mut(8).for_each(|chunk| {
                chunk.copy_from_slice(&rng.next_u64().to_be_bytes()[..chunk.len()]);
            });
            let payload = match picture {
                Some(picture) => picture.payload(keyframe, part == 0, &filling),
                None => filling,
            };
            let marker = is_video && part + 1 == parts;
            let starts = !is_video || keyframe && part == 0;
            packets.push(self.publish(marker, starts, picture, payload));
        }
        if is_video && rng.below(10) == 0 {
            packets.push(self.publish(false, false, None, Vec::new()));
        }
        packets
    }

    fn publish(
        &mut self,
        marker: bool,
        starts: bool,
        picture: Option<Picture>,
        payload: Vec<u8>,
    ) -> (u64, Vec<u8>) {
        let sender = Sender {
            id: self.count(),
            ssrc: self.ssrc,
            number: self.next_number(),
        };
        let what = Published {
            sender,
            timestamp: self.timestamp,
            epoch: self.epoch,
            marker,
            starts,
            picture,
            payload,
        };
        let header = self.header(sender.number, &what, false);
        let mut plain = self.packet(&header, &what.payload);
        if what.payload.is_empty() {
            plain[0] |= 0x20;
            plain.extend([0, 0, 0, 4]);
        }
        self.published.push(what);
        (sender.id, plain)
    }

    /// A lost packet again (RFC 4588 §4), plain, with its own number; None: it is too old, or none is.
    pub fn repair(&mut self, id: u64) -> Option<(u64, Vec<u8>)> {
        let what = self
            .get(id)
            .filter(|_| self.repairs && self.count() - id < HISTORY)?
            .clone();
        let rtx = self.next_rtx;
        self.next_rtx += 1;
        let header = self.header(rtx, &what, true);
        let body = [
            &(what.sender.number as u16).to_be_bytes()[..],
            &what.payload,
        ]
        .concat();
        Some((rtx, self.packet(&header, &body)))
    }

    fn header(&self, number: u64, what: &Published, is_rtx: bool) -> Header {
        let rtx = self.spec.rtx_payload_type.filter(|_| is_rtx);
        let media = what.sender.ssrc;
        Header {
            payload_type: rtx.unwrap_or(self.spec.payload_type),
            ssrc: if is_rtx { rtx_of(media) } else { media },
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

/// The SSRC of the retransmissions of a stream.
pub fn rtx_of(media: Ssrc) -> Ssrc {
    Ssrc(media.0 + 1)
}

/// Half of the time close to a wrap of 16 bits, otherwise in the lower half (RFC 3711 §3.3.1).
fn first_number(rng: &mut Rng) -> u64 {
    match rng.below(2) {
        0 => 65_000 + rng.below(300),
        _ => rng.below(0x8000),
    }
}
