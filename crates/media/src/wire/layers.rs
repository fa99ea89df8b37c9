//! What a packet says of the layers of its picture.

use crate::wire::vp8::{self, PictureIds};
use crate::wire::vp9;

/// The highest temporal layer that any codec here has.
pub const MAX_TEMPORAL: u8 = 7;

/// Of which temporal layers a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Bit n: whoever gets the layers up to n needs it.
    pub needed: u8,
    /// Bit n: whoever got the layers up to n - 1 may go on with those up to n from here.
    pub opens: u8,
    /// How its picture is numbered.
    pub ids: PictureIds,
}

impl Layers {
    /// Of a packet that says nothing: everybody needs it.
    pub const NONE: Layers = Layers {
        needed: 0xff,
        opens: 0,
        ids: PictureIds::NONE,
    };

    /// Of a packet that cannot be read: nobody can use it.
    pub const BROKEN: Layers = Layers {
        needed: 0,
        ..Layers::NONE
    };

    /// Of a packet of VP8. A picture that depends on the lowest layer alone opens its layer (RFC 7741 §4.2, Y).
    pub fn of_vp8(descriptor: &vp8::Descriptor) -> Layers {
        let (layer, opens) = descriptor.temporal.unwrap_or((0, false));
        Layers {
            needed: 0xff << layer,
            opens: u8::from(opens && layer > 0) << layer,
            ids: descriptor.ids,
        }
    }

    /// Of a packet of VP9. A switching point opens all layers above its own (RFC 9628 §4.2, U).
    pub fn of_vp9(descriptor: &vp9::Descriptor) -> Layers {
        let Some(layered) = descriptor.layers else {
            return Layers::NONE;
        };
        Layers {
            needed: 0xff << layered.temporal,
            opens: if layered.opens { 0xfe } else { 0 } << layered.temporal,
            ids: PictureIds::NONE,
        }
    }

    /// The lowest layers with which it is sent: the temporal layer that it is of.
    pub fn lowest(&self) -> u8 {
        match self.needed {
            0 => 0,
            needed => needed.trailing_zeros() as u8,
        }
    }
}
