//! The payload descriptor of VP9 (RFC 9628 §4.2): of which picture a packet is the beginning, and of which layers it is.

/// What a descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Whether the frame was predicted from an earlier picture.
    pub predicted: bool,
    /// Whether it begins a frame.
    pub begins_frame: bool,
    /// Its layers; none when there is but one of each.
    pub layers: Option<Layered>,
}

/// The layers of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layered {
    /// The temporal layer.
    pub temporal: u8,
    /// Whether no later picture of a higher temporal layer depends on one of those before this (U).
    pub opens: bool,
    /// The spatial layer.
    pub spatial: u8,
}

/// Reads the descriptor of a payload as far as its layers; none when that ends before it does.
pub fn parse(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        // The picture id has 7 or 15 bits.
        at += if *payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    let layers = match first & 0x20 {
        0 => None,
        _ => Some(*payload.get(at)?),
    };
    Some(Descriptor {
        predicted: first & 0x40 != 0,
        begins_frame: first & 0x08 != 0,
        layers: layers.map(|byte| Layered {
            temporal: byte >> 5,
            opens: byte & 0x10 != 0,
            spatial: byte >> 1 & 7,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_read_behind_every_length_of_picture_id() {
        let layered = Layered {
            temporal: 2,
            opens: true,
            spatial: 5,
        };
        for head in [&[0x28][..], &[0xa8, 0x11], &[0xa8, 0x91, 0x22]] {
            let payload = [head, &[0b0101_1010, 7]].concat();
            let read = parse(&payload).unwrap();
            assert_eq!(read.layers, Some(layered), "{head:?}");
            assert!(read.begins_frame && !read.predicted);
            for end in 0..=head.len() {
                assert_eq!(parse(&payload[..end]), None, "{end} of {head:?}");
            }
        }
        let plain = parse(&[0x40]).unwrap();
        assert!(plain.predicted && !plain.begins_frame && plain.layers.is_none());
    }
}
