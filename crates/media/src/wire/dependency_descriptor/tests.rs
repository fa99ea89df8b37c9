use super::*;
use crate::wire::num::Rng;

/// A descriptor in the making.
#[derive(Clone, Default)]
struct Written {
    bytes: Vec<u8>,
    bits: usize,
}

impl Written {
    /// One that begins and ends frame 258, of that template.
    fn head(template: u32) -> Written {
        let mut out = Written::default();
        out.put(3, 2).put(template, 6).put(258, 16);
        out
    }

    fn put(&mut self, value: u32, count: usize) -> &mut Self {
        for at in (0..count).rev() {
            if self.bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("a byte");
            let bit = value.checked_shr(at as u32).unwrap_or_default() & 1;
            *last |= (bit as u8) << (7 - self.bits % 8);
            self.bits += 1;
        }
        self
    }

    /// ns(n) of A.4.1.
    fn below(&mut self, value: u32, count: u32) -> &mut Self {
        let width = u32::BITS - count.leading_zeros();
        let short = (1 << width) - count;
        match value < short {
            true => self.put(value, width as usize - 1),
            false => self.put(value + short, width as usize),
        }
    }

    fn indications(&mut self, text: &str) -> &mut Self {
        for letter in text.chars() {
            let place = "-DSR".find(letter).expect("a letter of table A.4");
            self.put(place as u32, 2);
        }
        self
    }

    /// The structure of some templates, from template number `offset` on, protected by that many chains.
    fn structure(&mut self, offset: u32, templates: &[Template], chains: u32) -> &mut Self {
        let targets = templates[0].indications.len() as u32;
        self.put(offset, 6).put(targets - 1, 5);
        for pair in templates.windows(2) {
            let next = match pair[1].spatial > pair[0].spatial {
                true => 2,
                false => u32::from(pair[1].temporal > pair[0].temporal),
            };
            self.put(next, 2);
        }
        self.put(3, 2);
        for one in templates {
            self.indications(one.indications);
        }
        for one in templates {
            for reference in one.references {
                self.put(1, 1).put(reference - 1, 4);
            }
            self.put(0, 1);
        }
        self.below(chains, targets + 1);
        if chains > 0 {
            (0..targets).for_each(|target| {
                self.below(target % chains, chains + 1);
            });
            self.put(0, 4 * templates.len() * chains as usize);
        }
        self.put(1, 1);
        let highest = templates.iter().map(|it| it.spatial).max().unwrap();
        self.put(0, 32 * (highest as usize + 1))
    }
}

struct Template {
    spatial: u8,
    temporal: u8,
    references: &'static [u32],
    indications: &'static str,
}

const fn template(
    spatial: u8,
    temporal: u8,
    references: &'static [u32],
    indications: &'static str,
) -> Template {
    Template {
        spatial,
        temporal,
        references,
        indications,
    }
}

/// A.6.1: one spatial layer, three temporal ones, the decode target of all of them first.
const L1T3: [Template; 5] = [
    template(0, 0, &[], "SSS"),
    template(0, 0, &[4], "SSS"),
    template(0, 1, &[2], "SD-"),
    template(0, 2, &[1], "D--"),
    template(0, 2, &[1], "D--"),
];

/// A.6.2: two spatial layers, the lower of which can be switched to at every frame of it, and the upper at some.
const L2T1: [Template; 5] = [
    template(0, 0, &[], "SS"),
    template(0, 0, &[2], "RS"),
    template(0, 0, &[2], "SS"),
    template(1, 0, &[1], "S-"),
    template(1, 0, &[2, 1], "R-"),
];

/// Of Chromium 156, which sends AV1 and VP9 alike in three temporal layers (`tests/record_descriptors.py`): a packet each.
const RECORDED: [&str; 24] = [
    "800001800214eaa860414d1410208427013f00b3",
    "000001",
    "400001",
    "c30002",
    "c20003",
    "840004",
    "440004",
    "810005",
    "410005",
    "c30006",
    "c20007",
    "c40008",
    "810009",
    "410009",
    "c3000a",
    "c2000b",
    "c4000c",
    "c1000d",
    "c3000e",
    "c2000f",
    "c40010",
    "810011",
    "410011",
    "c30012",
];

/// What comes of the first packet of a sequence.
fn begin(offset: u32, templates: &[Template], chains: u32) -> Structure {
    let mut out = Written::head(offset);
    out.put(0b10000, 5).structure(offset, templates, chains);
    let mut structure = Structure::default();
    let read = structure.read(&out.bytes).expect("a structure");
    assert!(read.has_structure && read.begins_frame && read.ends_frame);
    assert_eq!((read.frame, read.spatial, read.temporal), (258, 0, 0));
    structure
}

