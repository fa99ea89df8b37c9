//! RTP header extensions (RFC 8285): both forms are read, the one-byte form is written.

use super::bytes::Writer;

/// The largest value of the one-byte form (RFC 8285 §4.2), and a block with one of it and a transport-wide number.
const MOST_VALUE: usize = 16;
const MOST_BLOCK: usize = 4 + 1 + MOST_VALUE + 3;

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

/// The block of all packets of a stream, which is made once: nothing in it but the transport-wide number differs from
/// packet to packet.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExtensionBlock {
    bytes: [u8; MOST_BLOCK],
    len: usize,
    number_at: Option<usize>,
}

impl ExtensionBlock {
    /// A block with the MID, and with a transport-wide number; none when one of them cannot be expressed. Without
    /// either it is empty.
    pub(crate) fn new(mid: Option<(u8, &str)>, number: Option<u8>) -> Option<Self> {
        let mid = mid.map(|(id, mid)| (id, mid.as_bytes()));
        let elements = [mid, number.map(|id| (id, &[0, 0][..]))];
        let mut written = [(0, &[][..]); 2];
        let mut count = 0;
        for element in elements.into_iter().flatten() {
            written[count] = element;
            count += 1;
        }
        let mut block = ExtensionBlock::default();
        if count == 0 {
            return Some(block);
        }
        let mut out = Writer::new(&mut block.bytes);
        if !write_one_byte(&mut out, &written[..count]) {
            return None;
        }
        block.len = out.finish();
        // Behind profile, length, the MID and what leads each of both.
        block.number_at = number.map(|_| 4 + mid.map_or(0, |(_, mid)| 1 + mid.len()) + 1);
        (block.len > 0).then_some(block)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Where in it the two bytes of the transport-wide number are.
    pub(crate) fn number_at(&self) -> Option<usize> {
        self.number_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_made_once_reads_as_what_is_in_it() {
        for mid in [None, Some((4, "0")), Some((4, "abcdefghijklmnop"))] {
            for number in [None, Some(2)] {
                let block = ExtensionBlock::new(mid, number).expect("it fits");
                let mut bytes = block.bytes().to_vec();
                assert_eq!(bytes.len() % 4, 0);
                let Some(read) = bytes.get(4..) else {
                    assert!(mid.is_none() && number.is_none());
                    continue;
                };
                let mut read = Extensions::new(ONE_BYTE, read);
                let found = read.find(|(id, _)| *id == 4).map(|(_, value)| value);
                assert_eq!(found, mid.map(|(_, mid)| mid.as_bytes()));
                if let Some(at) = block.number_at() {
                    bytes[at..at + 2].copy_from_slice(&[7, 8]);
                    let mut read = Extensions::new(ONE_BYTE, &bytes[4..]);
                    assert_eq!(read.find(|(id, _)| *id == 2), Some((2, &[7, 8][..])));
                }
            }
        }
        assert!(ExtensionBlock::new(Some((4, "abcdefghijklmnopq")), None).is_none());
        assert!(ExtensionBlock::new(Some((4, "")), None).is_none());
        assert!(ExtensionBlock::new(None, Some(15)).is_none());
    }
}
