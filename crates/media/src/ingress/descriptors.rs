//! What a track's packets say of their layers, and what of that is passed on.

use crate::ingress::track::Track;
use crate::wire::codecs::{self, Codec};
use crate::wire::dependency_descriptor::MANDATORY;
use crate::wire::layers::Layers;
use crate::wire::rtp::RtpView;

impl Track {
    /// A packet's dependency descriptor, empty where none is passed on, and who needs the packet.
    ///
    /// VP8 and VP9 say in each payload of which layer it is, so that layers can be left out whatever the peers negotiated,
    /// and nothing has to be remembered; AV1 says it in the descriptor alone.
    pub(crate) fn read_layers<'a>(
        &mut self,
        view: &RtpView<'a>,
        payload: &[u8],
    ) -> (&'a [u8], Layers) {
        let codec = self.spec.codec;
        let layers = codecs::layers(codec, payload);
        if !matches!(codec, Codec::Vp9 | Codec::Av1) || payload.is_empty() {
            return (&[], layers);
        }
        let id = self.spec.dependency_descriptor_extension;
        let Some(descriptor) = id.and_then(|id| view.extension(id)) else {
            return (&[], layers);
        };
        if codec == Codec::Vp9 {
            let is_whole = descriptor.len() >= MANDATORY;
            return (if is_whole { descriptor } else { &[] }, layers);
        }
        let structure = self.structure.get_or_insert_default();
        match structure.read(descriptor) {
            Ok(said) => (descriptor, said.layers),
            // It belongs to a structure that is still to come; meanwhile all is passed on.
            Err(error) if error.is_early() => (descriptor, Layers::NONE),
            Err(_) => (&[], Layers::BROKEN),
        }
    }
}
