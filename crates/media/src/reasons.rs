//! Every reason for which something is dropped, closed or refused, each with a stable name that reaches logs and metrics.

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
        /// Our own fault: the shard that it was on ended. A new one takes its place.
        ShardDied = "shard-died",
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

named!(
    /// Why a consumer gets something else than is wanted.
    Shortfall {
        /// The source that is wanted is not sent.
        Missing = "missing",
        /// The subscriber's path does not carry it.
        Bandwidth = "bandwidth",
        /// A keyframe of it has not come yet.
        AwaitingKeyframe = "awaiting-keyframe",
        /// A picture from which on more temporal layers can be decoded has not come yet.
        AwaitingLayer = "awaiting-layer",
    }
);

named!(
    /// Why a connection that media came by (RFC 6544) is no more, or was not let in.
    ConnectionEnd {
        /// The peer closed it.
        PeerClosed = "peer-closed",
        /// The system says that it is broken: reset, or nobody acknowledged anything for too long.
        Broken = "broken",
        /// The transport whose path it was is gone, or left it.
        Released = "released",
        /// No genuine check came by it in time.
        NoCheck = "no-check",
        /// Something else than a check came by it before a genuine one.
        NotAsked = "not-a-check",
        /// A frame longer than any check came by it before a genuine one.
        FrameTooLong = "frame-too-long",
        /// More checks came by it than anybody needs, and none was genuine.
        TooManyChecks = "too-many-checks",
        /// It was the oldest without a genuine check, and another one came.
        MadeRoom = "made-room",
        /// Its source has as many as it may.
        SourceFull = "source-full",
        /// There are as many as there may be.
        Full = "full",
        /// It is in use, and nothing came by it for too long.
        Idle = "idle",
        /// The peer does not take what it is sent.
        Stuck = "stuck",
        /// The system has no descriptor for it.
        NoDescriptor = "no-descriptor",
    }
);

