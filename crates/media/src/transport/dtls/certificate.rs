//! How a certificate is named in a session description.

use aws_lc_rs::digest;

/// The certificate's SHA-256, as `a=fingerprint` has it (RFC 8122 §5).
pub fn fingerprint(certificate_der: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, certificate_der).as_ref());
    hash
}
