//! The dependency descriptor (AV1's RTP payload format, appendix A): which layers need a frame, and from which frames on
//! more of them can be decoded. Most packets name a template of a structure that came with the last keyframe.

use crate::wire::layers::{Layers, MAX_TEMPORAL};
use crate::wire::vp8::PictureIds;

/// Templates of a structure at most (MAX_TEMPLATE_ID), and decode targets, which are counted in five bits.
const MAX_TEMPLATES: usize = 64;
const MAX_TARGETS: usize = 32;

/// The highest spatial layer (MAX_SPATIAL_ID).
const MAX_SPATIAL: u8 = 3;

/// What a frame is to a decode target (table A.2): two bits, of which these values matter here.
const NOT_PRESENT: u64 = 0;
const SWITCH: u64 = 2;

/// The length of a descriptor that names its template and nothing else.
pub(crate) const MANDATORY: usize = 3;

/// Where in it the number of its frame stands, of two bytes.
const FRAME: std::ops::Range<usize> = 1..3;

/// The number of a descriptor's frame; none when it is too short to have one.
pub(crate) fn frame(descriptor: &[u8]) -> Option<u16> {
    let number = descriptor.get(FRAME)?;
    Some(u16::from_be_bytes([number[0], number[1]]))
}

/// Writes another number of its frame into a descriptor.
pub(crate) fn set_frame(descriptor: &mut [u8], number: u16) {
    if let Some(place) = descriptor.get_mut(FRAME) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

/// Why a descriptor tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DescriptorError {
    /// It ends before its end.
    Truncated,
    /// Its structure has more templates than there are numbers for.
    TooManyTemplates,
    /// Its structure has a spatial layer above the highest there is.
    SpatialLayer,
    /// The same for a temporal layer.
    TemporalLayer,
    /// No structure came before it.
    NoStructure,
    /// It names a template that the structure does not have: another structure is missing.
    UnknownTemplate,
}

impl DescriptorError {
    /// Whether it may be right, and only what it refers to is not here: it was lost, or comes later.
    pub fn is_early(self) -> bool {
        matches!(
            self,
            DescriptorError::NoStructure | DescriptorError::UnknownTemplate
        )
    }
}

/// What a descriptor says of its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Whether the packet is the first of its frame.
    pub begins_frame: bool,
    /// Whether it is the last.
    pub ends_frame: bool,
    /// The number of its frame.
    pub frame: u16,
    /// Whether it brought a structure: a coded video sequence begins.
    pub has_structure: bool,
    /// The frame's spatial layer.
    pub spatial: u8,
    /// The frame's temporal layer.
    pub temporal: u8,
    /// Who needs it.
    pub layers: Layers,
}

/// What the descriptors of one stream refer to: the last structure, and which of its decode targets are sent. It is as large
/// as it will ever be from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    template_count: usize,
    target_count: u8,
    chain_count: u8,
    /// The number of the first template.
    offset: u8,
    /// Of each template: its layers, and two bits for each decode target, the first one the lowest.
    spatial: [u8; MAX_TEMPLATES],
    temporal: [u8; MAX_TEMPLATES],
    indications: [u64; MAX_TEMPLATES],
    /// Of each decode target: the highest layers in it.
    target_spatial: [u8; MAX_TARGETS],
    target_temporal: [u8; MAX_TARGETS],
    /// Bit n: decode target n is sent.
    active: u32,
}

impl Default for Structure {
    fn default() -> Self {
        Structure {
            template_count: 0,
            target_count: 0,
            chain_count: 0,
            offset: 0,
            spatial: [0; MAX_TEMPLATES],
            temporal: [0; MAX_TEMPLATES],
            indications: [0; MAX_TEMPLATES],
            target_spatial: [0; MAX_TARGETS],
            target_temporal: [0; MAX_TARGETS],
            active: 0,
        }
    }
}

