//! The payload descriptor of VP8 (RFC 7741 §4.2): which picture a packet is of, and of which temporal layer.

/// What a descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Whether it begins the first partition of a frame.
    pub begins_frame: bool,
    /// The temporal layer, and whether its picture depends on the lowest layer alone.
    pub temporal: Option<(u8, bool)>,
    /// Which picture it is of.
    pub ids: PictureIds,
    /// Its length.
    pub len: usize,
}

/// The numbers that count pictures, and where in the payload they stand; 0: nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureIds {
    /// The picture's number.
    pub picture: u16,
    /// That of the last picture of the lowest layer.
    pub lowest: u8,
    /// Whether the picture's number has 15 bits; 7 otherwise.
    pub is_long: bool,
    picture_at: u8,
    lowest_at: u8,
}

/// Numbers to be written in the place of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Of the picture.
    pub picture: u16,
    /// Of the last one of the lowest layer.
    pub lowest: u8,
}

impl PictureIds {
    /// None at all.
    pub const NONE: PictureIds = PictureIds {
        picture: 0,
        lowest: 0,
        is_long: false,
        picture_at: 0,
        lowest_at: 0,
    };

    /// Whether pictures are numbered at all.
    pub fn has_picture(&self) -> bool {
        self.picture_at != 0
    }

    /// Writes other numbers in the place of these into a payload of the same descriptor.
    pub fn write(&self, numbers: Numbers, payload: &mut [u8]) {
        let Numbers { picture, lowest } = numbers;
        let at = usize::from(self.picture_at);
        let [high, low] = (picture | 0x8000).to_be_bytes();
        match (at, self.is_long) {
            (0, _) => {}
            (_, true) => {
                if let Some(place) = payload.get_mut(at..at + 2) {
                    place.copy_from_slice(&[high, low]);
                }
            }
            (_, false) => {
                if let Some(place) = payload.get_mut(at) {
                    *place = low & 0x7f;
                }
            }
        }
        let at = usize::from(self.lowest_at);
        if let Some(place) = payload.get_mut(at).filter(|_| at != 0) {
            *place = lowest;
        }
    }
}

/// Reads the descriptor of a payload; none when that ends before it does.
pub fn parse(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let mut descriptor = Descriptor {
        begins_frame: first & 0x17 == 0x10,
        temporal: None,
        ids: PictureIds::NONE,
        len: 1,
    };
    if first & 0x80 == 0 {
        return Some(descriptor);
    }
    let parts = *payload.get(1)?;
    let mut at = 2;
    let ids = &mut descriptor.ids;
    if parts & 0x80 != 0 {
        let high = *payload.get(at)?;
        ids.picture_at = at as u8;
        ids.is_long = high & 0x80 != 0;
        ids.picture = u16::from(high & 0x7f);
        at += 1;
        if ids.is_long {
            ids.picture = ids.picture << 8 | u16::from(*payload.get(at)?);
            at += 1;
        }
    }
    if parts & 0x40 != 0 {
        ids.lowest = *payload.get(at)?;
        ids.lowest_at = at as u8;
        at += 1;
    }
    if parts & 0x30 != 0 {
        let layer = *payload.get(at)?;
        at += 1;
        if parts & 0x20 != 0 {
            descriptor.temporal = Some((layer >> 6, layer & 0x20 != 0));
        }
    }
    descriptor.len = at;
    Some(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::num::Rng;

    fn numbers(picture: u16, lowest: u8) -> Numbers {
        Numbers { picture, lowest }
    }

    #[test]
    fn every_part_is_read_in_its_place_and_written_there_again() {
        let all = [0x90, 0xf0, 0x91, 0x22, 0x05, 0x60, 0x01];
        let read = parse(&all).unwrap();
        assert_eq!((read.begins_frame, read.len), (true, 6));
        assert_eq!((read.ids.picture, read.ids.lowest), (0x1122, 5));
        assert_eq!(read.temporal, Some((1, true)));
        let mut written = all;
        read.ids.write(numbers(0x7fff, 9), &mut written);
        assert_eq!(written, [0x90, 0xf0, 0xff, 0xff, 9, 0x60, 0x01]);
        let mut short = [0x80, 0xe0, 0x11, 0x05, 0x80, 0x01];
        let read = parse(&short).unwrap();
        assert_eq!(
            (read.ids.picture, read.ids.is_long, read.len),
            (0x11, false, 5)
        );
        assert_eq!(read.temporal, Some((2, false)));
        read.ids.write(numbers(0x1ff, 6), &mut short);
        assert_eq!(short, [0x80, 0xe0, 0x7f, 6, 0x80, 0x01]);
        let plain = parse(&[0x10, 0]).unwrap();
        assert!(!plain.ids.has_picture() && plain.temporal.is_none());
        for end in 0..6 {
            assert_eq!(parse(&all[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_changes() {
        let mut rng = Rng::new(5);
        for _ in 0..20_000 {
            let payload: Vec<u8> = (0..rng.below(12)).map(|_| rng.next_u32() as u8).collect();
            let Some(read) = parse(&payload) else {
                continue;
            };
            let (picture, lowest) = (rng.next_u32() as u16 & 0x7fff, rng.next_u32() as u8);
            let mut written = payload.clone();
            read.ids.write(numbers(picture, lowest), &mut written);
            let again = parse(&written).unwrap();
            let mask = if read.ids.is_long { 0x7fff } else { 0x7f };
            if read.ids.has_picture() {
                assert_eq!(again.ids.picture, picture & mask);
            }
            again
                .ids
                .write(numbers(read.ids.picture, read.ids.lowest), &mut written);
            assert_eq!(written, payload);
        }
    }
}
