//! Names of the things a router keeps. The caller chooses them; they are unique in the process.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// One ICE + DTLS association with one peer.
    TransportId
);
id!(
    /// One incoming track.
    ProducerId
);
id!(
    /// One producer forwarded to one transport.
    ConsumerId
);
