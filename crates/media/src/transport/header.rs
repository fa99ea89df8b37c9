//! What a packet that is to be sent has beside its payload.

use crate::wire::dependency_descriptor;
use crate::wire::extensions::{ExtensionBlock, WrittenBlock};
use crate::wire::num::{ExtSeqNo, PayloadType, RtpTime, SeqNo, Ssrc};
use crate::wire::vp8::{Numbers, PictureIds};

/// The header of a packet to send.
pub(crate) struct OutgoingHeader<'a> {
    pub(crate) marker: bool,
    pub(crate) payload_type: PayloadType,
    pub(crate) ext: ExtSeqNo,
    pub(crate) timestamp: RtpTime,
    pub(crate) ssrc: Ssrc,
    /// With room for the transport-wide number, which the packet is given when it is sealed.
    pub(crate) extensions: &'a ExtensionBlock,
    /// Bytes of padding behind the payload (RFC 3550 §5.1).
    pub(crate) padding: u8,
    /// The number before the payload of a retransmission (RFC 4588 §4).
    pub(crate) original: Option<SeqNo>,
    /// Whether the same packet may be sent again under the same number: the stream has no RTX.
    pub(crate) repeatable: bool,
    /// The numbers of VP8's pictures that stand in the payload, and those to be written there.
    pub(crate) pictures: Option<(PictureIds, Numbers)>,
    /// The payload type of the blocks of sound with copies (RFC 2198), which stands in the payload.
    pub(crate) blocks: Option<PayloadType>,
    /// The packet's dependency descriptor.
    pub(crate) descriptor: Option<OutgoingDescriptor<'a>>,
}

/// A dependency descriptor to be sent.
#[derive(Clone, Copy)]
pub(crate) struct OutgoingDescriptor<'a> {
    /// Of the header extension.
    pub(crate) id: u8,
    pub(crate) value: &'a [u8],
    /// The number of its frame towards the subscriber.
    pub(crate) frame: u16,
}

impl OutgoingDescriptor<'_> {
    /// Writes it behind the extensions that all packets of its stream have, with its frame's number.
    pub(super) fn write(
        &self,
        extensions: &ExtensionBlock,
        out: &mut [u8],
    ) -> Option<WrittenBlock> {
        let written = extensions.write_with(self.id, self.value, out)?;
        let value = out.get_mut(written.value_at..)?;
        dependency_descriptor::set_frame(value, self.frame);
        Some(written)
    }
}
