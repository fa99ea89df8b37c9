//! The numbers of VP8's pictures towards one subscriber: they go on over whatever the source does, and close up over what is
//! left out. A decoder takes a gap in them for a loss (RFC 7741 §4.2).

use crate::egress::history::RING as REMEMBERED;
use crate::wire::num::ExtSeqNo;
use crate::wire::vp8::{Numbers, PictureIds};

/// Pictures whose number is remembered, for packets that come late or are asked for again: two seconds at 60 a second. A
/// power of two.
const RING: usize = 128;

/// How many numbers there are.
fn modulus(ids: &PictureIds) -> u32 {
    if ids.is_long { 0x8000 } else { 0x80 }
}

/// What became of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unknown,
    Sent(u16),
    LeftOut,
}

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Pictures {
    /// Of the last incoming numbers, each in its slot. Empty before the first.
    fates: Vec<Fate>,
    /// The newest incoming number of this run; none: the next one begins a run.
    newest: Option<u16>,
    /// The newest that was given; none: none ever was.
    given: Option<u16>,
    lowest_given: u8,
    lowest_shift: u8,
    /// What each of the last packets was sent with, in the slot of its outgoing number: a publisher may use a number twice, and
    /// what is sent again is sent as it was. Empty before the first.
    sent: Vec<Numbers>,
}

impl Pictures {
    pub(crate) fn new() -> Self {
        Pictures {
            fates: Vec::new(),
            newest: None,
            given: None,
            lowest_given: 0,
            lowest_shift: 0,
            sent: Vec::new(),
        }
    }

    /// What comes next is another run of numbers: another source, or the same one anew.
    pub(crate) fn begin(&mut self) {
        self.newest = None;
    }

    /// The numbers for a packet that is next in its stream or late; none: its picture is left out, or not known.
    pub(crate) fn number(&mut self, ids: &PictureIds, left_out: bool) -> Option<Numbers> {
        let modulus = modulus(ids);
        let half = (modulus / 2) as i32;
        let ahead = match self.newest {
            None => return self.restart(ids, left_out),
            Some(newest) => {
                let distance = u32::from(ids.picture).wrapping_sub(u32::from(newest)) % modulus;
                let distance = distance as i32;
                if distance >= half {
                    distance - 2 * half
                } else {
                    distance
                }
            }
        };
        if ahead.unsigned_abs() as usize >= RING {
            // No network does that: the pictures are numbered anew.
            return self.restart(ids, left_out);
        }
        if ahead > 0 {
            for back in (1..ahead).rev() {
                // What is missing has its number kept for it.
                let fate = Fate::Sent(self.next());
                let missing = u32::from(ids.picture).wrapping_sub(back as u32) % modulus;
                self.fates[missing as usize % RING] = fate;
            }
            self.newest = Some(ids.picture);
            self.set(ids.picture, left_out);
            if !left_out {
                self.lowest_given = ids.lowest.wrapping_add(self.lowest_shift);
            }
        } else if left_out {
            self.fates[usize::from(ids.picture) % RING] = Fate::LeftOut;
        }
        self.given_to(ids)
    }

    /// A packet is sent under that number, with these of its picture.
    pub(crate) fn on_sent(&mut self, out: ExtSeqNo, numbers: Numbers) {
        if self.sent.is_empty() {
            self.sent.resize(REMEMBERED as usize, numbers);
        }
        self.sent[(out.0 % REMEMBERED) as usize] = numbers;
    }

    /// What the packet was sent with that went out under that number, one of the last [`REMEMBERED`].
    pub(crate) fn sent_with(&self, out: ExtSeqNo) -> Option<Numbers> {
        self.sent.get((out.0 % REMEMBERED) as usize).copied()
    }

    /// The numbers of a picture that is known.
    fn given_to(&self, ids: &PictureIds) -> Option<Numbers> {
        let behind = u32::from(self.newest?).wrapping_sub(u32::from(ids.picture)) % modulus(ids);
        if behind as usize >= RING {
            return None;
        }
        match self.fates.get(usize::from(ids.picture) % RING)? {
            Fate::Sent(picture) => Some(Numbers {
                picture: *picture,
                lowest: ids.lowest.wrapping_add(self.lowest_shift),
            }),
            Fate::LeftOut | Fate::Unknown => None,
        }
    }

    fn restart(&mut self, ids: &PictureIds, left_out: bool) -> Option<Numbers> {
        self.fates.clear();
        self.fates.resize(RING, Fate::Unknown);
        if self.given.is_some() {
            let next = self.lowest_given.wrapping_add(1);
            self.lowest_shift = next.wrapping_sub(ids.lowest);
        } else {
            // The first ones are passed on as they are.
            self.given = Some(ids.picture.wrapping_sub(1) & 0x7fff);
        }
        self.newest = Some(ids.picture);
        self.set(ids.picture, left_out);
        if !left_out {
            self.lowest_given = ids.lowest.wrapping_add(self.lowest_shift);
        }
        self.given_to(ids)
    }

