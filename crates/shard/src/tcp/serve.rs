//! From what comes by connections to the router.

use crate::outlet::Outlet;
use crate::tcp::{Connections, Got};
use parlour_media::framing::{Found, Framing};
use parlour_media::stun::is_stun;
use parlour_media::{ConnectionEnd, Path, Router};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Connections that are read in one turn, each once.
const READ_PER_TURN: usize = 32;

/// Longer than any check: what strangers say is no longer.
const LONGEST_CHECK: usize = 1024;

/// A connection that is being read.
struct Reading {
    slot: usize,
    number: u64,
    path: Path,
    is_stranger: bool,
    framing: Framing,
}

/// Gives the router what came, of each connection that has something as much as one read gives. Returns how often a fault of
/// ours was caught.
pub(crate) fn take_frames(now: Instant, router: &mut Router, outlet: &mut Outlet<'_>) -> u64 {
    let mut panics = 0;
    for _ in 0..READ_PER_TURN {
        let Some(connections) = outlet.connections() else {
            return panics;
        };
        let Some(slot) = connections.readable.pop_front() else {
            break;
        };
        let mut scratch = std::mem::take(&mut connections.scratch);
        if let Some((reading, len)) = connections.read(now, slot, &mut scratch) {
            panics += take(now, reading, &mut scratch[..len], router, outlet);
        }
        if let Some(connections) = outlet.connections() {
            connections.scratch = scratch;
        }
    }
    panics
}

/// Bytes of the shortest packet that there is: the header of RTCP (RFC 3550 §6.4).
const SHORTEST: usize = 8;

/// Takes the frames of one read.
fn take(
    now: Instant,
    mut reading: Reading,
    piece: &mut [u8],
    router: &mut Router,
    outlet: &mut Outlet<'_>,
) -> u64 {
    let (mut panics, mut at) = (0, 0);
    loop {
        let (found, next) = reading.framing.next(piece, at);
        at = next;
        let Some(connections) = outlet.connections() else {
            return panics;
        };
        match found {
            None => {
                connections.keep(&reading, &piece[at..]);
                return panics;
            }
            Some(Found::TooLong(_)) => {
                if reading.is_stranger {
                    connections.end(reading.slot, ConnectionEnd::FrameTooLong);
                    return panics;
                }
                connections.stats.too_long += 1;
            }
            // An empty frame is a sign of life (RFC 4571 §2); nothing that is so short is for the router.
            Some(Found::Frame(range)) if range.len() < SHORTEST && !reading.is_stranger => {
                connections.stats.frames_in += 1;
            }
            Some(Found::Frame(range)) => {
                let frame = &mut piece[range];
                if reading.is_stranger && !connections.hears(&reading, frame) {
                    return panics;
                }
                connections.stats.frames_in += 1;
                connections.stats.bytes_in += frame.len() as u64;
                let done = catch_unwind(AssertUnwindSafe(|| {
                    router.handle_datagram(now, now, reading.path, frame, outlet);
                }));
                panics += u64::from(done.is_err());
                let Some(connections) = outlet.connections() else {
                    return panics;
                };
                // What it said may have led to its end.
                if !connections.is_there(&reading) {
                    return panics;
                }
                if reading.is_stranger && router.knows(reading.path) {
                    reading.is_stranger = false;
                    connections.welcome(reading.slot);
                }
            }
        }
    }
}

impl Connections {
    fn read(&mut self, now: Instant, slot: usize, scratch: &mut [u8]) -> Option<(Reading, usize)> {
        let connection = self.get(slot)?;
        connection.is_readable = false;
        match connection.read(now, scratch) {
            Got::Nothing => None,
            Got::End => {
                self.end(slot, ConnectionEnd::PeerClosed);
                None
            }
            Got::Broken => {
                self.end(slot, ConnectionEnd::Broken);
                None
            }
            Got::Bytes(len) => {
                // Until the system says that there is nothing more, or it would not tell of what comes.
                connection.is_readable = true;
                let reading = Reading {
                    slot,
                    number: connection.number,
                    path: connection.path,
                    is_stranger: connection.is_stranger,
                    framing: connection.framing,
                };
                self.readable.push_back(slot);
                Some((reading, len))
            }
        }
    }

    fn is_there(&mut self, reading: &Reading) -> bool {
        let connection = self.get(reading.slot);
        connection.is_some_and(|connection| connection.number == reading.number)
    }

    /// Whether what a stranger says is looked at; if not, it is out.
    fn hears(&mut self, reading: &Reading, frame: &[u8]) -> bool {
        let Some(connection) = self.get(reading.slot) else {
            return false;
        };
        let reason = if !is_stun(frame) || frame.len() > LONGEST_CHECK {
            ConnectionEnd::NotAsked
        } else if !connection.may_say_more() {
            ConnectionEnd::TooManyChecks
        } else {
            return true;
        };
        self.end(reading.slot, reason);
        false
    }

    /// Keeps what is left over of a read. A stranger that begins something longer than a check is out.
    fn keep(&mut self, reading: &Reading, left: &[u8]) {
        if !self.is_there(reading) {
            return;
        }
        let awaited = Framing::awaited(left).unwrap_or_default();
        if reading.is_stranger && awaited > LONGEST_CHECK {
            return self.end(reading.slot, ConnectionEnd::FrameTooLong);
        }
        if let Some(connection) = self.get(reading.slot) {
            connection.keep(reading.framing, left);
        }
    }
}