/// Who needs a frame of that template, and what it opens.
fn of(structure: &mut Structure, template: u32) -> (u8, u8) {
    let read = structure.read(&Written::head(template).bytes).unwrap();
    assert!(!read.has_structure);
    (read.layers.needed, read.layers.opens)
}

#[test]
fn the_layers_of_the_example_with_three_temporal_ones_are_told_over_the_end_of_the_numbers() {
    for offset in [0, 17, 61] {
        let mut structure = begin(offset, &L1T3, 1);
        let mut of = |at: u32| of(&mut structure, (offset + at) % 64);
        assert_eq!(of(1), (0xff, 0xfe), "the lowest opens all");
        assert_eq!(of(2), (0xfe, 0xfc), "the middle one opens what is above it");
        assert_eq!(of(3), (0xfc, 0xf8), "the highest opens nothing");
        assert_eq!(of(4), (0xfc, 0xf8));
        let unknown = Err(DescriptorError::UnknownTemplate);
        let beyond = Written::head((offset + 5) % 64);
        assert_eq!(structure.read(&beyond.bytes), unknown);
        assert!(DescriptorError::UnknownTemplate.is_early());
    }
}

#[test]
fn a_browsers_frames_are_of_the_layers_that_it_encodes() {
    let mut structure = Structure::default();
    let mut frames = Vec::new();
    for (at, text) in RECORDED.iter().enumerate() {
        let digits = (0..text.len()).step_by(2);
        let bytes: Vec<u8> = digits
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect();
        let read = structure.read(&bytes).unwrap();
        assert_eq!(read.has_structure, at == 0);
        assert!(read.begins_frame || !frames.is_empty());
        if read.begins_frame {
            frames.push((read.frame, read.temporal, read.layers));
        }
    }
    for (frame, temporal, layers) in frames {
        let expected = [2, 0, 2, 1][usize::from(frame) % 4];
        assert_eq!(temporal, expected, "{frame}");
        assert_eq!(layers.needed, 0xff << expected, "{frame}");
        assert_eq!(layers.opens, 0xfe << expected, "{frame}");
    }
}

#[test]
fn every_spatial_layer_is_needed_by_all() {
    let mut structure = begin(9, &L2T1, 2);
    for at in 0..5 {
        assert_eq!(of(&mut structure, 9 + at).0, 0xff, "{at}");
    }
}

#[test]
fn a_layer_is_opened_where_its_own_spatial_layer_can_be_switched_to() {
    let l2t2 = [
        template(0, 0, &[], "SSSS"),
        template(0, 0, &[4], "SSRR"),
        template(0, 1, &[2], "-D-R"),
        template(1, 0, &[4, 1], "--SS"),
        template(1, 1, &[2, 1], "---D"),
    ];
    let mut structure = begin(0, &l2t2, 2);
    assert_eq!(of(&mut structure, 0), (0xff, 0xfe));
    assert_eq!(of(&mut structure, 1), (0xff, 0xfe));
    assert_eq!(of(&mut structure, 2), (0xfe, 0xfc));
    assert_eq!(of(&mut structure, 3), (0xff, 0xfe));
    assert_eq!(of(&mut structure, 4), (0xfe, 0xfc));
}

#[test]
fn a_frame_says_of_itself_what_its_template_does_not() {
    let mut structure = begin(0, &L1T3, 1);
    let mut out = Written::head(1);
    out.put(0b00111, 5).indications("RS-");
    out.put(3, 2).put(4000, 12).put(1, 2).put(3, 4).put(0, 2);
    out.put(7, 8);
    let read = structure.read(&out.bytes).unwrap();
    // Not of the lowest target, so nobody who gets that alone needs it; the highest cannot be switched to.
    assert_eq!((read.layers.needed, read.layers.opens), (0xfe, 0xf8));
    let short = Err(DescriptorError::Truncated);
    let len = out.bytes.len();
    assert_eq!(structure.read(&out.bytes[..len - 1]), short);
}