impl Structure {
    /// Reads a descriptor. A structure that it brings takes the place of this one, unless something of it is wrong.
    pub fn read(&mut self, descriptor: &[u8]) -> Result<Descriptor, DescriptorError> {
        let mut bits = Bits::new(descriptor);
        let begins_frame = bits.flag()?;
        let ends_frame = bits.flag()?;
        let template = bits.take(6)? as u8;
        let frame = bits.take(16)? as u16;
        let mut head = Descriptor {
            begins_frame,
            ends_frame,
            frame,
            has_structure: false,
            spatial: 0,
            temporal: 0,
            layers: Layers::NONE,
        };
        if descriptor.len() == MANDATORY {
            let at = self.place_of(template)?;
            return Ok(self.describe(head, at, self.indications[at]));
        }
        head.has_structure = bits.flag()?;
        let has_active = bits.flag()?;
        let custom = [bits.flag()?, bits.flag()?, bits.flag()?];
        if head.has_structure {
            let mut brought = Structure::default();
            brought.read_structure(&mut bits)?;
            let read = brought.read_frame(&mut bits, head, template, has_active, custom)?;
            *self = brought;
            return Ok(read);
        }
        // Without a structure it cannot be told how long anything is.
        self.place_of(template)?;
        self.read_frame(&mut bits, head, template, has_active, custom)
    }

    /// What follows the structure, or the place where it would be. Changes nothing when something of it is wrong.
    fn read_frame(
        &mut self,
        bits: &mut Bits<'_>,
        head: Descriptor,
        template: u8,
        has_active: bool,
        [custom_indications, custom_references, custom_chains]: [bool; 3],
    ) -> Result<Descriptor, DescriptorError> {
        let targets = u32::from(self.target_count);
        let mut active = self.active;
        if has_active {
            // The first bit that is read is the highest.
            active = bits.take(targets)?;
        }
        let at = self.place_of(template)?;
        let indications = match custom_indications {
            true => bits.indications(self.target_count)?,
            false => self.indications[at],
        };
        if custom_references {
            loop {
                let size = bits.take(2)?;
                if size == 0 {
                    break;
                }
                bits.take(4 * size)?;
            }
        }
        if custom_chains {
            bits.skip(8 * usize::from(self.chain_count))?;
        }
        self.active = active;
        Ok(self.describe(head, at, indications))
    }

    fn read_structure(&mut self, bits: &mut Bits<'_>) -> Result<(), DescriptorError> {
        self.offset = bits.take(6)? as u8;
        self.target_count = bits.take(5)? as u8 + 1;
        self.active = u32::MAX >> (MAX_TARGETS - usize::from(self.target_count));
        let highest_spatial = self.read_layers(bits)?;
        for at in 0..self.template_count {
            self.indications[at] = bits.indications(self.target_count)?;
        }
        for _ in 0..self.template_count {
            while bits.flag()? {
                bits.take(4)?;
            }
        }
        self.read_chains(bits)?;
        if bits.flag()? {
            // A width and a height for each spatial layer.
            bits.skip(32 * (usize::from(highest_spatial) + 1))?;
        }
        self.find_targets();
        Ok(())
    }

    /// The layers of each template; returns the highest spatial one.
    fn read_layers(&mut self, bits: &mut Bits<'_>) -> Result<u8, DescriptorError> {
        let (mut spatial, mut temporal) = (0, 0);
        loop {
            if self.template_count == MAX_TEMPLATES {
                return Err(DescriptorError::TooManyTemplates);
            }
            self.spatial[self.template_count] = spatial;
            self.temporal[self.template_count] = temporal;
            self.template_count += 1;
            match bits.take(2)? {
                0 => {}
                1 if temporal == MAX_TEMPORAL => return Err(DescriptorError::TemporalLayer),
                1 => temporal += 1,
                2 if spatial == MAX_SPATIAL => return Err(DescriptorError::SpatialLayer),
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => return Ok(spatial),
            }
        }
    }

    fn read_chains(&mut self, bits: &mut Bits<'_>) -> Result<(), DescriptorError> {
        self.chain_count = bits.below(u32::from(self.target_count) + 1)? as u8;
        if self.chain_count == 0 {
            return Ok(());
        }
        for _ in 0..self.target_count {
            bits.below(u32::from(self.chain_count) + 1)?;
        }
        bits.skip(4 * self.template_count * usize::from(self.chain_count))
    }

