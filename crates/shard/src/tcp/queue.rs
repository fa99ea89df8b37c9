//! What waits to be written to one connection, framed (RFC 4571).

use parlour_media::framing::{self, HEADER};

/// Memory that an empty queue keeps; what was more is given back.
const KEPT: usize = 32 * 1024;

/// What was written is taken away once it is so much.
const WRITTEN: usize = 64 * 1024;

/// Frames one behind the other, the first of which may be written in part.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    bytes: Vec<u8>,
    written: usize,
    /// Where the frame begins that is being made.
    open: Option<usize>,
}

impl SendQueue {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.open.unwrap_or(self.bytes.len()) - self.written
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Room for one datagram. It waits once [`SendQueue::commit`] is called.
    pub(crate) fn open(&mut self, max_len: usize) -> &mut [u8] {
        self.close(0);
        if self.written >= WRITTEN {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        let begins = self.bytes.len();
        self.open = Some(begins);
        self.bytes.resize(begins + HEADER + max_len, 0);
        &mut self.bytes[begins + HEADER..]
    }

    /// The opened datagram has that many bytes. None of them: there is no datagram.
    pub(crate) fn commit(&mut self, len: usize) -> bool {
        self.close(len)
    }

    fn close(&mut self, len: usize) -> bool {
        let Some(begins) = self.open.take() else {
            return false;
        };
        let short = u16::try_from(len).ok().filter(|len| *len > 0);
        let room = self.bytes[begins..].len() >= HEADER + len;
        let Some(short) = short.filter(|_| room) else {
            self.bytes.truncate(begins);
            return false;
        };
        self.bytes.truncate(begins + HEADER + len);
        if let Some(head) = self.bytes[begins..].first_chunk_mut() {
            framing::write_header(head, short);
        }
        true
    }

    /// What is to be written next. What was opened and not committed is nothing.
    pub(crate) fn waiting(&mut self) -> &[u8] {
        self.close(0);
        &self.bytes[self.written..]
    }

    /// So much of it was.
    pub(crate) fn advance(&mut self, len: usize) {
        self.close(0);
        self.written += len;
        if self.written >= self.bytes.len() {
            self.written = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(queue: &mut SendQueue, bytes: &[u8]) -> bool {
        queue.open(100)[..bytes.len()].copy_from_slice(bytes);
        queue.commit(bytes.len())
    }

    #[test]
    fn what_is_committed_waits_behind_its_length_and_the_rest_is_not_there() {
        let mut queue = SendQueue::default();
        assert!(put(&mut queue, b"one"));
        assert!(!put(&mut queue, b""));
        queue.open(50);
        assert!(put(&mut queue, b"two!"));
        assert_eq!(queue.waiting(), b"\0\x03one\0\x04two!");
        queue.advance(4);
        assert_eq!(queue.waiting(), b"e\0\x04two!");
        assert!(put(&mut queue, b"3"));
        queue.advance(7);
        assert_eq!(queue.waiting(), b"\0\x013");
        queue.advance(3);
        assert!(queue.is_empty());
        // What is opened and never committed is not written, whenever that is done.
        assert!(put(&mut queue, b"four"));
        queue.open(100).fill(9);
        assert_eq!(queue.len(), 6);
        assert_eq!(queue.waiting(), b"\0\x04four");
        queue.open(100).fill(9);
        queue.advance(6);
        assert!(queue.is_empty());
        assert_eq!(queue.waiting(), b"");
        assert!(!queue.commit(3));
        assert!(put(&mut queue, b"five"));
        assert_eq!(queue.waiting(), b"\0\x04five");
    }

    #[test]
    fn an_empty_queue_keeps_little_memory_and_a_full_one_does_not_grow_by_what_was_written() {
        let mut queue = SendQueue::default();
        for _ in 0..1000 {
            queue.open(1200);
            queue.commit(1200);
        }
        queue.advance(queue.len());
        assert!(queue.bytes.capacity() <= KEPT);
        for _ in 0..10_000 {
            queue.open(1200);
            queue.commit(1200);
            queue.advance(queue.len() - 1);
        }
        assert!(
            queue.bytes.capacity() < 4 * WRITTEN,
            "{}",
            queue.bytes.capacity()
        );
    }
}
