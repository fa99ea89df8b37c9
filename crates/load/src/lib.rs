//! The load generator: many cheap peers in one thread that measure any room server.
//!
//! A peer is real where the server can tell: ICE, DTLS, SRTP, receiver reports, transport-wide feedback, answers to
//! keyframe requests. Once connected it does little: it empties its socket each millisecond, counts what came by SSRC
//! and sequence number, and opens one packet in 32 to see when it was sent. Signaling is not its business: whoever
//! drives it hands over what two session descriptions say.

mod clock;
mod dtls;
mod generator;
mod ice;
mod outgoing;
mod pattern;
mod payload;
mod peer;
mod reflector;
mod socket;
mod tally;
mod times;

pub use dtls::fingerprint_text;
pub use generator::{Generator, LinkSpec, PeerReport, Totals};
pub use outgoing::OutgoingSpec;
pub use parlour_media::Kind;
pub use pattern::{Frame, Pattern};
pub use peer::{IncomingSpec, SecureSpec, State};
pub use reflector::{Reflector, ReflectorStats};
pub use tally::StreamReport;
pub use times::Quantiles;
