//! VP8 as encoders make it: numbered pictures in temporal layers (RFC 7741 §4.2), or a descriptor that says nothing.

use parlour_media::num::Rng;

/// What a publisher's descriptors say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    Plain,
    /// The number of the picture, in 15 bits or in 7.
    Numbered {
        /// Whether it has 15.
        is_long: bool,
    },
    /// The same with three temporal layers and the number of the last picture of the lowest.
    Layered {
        /// Whether a picture's number has 15 bits.
        is_long: bool,
    },
}

impl Shape {
    /// One of them.
    pub fn random(rng: &mut Rng) -> Shape {
        let is_long = rng.below(3) != 0;
        match rng.below(4) {
            0 => Shape::Plain,
            1 => Shape::Numbered { is_long },
            _ => Shape::Layered { is_long },
        }
    }
}

/// What is said of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Counts all that this publisher made.
    pub frame: u64,
    /// Its number as it is written, if it has one, and whether that has 15 bits.
    pub number: Option<(u16, bool)>,
    /// The number of the last one of the lowest layer, its temporal layer, and whether it depends on the lowest alone.
    pub layer: Option<(u8, u8, bool)>,
}

/// An encoder.
#[derive(Clone, Debug)]
pub struct Encoder {
    shape: Shape,
    frame: u64,
    since_keyframe: u64,
    number: u16,
    lowest: u8,
}

impl Encoder {
    /// One whose numbers begin anywhere.
    pub fn new(shape: Shape, rng: &mut Rng) -> Encoder {
        let mut encoder = Encoder {
            shape,
            frame: 0,
            since_keyframe: 0,
            number: 0,
            lowest: 0,
        };
        encoder.start_anew(rng);
        encoder
    }

    /// Its numbers begin anew, half of the time close to a wrap.
    pub fn start_anew(&mut self, rng: &mut Rng) {
        self.number = match rng.below(2) {
            0 => 0x7fff - rng.below(300) as u16,
            _ => rng.below(0x8000) as u16,
        };
        self.lowest = rng.next_u32() as u8;
    }

    /// The next picture, in layers as libvpx makes them: 0 2 1 2. The middle one opens every second time.
    pub fn next(&mut self, keyframe: bool) -> Picture {
        if keyframe {
            self.since_keyframe = 0;
        }
        let at = self.since_keyframe;
        let (layer, opens) = [(0, false), (2, true), (1, true), (2, false)][at as usize % 4];
        let opens = opens && at % 8 < 4;
        self.frame += 1;
        self.since_keyframe += 1;
        self.number = (self.number + 1) & 0x7fff;
        let numbered = |is_long: bool| {
            let mask = if is_long { 0x7fff } else { 0x7f };
            Some((self.number & mask, is_long))
        };
        let (number, layered) = match self.shape {
            Shape::Plain => (None, false),
            Shape::Numbered { is_long } => (numbered(is_long), false),
            Shape::Layered { is_long } => (numbered(is_long), true),
        };
        if layered && layer == 0 {
            self.lowest = self.lowest.wrapping_add(1);
        }
        Picture {
            frame: self.frame,
            number,
            layer: layered.then_some((self.lowest, layer, opens)),
        }
    }
}

impl Picture {
    /// The payload of one of its packets.
    pub fn payload(&self, keyframe: bool, first: bool, filling: &[u8]) -> Vec<u8> {
        let begins = if first { 0x10 } else { 0x00 };
        let header = u8::from(!(keyframe && first));
        let mut payload = match self.number {
            None => vec![begins],
            Some((number, is_long)) => {
                let parts = if self.layer.is_some() { 0xe0 } else { 0x80 };
                let mut payload = vec![0x80 | begins, parts];
                match is_long {
                    true => payload.extend((number | 0x8000).to_be_bytes()),
                    false => payload.push(number as u8),
                }
                if let Some((lowest, layer, opens)) = self.layer {
                    payload.extend([lowest, layer << 6 | u8::from(opens) << 5]);
                }
                payload
            }
        };
        payload.push(header);
        payload.extend(filling);
        payload
    }

    /// The same payload with other numbers: what a subscriber gets of it.
    pub fn renumbered(&self, payload: &[u8], number: u16, lowest: u8) -> Vec<u8> {
        let mut written = payload.to_vec();
        let Some((_, is_long)) = self.number else {
            return written;
        };
        let at = match is_long {
            true => {
                written[2..4].copy_from_slice(&(number & 0x7fff | 0x8000).to_be_bytes());
                4
            }
            false => {
                written[2] = number as u8 & 0x7f;
                3
            }
        };
        if self.layer.is_some() {
            written[at] = lowest;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_format_says_and_numbers_go_on() {
        let mut rng = Rng::new(1);
        for is_long in [false, true] {
            let mut encoder = Encoder::new(Shape::Layered { is_long }, &mut rng);
            let mut before: Option<(u16, u8)> = None;
            for at in 0..600 {
                let picture = encoder.next(at % 100 == 0);
                let payload = picture.payload(at % 100 == 0, true, b"filling");
                let read = parlour_media::vp8::parse(&payload).expect("VP8");
                let mask = if is_long { 0x7fff } else { 0x7f };
                let (_, layer, opens) = picture.layer.expect("layers");
                assert_eq!(read.temporal, Some((layer, opens)));
                assert_eq!(payload.len(), read.len + 1 + b"filling".len());
                if let Some((number, lowest)) = before {
                    assert_eq!(read.ids.picture, (number + 1) & mask);
                    let step = u8::from(layer == 0);
                    assert_eq!(read.ids.lowest, lowest.wrapping_add(step));
                }
                before = Some((read.ids.picture, read.ids.lowest));
                let other = picture.renumbered(&payload, 0x1234, 9);
                let ids = parlour_media::vp8::parse(&other).expect("VP8").ids;
                assert_eq!((ids.picture, ids.lowest), (0x1234 & mask, 9));
                assert_eq!(other[read.len..], payload[read.len..]);
            }
        }
    }
}
