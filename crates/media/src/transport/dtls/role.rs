//! Who says hello first (RFC 5763 §5, RFC 8842 §5).

/// Our side of an association. Session descriptions decide it; it stays for as long as the association lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DtlsRole {
    /// The peer is `active` and says hello (`setup:passive` of ours).
    #[default]
    Server,
    /// The peer is `passive` and waits for our hello (`setup:active` of ours).
    Client,
}