    fn set(&mut self, picture: u16, left_out: bool) {
        let fate = match left_out {
            true => Fate::LeftOut,
            false => Fate::Sent(self.next()),
        };
        self.fates[usize::from(picture) % RING] = fate;
    }

    fn next(&mut self) -> u16 {
        let next = self.given.map_or(0, |given| given.wrapping_add(1) & 0x7fff);
        self.given = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::num::Rng;
    use crate::wire::vp8;
    use std::collections::HashMap;

    fn ids(picture: u16, lowest: u8) -> PictureIds {
        let [high, low] = (picture | 0x8000).to_be_bytes();
        let payload = [0x90, 0xc0, high, low, lowest, 0];
        vp8::parse(&payload).expect("a descriptor").ids
    }

    /// Whatever is left out, missing, late or doubled, and however often another source begins: what is given has a gap only
    /// where something is missing, each packet of a picture gets the same numbers, and none is given twice.
    #[test]
    fn numbers_go_on_over_sources_and_close_up_over_what_is_left_out() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut pictures = Pictures::new();
            let (mut picture, mut lowest) = (rng.next_u32() as u16 & 0x7fff, rng.next_u32() as u8);
            let mut expected: Option<(u16, u8)> = None;
            let mut given = HashMap::new();
            let mut late = Vec::new();
            for _ in 0..600 {
                if late.is_empty() && rng.below(60) == 0 {
                    pictures.begin();
                    (picture, lowest) = (rng.next_u32() as u16 & 0x7fff, rng.next_u32() as u8);
                    given.clear();
                    let next = pictures
                        .number(&ids(picture, lowest), false)
                        .expect("it begins");
                    if let Some((before, lowest)) = expected {
                        assert_eq!(next.picture, (before + 1) & 0x7fff, "seed {seed}");
                        assert_eq!(next.lowest, lowest.wrapping_add(1), "seed {seed}");
                    }
                    expected = Some((next.picture, next.lowest));
                    given.insert(picture, next);
                }
                picture = (picture + 1) & 0x7fff;
                let is_lowest = rng.below(3) == 0;
                lowest = lowest.wrapping_add(u8::from(is_lowest));
                let Some((before, lowest_before)) = expected else {
                    continue;
                };
                let lowest_now = lowest_before.wrapping_add(u8::from(is_lowest));
                match rng.below(8) {
                    0 if !is_lowest => {
                        assert_eq!(pictures.number(&ids(picture, lowest), true), None);
                    }
                    1 => {
                        late.push((picture, lowest, (before + 1) & 0x7fff, lowest_now));
                        expected = Some(((before + 1) & 0x7fff, lowest_now));
                        continue;
                    }
                    _ => {
                        let numbers = pictures.number(&ids(picture, lowest), false);
                        let numbers = numbers.expect("it is sent");
                        assert_eq!(numbers.picture, (before + 1) & 0x7fff, "seed {seed}");
                        assert_eq!(numbers.lowest, lowest_now, "seed {seed}");
                        given.insert(picture, numbers);
                        expected = Some((numbers.picture, numbers.lowest));
                        while let Some((picture, lowest, number, shown)) = late.pop() {
                            let numbers = pictures.number(&ids(picture, lowest), false);
                            let shown = Numbers {
                                picture: number,
                                lowest: shown,
                            };
                            assert_eq!(numbers, Some(shown), "seed {seed}: a late one");
                        }
                    }
                }
                for (picture, numbers) in &given {
                    let lowest = numbers.lowest.wrapping_sub(pictures.lowest_shift);
                    let again = pictures.given_to(&ids(*picture, lowest));
                    assert!(again.is_none_or(|it| it == *numbers), "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn a_publisher_whose_numbers_jump_about_moves_ours_by_one() {
        let (mut rng, mut pictures) = (Rng::new(1), Pictures::new());
        let mut before = pictures
            .number(&ids(7, 7), false)
            .expect("it begins")
            .picture;
        let mut step = 0;
        for _ in 0..20_000 {
            let picture = rng.next_u32() as u16 & 0x7fff;
            let Some(numbers) = pictures.number(&ids(picture, rng.next_u32() as u8), false) else {
                continue;
            };
            let ahead = numbers.picture.wrapping_sub(before) & 0x7fff;
            if ahead < 0x4000 {
                before = numbers.picture;
                step = step.max(ahead);
            }
        }
        assert!(step < RING as u16, "{step}");
    }
}
