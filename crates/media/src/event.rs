//! What a router tells the control plane.

use crate::SrtpProfile;
use crate::ids::{ProducerId, TransportId};

/// An enumeration whose members have stable lower-case names: for events, metrics and logs.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$member_doc])* $member,)* }

        impl $name {
            /// Every member, in order.
            pub const ALL: &'static [$name] = &[$($name::$member,)*];

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $($name::$member => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use named;

named!(
    /// Why a transport is no more.
    CloseReason {
        /// The control plane removed it.
        Removed = "removed",
        /// It was never made: the router refused it.
        Refused = "refused",
        /// The peer was named and no authenticated check came in time.
        IceTimeout = "ice-timeout",
        /// No answer to our checks for 30 s (RFC 7675 §5.1).
        ConsentExpired = "consent-expired",
        /// The DTLS handshake broke.
        DtlsFailed = "dtls-failed",
        /// The peer showed another certificate than the one its description named (RFC 8122).
        FingerprintMismatch = "fingerprint-mismatch",
        /// The DTLS handshake did not end in time.
        HandshakeTimeout = "handshake-timeout",
        /// The peers have no SRTP profile in common (RFC 5764 §4.1.2).
        NoSrtpProfile = "no-srtp-profile",
        /// The peer said goodbye (DTLS close_notify).
        PeerClosed = "peer-closed",
        /// Our own fault: handling this transport panicked. Others are not touched.
        Panicked = "panicked",
    }
);

named!(
    /// Why a command was not done.
    RefuseReason {
        /// There is no such transport.
        UnknownTransport = "unknown-transport",
        /// There is no such producer.
        UnknownProducer = "unknown-producer",
        /// There is no such consumer.
        UnknownConsumer = "unknown-consumer",
        /// That id is taken.
        DuplicateId = "duplicate-id",
        /// Another transport answers to that user fragment.
        DuplicateUfrag = "duplicate-ufrag",
        /// That SSRC is in use on that transport, or was: sending under it again would reuse its keystream.
        DuplicateSsrc = "duplicate-ssrc",
        /// The peer is named already, and differently.
        RemoteAlreadySet = "remote-already-set",
        /// A value is out of its range: an empty fragment, an extension id above 14, a long MID, an audio
        /// codec for video.
        InvalidValue = "invalid-value",
        /// The transport has used too many SSRCs, each of which it has to remember: a new transport begins anew.
        TooManySsrcs = "too-many-ssrcs",
        /// The router has as many transports as it may.
        TooManyTransports = "too-many-transports",
        /// The transport has as many producers as it may.
        TooManyProducers = "too-many-producers",
        /// The transport has as many consumers as it may.
        TooManyConsumers = "too-many-consumers",
        /// Our own fault: doing it panicked.
        Panicked = "panicked",
    }
);

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The DTLS handshake ended, the certificate is the announced one, media may flow.
    TransportConnected {
        /// The transport.
        transport: TransportId,
        /// How its media is protected.
        profile: SrtpProfile,
    },
    /// The transport is gone, with its producers and consumers.
    TransportClosed {
        /// The transport.
        transport: TransportId,
        /// Why.
        reason: CloseReason,
    },
    /// The first media packet of an incoming track came.
    ProducerStarted {
        /// The producer.
        producer: ProducerId,
        /// Its transport.
        transport: TransportId,
    },
    /// A transport sends more than it may; comes again every ten seconds while it does.
    IngressPoliced {
        /// The transport.
        transport: TransportId,
        /// Packets that were dropped for it since the last such event.
        packets: u64,
        /// What it may send.
        bits_per_second: u64,
    },
    /// A command contradicted the router's state.
    CommandRefused {
        /// The transport it named (0 when it named none that is known).
        transport: TransportId,
        /// The producer or consumer it named; 0: the transport itself.
        object: u64,
        /// Why.
        reason: RefuseReason,
    },
}
