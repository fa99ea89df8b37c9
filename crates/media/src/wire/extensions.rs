//! RTP header extensions (RFC 8285): both forms are read, and the two-byte form is written where a value is too long for the
//! other.

use super::bytes::Writer;

/// The largest value of the one-byte form (RFC 8285 §4.2), and a block with one of it and a transport-wide number.
const MOST_VALUE: usize = 16;
const MOST_BLOCK: usize = 4 + 1 + MOST_VALUE + 3;

/// The profiles of a block in the one-byte form (RFC 8285 §4.2) and in the two-byte form (RFC 8285 §4.3).
const ONE_BYTE: u16 = 0xbede;
const TWO_BYTE: u16 = 0x1000;

/// Profile and length in front of the elements.
const HEAD: usize = 4;

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
            0x1000..=0x100f => false,          // RFC 8285 §4.3, with any bits of the application's
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

/// Writes the block of a header: profile, length and elements, padded to 32 bits, in the one-byte form if all values fit
/// it. False when one of them cannot be expressed: an id outside 1–14, a value outside 1–255 bytes, more than the length
/// field can say.
pub(crate) fn write_block(out: &mut Writer<'_>, extensions: &[(u8, &[u8])]) -> bool {
    let fits = extensions
        .iter()
        .all(|(_, value)| value.len() <= MOST_VALUE);
    let begin = out.len();
    out.u16(if fits { ONE_BYTE } else { TWO_BYTE });
    out.u16(0);
    extensions
        .iter()
        .all(|(id, value)| write_element(out, fits, *id, value))
        && end_block(out, begin)
}

/// Writes one element; false when it cannot be expressed.
fn write_element(out: &mut Writer<'_>, one_byte: bool, id: u8, value: &[u8]) -> bool {
    let most = if one_byte { MOST_VALUE } else { 255 };
    if !is_id(id) || !(1..=most).contains(&value.len()) {
        return false;
    }
    match one_byte {
        true => out.u8(id << 4 | (value.len() - 1) as u8),
        false => {
            out.u8(id);
            out.u8(value.len() as u8);
        }
    }
    out.put(value);
    true
}

/// Pads the block that began there, and writes its length.
fn end_block(out: &mut Writer<'_>, begin: usize) -> bool {
    out.pad_to_word();
    // Of one that does not fit the writer says so at its end.
    let words = u16::try_from(out.len().saturating_sub(begin + HEAD) / 4);
    words.is_ok_and(|words| {
        out.set_u16(begin + 2, words);
        true
    })
}

/// The block of all packets of a stream, which is made once: nothing in it but the transport-wide number differs from
/// packet to packet.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExtensionBlock {
    bytes: [u8; MOST_BLOCK],
    len: usize,
    /// How much of it is elements: the rest is padding.
    used: usize,
    number: Option<u8>,
    number_at: Option<usize>,
}

/// A block with one element more, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrittenBlock {
    pub(crate) len: usize,
    /// Where in it the value of that element is.
    pub(crate) value_at: usize,
    /// Where in it the two bytes of the transport-wide number are.
    pub(crate) number_at: Option<usize>,
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
        if written[..count].iter().any(|(_, it)| it.len() > MOST_VALUE)
            || !write_block(&mut out, &written[..count])
        {
            return None;
        }
        block.len = out.finish();
        let of_mid = mid.map_or(0, |(_, mid)| 1 + mid.len());
        block.used = HEAD + of_mid + number.map_or(0, |_| 3);
        block.number = number;
        // Behind profile, length, the MID and what leads each of both.
        block.number_at = number.map(|_| HEAD + of_mid + 1);
        (block.len > 0).then_some(block)
    }

    /// How long it is with one element more, of a value so long.
    pub(crate) fn len_with(&self, value: usize) -> usize {
        let elements = self.used.max(HEAD) - HEAD;
        let unpadded = match value <= MOST_VALUE {
            true => elements + 1 + value,
            // Each element of the block takes a byte more.
            false => elements + self.elements().count() + 2 + value,
        };
        HEAD + unpadded.next_multiple_of(4)
    }

    /// Writes it with one element more, in the two-byte form when its value is too long for the other. None when that cannot
    /// be expressed, or there is no room.
    pub(crate) fn write_with(&self, id: u8, value: &[u8], out: &mut [u8]) -> Option<WrittenBlock> {
        let mut out = Writer::new(out);
        let one_byte = value.len() <= MOST_VALUE;
        let mut number_at = self.number_at;
        match one_byte && self.used > 0 {
            true => out.put(&self.bytes[..self.used]),
            false => {
                out.u16(if one_byte { ONE_BYTE } else { TWO_BYTE });
                out.u16(0);
                for (id, value) in self.elements() {
                    if self.number == Some(id) {
                        number_at = Some(out.len() + 2);
                    }
                    write_element(&mut out, one_byte, id, value);
                }
            }
        }
        let value_at = out.len() + if one_byte { 1 } else { 2 };
        if !write_element(&mut out, one_byte, id, value) {
            return None;
        }
        let ended = end_block(&mut out, 0);
        let len = out.finish();
        (ended && len > 0).then_some(WrittenBlock {
            len,
            value_at,
            number_at,
        })
    }

    fn elements(&self) -> Extensions<'_> {
        Extensions::new(
            ONE_BYTE,
            self.bytes.get(HEAD..self.used).unwrap_or_default(),
        )
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

    #[test]
    fn one_element_more_is_read_with_the_others_in_whichever_form_holds_it() {
        let value: Vec<u8> = (0..255).collect();
        for mid in [None, Some((4, "0")), Some((4, "abcdefghijklmnop"))] {
            for number in [None, Some(2)] {
                let block = ExtensionBlock::new(mid, number).expect("it fits");
                for len in 1..=255 {
                    let mut out = [0xff; 320];
                    let written = block.write_with(3, &value[..len], &mut out);
                    let written = written.expect("it fits");
                    assert_eq!(written.len, block.len_with(len));
                    assert_eq!(&out[written.value_at..][..len], &value[..len]);
                    if let Some(at) = written.number_at {
                        out[at..at + 2].copy_from_slice(&[7, 8]);
                    }
                    let profile = u16::from_be_bytes([out[0], out[1]]);
                    assert_eq!(profile, if len > 16 { TWO_BYTE } else { ONE_BYTE });
                    let words = usize::from(u16::from_be_bytes([out[2], out[3]]));
                    assert_eq!(HEAD + 4 * words, written.len);
                    let read = Extensions::new(profile, &out[HEAD..written.len]);
                    let read: Vec<_> = read.collect();
                    let mid = mid.map(|(id, mid)| (id, mid.as_bytes()));
                    let number = number.map(|id| (id, &[7, 8][..]));
                    let expected = [mid, number, Some((3, &value[..len]))];
                    assert_eq!(read, expected.into_iter().flatten().collect::<Vec<_>>());
                    let short = &mut out[..written.len - 1];
                    assert_eq!(block.write_with(3, &value[..len], short), None);
                }
                assert_eq!(block.write_with(3, &[], &mut [0; 64]), None);
                assert_eq!(block.write_with(15, &[1], &mut [0; 64]), None);
                assert_eq!(block.write_with(3, &[0; 256], &mut [0; 400]), None);
            }
        }
    }
}