    /// The layers of a decode target are the highest ones of which it has frames.
    fn find_targets(&mut self) {
        for template in 0..self.template_count {
            for target in 0..usize::from(self.target_count) {
                if self.indications[template] >> (2 * target) & 3 != NOT_PRESENT {
                    let spatial = &mut self.target_spatial[target];
                    *spatial = (*spatial).max(self.spatial[template]);
                    let temporal = &mut self.target_temporal[target];
                    *temporal = (*temporal).max(self.temporal[template]);
                }
            }
        }
    }

    fn place_of(&self, template: u8) -> Result<usize, DescriptorError> {
        if self.template_count == 0 {
            return Err(DescriptorError::NoStructure);
        }
        let at = usize::from(template.wrapping_sub(self.offset)) % MAX_TEMPLATES;
        match at < self.template_count {
            true => Ok(at),
            false => Err(DescriptorError::UnknownTemplate),
        }
    }

    fn describe(&self, head: Descriptor, at: usize, indications: u64) -> Descriptor {
        Descriptor {
            spatial: self.spatial[at],
            temporal: self.temporal[at],
            layers: self.layers(self.spatial[at], indications),
            ..head
        }
    }

    /// Who needs a frame of these indications. All spatial layers are passed on, so whoever gets the temporal layers up to n
    /// needs what any decode target of no more than these has. A frame opens a temporal layer when that may be switched
    /// to with it in its own spatial layer, and who comes from the layer below gets the frame itself.
    fn layers(&self, spatial: u8, indications: u64) -> Layers {
        let mut present = 0_u8;
        // By temporal layer: whether there are decode targets, and whether one of them cannot be switched to.
        let (mut here, mut closed_here, mut closed_anywhere) = (0_u8, 0_u8, 0_u8);
        for target in 0..usize::from(self.target_count) {
            if self.active >> target & 1 == 0 {
                continue;
            }
            let indication = indications >> (2 * target) & 3;
            let layer = 1 << self.target_temporal[target];
            if indication != NOT_PRESENT {
                present |= layer;
            }
            let closed = if indication == SWITCH { 0 } else { layer };
            closed_anywhere |= closed;
            if self.target_spatial[target] == spatial {
                here |= layer;
                closed_here |= closed;
            }
        }
        // Of no target that is sent: only who gets all there is gets that.
        let lowest = present.trailing_zeros().min(u32::from(MAX_TEMPORAL));
        let needed = 0xff << lowest;
        let closed = closed_here | closed_anywhere & !here;
        Layers {
            needed,
            opens: !closed & needed << 1,
            ids: PictureIds::NONE,
        }
    }
}

/// Bits from the highest of the first byte on.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, at: 0 }
    }

    fn skip(&mut self, count: usize) -> Result<(), DescriptorError> {
        let end = self.at + count;
        if end > 8 * self.bytes.len() {
            return Err(DescriptorError::Truncated);
        }
        self.at = end;
        Ok(())
    }

    fn flag(&mut self) -> Result<bool, DescriptorError> {
        Ok(self.take(1)? == 1)
    }

    /// Up to 32 bits as a number.
    fn take(&mut self, count: u32) -> Result<u32, DescriptorError> {
        let from = self.at;
        self.skip(count as usize)?;
        let mut value = 0;
        let mut at = from;
        while at < self.at {
            let in_byte = at % 8;
            let some = (8 - in_byte).min(self.at - at);
            let byte = self.bytes[at / 8];
            let part = u32::from(byte << in_byte >> (8 - some));
            value = value << some | part;
            at += some;
        }
        Ok(value)
    }

    /// A number below `count`, the smaller of which take a bit less: ns(n) of A.4.1.
    fn below(&mut self, count: u32) -> Result<u32, DescriptorError> {
        let width = u32::BITS - count.leading_zeros();
        let short = (1 << width) - count;
        let value = self.take(width - 1)?;
        if value < short {
            return Ok(value);
        }
        Ok((value << 1) - short + self.take(1)?)
    }

    /// Two bits for each decode target.
    fn indications(&mut self, targets: u8) -> Result<u64, DescriptorError> {
        let mut all = 0;
        for target in 0..targets {
            all |= u64::from(self.take(2)?) << (2 * target);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
