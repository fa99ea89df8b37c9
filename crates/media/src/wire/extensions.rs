//! RTP header extensions (RFC 8285): both forms are read, the one-byte form is written.

use super::bytes::Writer;

/// The profile of a block in the one-byte form (RFC 8285 §4.2).
const ONE_BYTE: u16 = 0xbede;

/// Iterator over the (id, value) pairs of a packet's extension block.
#[derive(Clone, Debug, Default)]
pub struct Extensions<'a> {
    rest: &'a [u8],
    one_byte: bool,
}

impl<'a> Extensions<'a> {
    /// The block that follows the header, with the profile that says what is in it.
    pub(crate) fn new(profile: u16, block: &'a [u8]) -> Self {
        let one_byte = match profile {
            ONE_BYTE => true,                  // RFC 8285 §4.2
            0x1000..=0x100f => false,          // RFC 8285 §4.3
            _ => return Extensions::default(), // a profile of somebody else's
        };
        Extensions {
            rest: block,
            one_byte,
        }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            self.rest = rest;
            if first == 0 {
                continue; // padding between elements (RFC 8285 §4.1.2)
            }
            let (id, len) = if self.one_byte {
                (first >> 4, usize::from(first & 0x0f) + 1)
            } else {
                let (&len, rest) = self.rest.split_first()?;
                self.rest = rest;
                (first, usize::from(len))
            };
            // Id 15 ends the one-byte block (RFC 8285 §4.2). Id 0 with a length is padding that lies about itself.
            let Some((value, rest)) = self
                .rest
                .split_at_checked(len)
                .filter(|_| !(self.one_byte && id == 15))
            else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            if id != 0 {
                return Some((id, value));
            }
        }
    }
}

/// Whether the one-byte form has this id (RFC 8285 §4.2): 0 is padding and 15 is reserved.
pub(crate) fn is_id(id: u8) -> bool {
    (1..=14).contains(&id)
}

/// Writes the block of a header: profile, length and elements, padded to 32 bits. False when one of them cannot be
/// expressed: an id outside 1–14, a value outside 1–16 bytes, more than the length field can say.
pub(crate) fn write_one_byte(out: &mut Writer<'_>, extensions: &[(u8, &[u8])]) -> bool {
    out.u16(ONE_BYTE);
    let length_at = out.len();
    out.u16(0);
    let begin = out.len();
    for &(id, value) in extensions {
        if !is_id(id) || !(1..=16).contains(&value.len()) {
            return false;
        }
        out.u8(id << 4 | (value.len() - 1) as u8);
        out.put(value);
    }
    out.pad_to_word();
    let Ok(words) = u16::try_from((out.len() - begin) / 4) else {
        return false;
    };
    out.set_u16(length_at, words);
    true
}