#[test]
fn targets_that_are_not_sent_count_for_nothing() {
    let mut structure = begin(0, &L1T3, 1);
    let mut out = Written::head(1);
    // The first one, of all layers, is the lowest bit.
    out.put(0b01000, 5).put(0b110, 3);
    let read = structure.read(&out.bytes).unwrap();
    assert_eq!((read.layers.needed, read.layers.opens), (0xff, 0xfe));
    assert_eq!(of(&mut structure, 3).0, 0x80, "of no target that is sent");
    // With the next structure all are.
    let mut out = Written::head(0);
    out.put(0b10000, 5).structure(0, &L1T3, 1);
    structure.read(&out.bytes).unwrap();
    assert_eq!(of(&mut structure, 3).0, 0xfc);
}

#[test]
fn what_is_wrong_has_a_name_and_changes_nothing() {
    let mut structure = Structure::default();
    let bare = Written::head(0);
    let none = Err(DescriptorError::NoStructure);
    assert_eq!(structure.read(&bare.bytes), none);
    let mut longer = bare.clone();
    longer.put(0b00111, 5).put(0, 19);
    assert_eq!(structure.read(&longer.bytes), none);
    assert_eq!(
        structure.read(&bare.bytes[..2]),
        Err(DescriptorError::Truncated)
    );
    let mut structure = begin(3, &L1T3, 1);
    let before = structure.clone();
    let mut layers = |next: &[u32]| {
        let mut out = Written::head(0);
        out.put(0b10000, 5).put(0, 6).put(0, 5);
        next.iter().for_each(|it| {
            out.put(*it, 2);
        });
        structure.read(&out.bytes)
    };
    assert_eq!(layers(&[2; 4]), Err(DescriptorError::SpatialLayer));
    assert_eq!(layers(&[1; 8]), Err(DescriptorError::TemporalLayer));
    assert_eq!(layers(&[0; 64]), Err(DescriptorError::TooManyTemplates));
    let mut out = Written::head(8);
    out.put(0b10000, 5).structure(3, &L1T3, 1);
    let unknown = Err(DescriptorError::UnknownTemplate);
    assert_eq!(structure.read(&out.bytes), unknown, "not of its own");
    let mut whole = Written::head(3);
    whole.put(0b11111, 5).structure(3, &L1T3, 1);
    whole.put(7, 3).indications("SSS").put(0, 2).put(0, 8);
    for len in 3..whole.bytes.len() {
        let read = structure.read(&whole.bytes[..len]);
        let expected = if len == 3 {
            Ok(())
        } else {
            Err(DescriptorError::Truncated)
        };
        assert_eq!(read.map(|_| ()), expected, "{len}");
    }
    assert_eq!(structure, before);
}

#[test]
fn a_number_below_any_bound_is_read_as_it_is_written() {
    for count in 2..34 {
        for value in 0..count {
            let mut out = Written::default();
            out.put(1, 3).below(value, count);
            let mut bits = Bits::new(&out.bytes);
            assert_eq!(bits.take(3), Ok(1));
            assert_eq!(bits.below(count), Ok(value), "{count}");
            assert_eq!(bits.at, out.bits);
        }
    }
}

#[test]
fn the_largest_structure_is_read() {
    const TARGETS: &str = "SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSR";
    let templates: Vec<Template> = (0..64)
        .map(|at| template((at / 16) as u8, (at % 16 / 2) as u8, &[1], TARGETS))
        .collect();
    let mut structure = begin(5, &templates, 32);
    let of_last = of(&mut structure, 4);
    // All targets have frames of the highest layers: they are one, which cannot be switched to.
    assert_eq!(of_last, (0x80, 0));
}

/// Whatever comes, in whatever order, and cut anywhere: layers stay in range, and who needs a frame is whoever gets at least
/// some layer.
#[test]
fn random_descriptors_never_panic_and_say_what_can_be_said() {
    let (mut rng, mut structure) = (Rng::new(3), Structure::default());
    let mut whole = Written::head(3);
    whole.put(0b11111, 5).structure(3, &L1T3, 1);
    whole.put(7, 3).indications("SSS").put(0, 2).put(0, 8);
    let mut read = 0;
    for _ in 0..100_000 {
        let mut bytes = whole.bytes.clone();
        bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
        for _ in 0..rng.below(4) {
            let at = rng.below(bytes.len() as u64 + 1) as usize;
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.next_u32() as u8;
            }
        }
        let Ok(said) = structure.read(&bytes) else {
            continue;
        };
        read += 1;
        assert!(said.spatial <= MAX_SPATIAL && said.temporal <= MAX_TEMPORAL);
        let needed = said.layers.needed;
        assert_eq!(needed, 0xff << needed.trailing_zeros());
        assert_eq!(said.layers.opens & !(needed << 1), 0);
    }
    assert!(read > 10_000, "{read}");
}