named!(
    /// Why a datagram, or a packet of it, went no further.
    DropReason {
        /// Not STUN, DTLS, RTP or RTCP by its first byte (RFC 7983), or empty.
        UnknownProtocol = "unknown-protocol",
        /// From port 0, or from an address that is nobody's alone: it cannot be answered.
        BadSource = "bad-source",
        /// STUN that does not parse, or whose fingerprint is wrong.
        StunMalformed = "stun-malformed",
        /// STUN that is neither a Binding request nor the answer to one.
        StunNotRequest = "stun-not-request",
        /// An answer to a check that we did not send, or not to there, or not lately.
        StunUnasked = "stun-unasked",
        /// The peer answered a check of ours with an error.
        StunErrorAnswer = "stun-error-answer",
        /// A check for a user fragment that no transport has.
        StunUnknownUser = "stun-unknown-user",
        /// A check, or the answer to one of ours, whose message integrity is wrong or missing.
        StunBadIntegrity = "stun-bad-integrity",
        /// A check, or an answer, that is not verified: too much failed from there, or too many genuine ones came.
        StunOverBudget = "stun-over-budget",
        /// A check from one address more than a transport may have.
        StunTooManyAddresses = "stun-too-many-addresses",
        /// A check that was seen before from another address.
        StunReplayed = "stun-replayed",
        /// A check from an address at which another transport's peer is proven to be.
        StunAddressTaken = "stun-address-taken",
        /// A check with an attribute that must be understood and is not, or of a peer that thinks it is
        /// controlled; it was answered with an error.
        StunRefused = "stun-refused",
        /// DTLS or media by a path that no genuine check came by.
        UnknownSource = "unknown-source",
        /// DTLS that no client sends at that point of a handshake: plain alerts, messages out of turn.
        DtlsOutOfTurn = "dtls-out-of-turn",
        /// More DTLS datagrams than any handshake needs.
        DtlsTooMany = "dtls-too-many",
        /// A datagram of a handshake while too many of them wait for their turn.
        DtlsQueueFull = "dtls-queue-full",
        /// Media before the keys are there.
        NoKeys = "no-keys",
        /// RTP that does not parse.
        RtpMalformed = "rtp-malformed",
        /// RTCP that does not parse.
        RtcpMalformed = "rtcp-malformed",
        /// RTCP that names more reports, requests or sources than a peer may in a second.
        RtcpOverBudget = "rtcp-over-budget",
        /// A wrong SRTP or SRTCP tag.
        BadTag = "bad-tag",
        /// A packet that came before.
        Replayed = "replayed",
        /// A packet older than the replay window.
        TooOld = "too-old",
        /// A datagram too short or too long to be what it says.
        BadLength = "bad-length",
        /// One synchronization source more than a transport may have.
        TooManySources = "too-many-sources",
        /// Authentic media of no negotiated track.
        UnknownStream = "unknown-stream",
        /// A packet of a peer that sends more than it may.
        OverBitrate = "over-bitrate",
        /// A payload type that was not negotiated for that track.
        UnknownPayloadType = "unknown-payload-type",
        /// The stream jumped in a way no network causes; it goes on if the next packet agrees.
        SequenceJump = "sequence-jump",
        /// A retransmission of a packet that is here already, or is too old to matter.
        RtxUseless = "rtx-useless",
        /// Sound with copies of what was before it (RFC 2198) that does not parse, or is of another codec.
        RedMalformed = "red-malformed",
        /// A packet without payload: a probe.
        PaddingOnly = "padding-only",
        /// Nobody to forward to yet: the subscriber waits for a keyframe.
        AwaitingKeyframe = "awaiting-keyframe",
        /// Of a temporal layer that the subscriber does not get.
        LayerLeftOut = "layer-left-out",
        /// A payload descriptor that ends before its end.
        DescriptorMalformed = "descriptor-malformed",
        /// Of a picture whose number contradicts those that came before it.
        PictureUnknown = "picture-unknown",
        /// The consumer is paused.
        Paused = "paused",
        /// The path to the subscriber does not carry this picture.
        NoRoom = "no-room",
        /// A picture that waited for its turn on the path to the subscriber until nobody wanted it any more.
        WaitedTooLong = "waited-too-long",
        /// A picture that waited behind what the peer's connection did not take, until nobody wanted it any more.
        ConnectionFull = "connection-full",
        /// Of a source that was left for another, or that ended, before it was its turn to be sent.
        LeftBehind = "left-behind",
        /// The subscriber's transport is not connected.
        NotConnected = "not-connected",
        /// A packet that was not kept any more when it was its turn to be sent.
        Overrun = "overrun",
        /// Older than the point from which this subscriber is served.
        BeforeStart = "before-start",
        /// A wanted retransmission is not in the cache any more.
        NackTooOld = "nack-too-old",
        /// A wanted retransmission was sent a moment ago, or is about to be sent for the first time.
        NackTooSoon = "nack-too-soon",
        /// A subscriber asks for more retransmissions than its budget.
        NackOverBudget = "nack-over-budget",
        /// A number beyond those that are looked at in one request for retransmissions.
        NackTooMany = "nack-too-many",
        /// A number in transport-wide feedback under which nothing was ever sent: it tells nothing and changes nothing.
        FeedbackNeverSent = "feedback-never-sent",
        /// A number in transport-wide feedback whose packet was sent too long ago to be remembered.
        FeedbackForgotten = "feedback-forgotten",
        /// A packet that grew beyond a datagram by rewriting.
        TooLarge = "too-large",
        /// A packet of ours that would be the second one under its SRTP index. A fault of ours: it is not sent.
        IndexUsed = "index-used",
        /// Sealing failed.
        SealFailed = "seal-failed",
    }
);

/// One counter per drop reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Drops([0; DropReason::ALL.len()])
    }
}

impl Drops {
    /// Count one.
    pub fn count(&mut self, reason: DropReason) {
        self.count_many(reason, 1);
    }

    /// Count several.
    pub fn count_many(&mut self, reason: DropReason, count: u64) {
        self.0[reason as usize] += count;
    }

    /// How many so far.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason that occurred, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL
            .iter()
            .map(|reason| (*reason, self.get(*reason)))
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_with_dashes_and_unique() {
        let mut seen = std::collections::HashSet::new();
        for reason in DropReason::ALL {
            assert!(
                reason
                    .name()
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '-'),
                "{reason}"
            );
            assert!(seen.insert(reason.name()), "{reason} is there twice");
        }
    }
}
