//! Big-endian reading and writing that cannot panic: a read past the end is `None`, a write past the end marks the
//! writer as overflown and changes nothing.

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|&b| u16::from_be_bytes(b))
}

pub(crate) fn u24_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|&[a, b, c]| u32::from_be_bytes([0, a, b, c]))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|&b| u32::from_be_bytes(b))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|&b| u64::from_be_bytes(b))
}

/// Writes one message from the start of a buffer. Every writer of this crate ends with [`Writer::finish`], so that
/// "does not fit" is one rule everywhere: length 0 and nothing to send.
pub(crate) struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
    overflown: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(buf: &'a mut [u8]) -> Self {
        Writer {
            buf,
            len: 0,
            overflown: false,
        }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        match self
            .buf
            .get_mut(self.len..self.len.saturating_add(bytes.len()))
        {
            Some(room) if !self.overflown => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => self.overflown = true,
        }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    pub(crate) fn u24(&mut self, value: u32) {
        let [_, a, b, c] = value.to_be_bytes();
        self.put(&[a, b, c]);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    /// Zero bytes up to the next multiple of four, the alignment of STUN, RTP and RTCP alike.
    pub(crate) fn pad_to_word(&mut self) {
        let missing = self.len.wrapping_neg() % 4;
        self.put(&[0; 3][..missing]);
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn written(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    /// Overwrites what was written at `at`, for lengths that are known only afterwards.
    pub(crate) fn set_u16(&mut self, at: usize, value: u16) {
        match self.buf[..self.len].get_mut(at..at.saturating_add(2)) {
            Some(room) => room.copy_from_slice(&value.to_be_bytes()),
            None => self.overflown = true,
        }
    }

    /// The length of the message, 0 when it did not fit.
    pub(crate) fn finish(self) -> usize {
        if self.overflown { 0 } else { self.len }
    }

    /// Makes the message one that does not fit, for a value that its length field cannot express.
    pub(crate) fn overflow(&mut self) {
        self.overflown = true;
    }

    pub(crate) fn is_overflown(&self) -> bool {
        self.overflown
    }
}
