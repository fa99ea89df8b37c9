//! How many bits a second something is, over the last second, by its temporal layers.

use std::time::{Duration, Instant};

const PART: Duration = Duration::from_millis(250);
const PARTS: usize = 4;

/// Temporal layers that are measured by themselves: as many as encoders make. What is of a higher one counts as the last.
const LAYERS: usize = 4;

/// Bytes of the last second, in four parts, each by temporal layer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    /// When the part that is being filled began, and when the first one did.
    began: Option<Instant>,
    first: Option<Instant>,
    running: [u64; LAYERS],
    parts: [[u64; LAYERS]; PARTS],
    highest: u8,
}

impl Meter {
    /// Counts what came of a temporal layer.
    pub(crate) fn count(&mut self, now: Instant, layer: u8, bytes: usize) {
        self.roll(now);
        let layer = layer.min(LAYERS as u8 - 1);
        self.highest = self.highest.max(layer);
        self.running[usize::from(layer)] += bytes as u64;
    }

    /// The highest temporal layer that ever came: one that does not come for a moment is no reason to count anew.
    pub(crate) fn highest(&self) -> u8 {
        self.highest
    }

    fn roll(&mut self, now: Instant) {
        let Some(began) = self.began else {
            (self.began, self.first) = (Some(now), Some(now));
            return;
        };
        let passed = now.saturating_duration_since(began);
        if passed < PART {
            return;
        }
        let whole = (passed.as_millis() / PART.as_millis()) as usize;
        for _ in 0..whole.min(PARTS) {
            self.parts.rotate_right(1);
            self.parts[0] = std::mem::take(&mut self.running);
        }
        if whole > PARTS {
            // After a silence it begins anew: what comes next is not thinned by it.
            self.parts = [[0; LAYERS]; PARTS];
            (self.began, self.first) = (Some(now), Some(now));
        } else {
            self.began = Some(began + PART * whole as u32);
        }
    }

    /// Bits a second of the layers up to that one over the last second, or over what there was of it; none before a quarter
    /// of one. A keyframe counts no more than what is beside it: it is seldom, and what it needs is not needed all the time.
    pub(crate) fn bits_per_second(&mut self, now: Instant, up_to: u8) -> Option<u64> {
        self.roll(now);
        let (first, began) = self.first.zip(self.began)?;
        let measured = began.saturating_duration_since(first);
        let parts = (measured.as_millis() / PART.as_millis()).min(PARTS as u128) as u64;
        let layers = usize::from(up_to).min(LAYERS - 1) + 1;
        let sums = self.parts.map(|part| part[..layers].iter().sum::<u64>());
        let all: u64 = sums.iter().sum();
        let largest = sums.into_iter().max().unwrap_or_default();
        let scale = 8 * 1_000 / PART.as_millis() as u64;
        let mean = (all * scale).checked_div(parts)?;
        let usual = ((all - largest) * scale).checked_div(parts - 1);
        Some(usual.map_or(mean, |usual| mean.min(usual)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_tells_the_last_second_soon_after_the_start_and_forgets_what_was_before() {
        let start = Instant::now();
        let mut meter = Meter::default();
        assert_eq!(meter.bits_per_second(start, 0), None);
        let mut told = Vec::new();
        for ms in 0..4_000 {
            let bytes = if ms < 2_000 { 100 } else { 25 };
            meter.count(start + MS * ms, 0, bytes);
            if [100, 260, 900, 1_900, 2_300, 3_300].contains(&ms) {
                told.push(meter.bits_per_second(start + MS * ms, 0));
            }
        }
        let expected = [None, Some(800), Some(800), Some(800), Some(600), Some(200)];
        assert_eq!(
            told,
            expected.map(|kilo: Option<u64>| kilo.map(|it| it * 1_000))
        );
    }

    #[test]
    fn a_keyframe_counts_no_more_than_what_is_beside_it_and_what_goes_on_counts_whole() {
        let start = Instant::now();
        let mut meter = Meter::default();
        for ms in 0..5_000 {
            let bytes = if ms == 2_400 { 50_000 } else { 100 };
            meter.count(start + MS * ms, 0, if ms < 3_000 { bytes } else { 300 });
            let told = meter.bits_per_second(start + MS * ms, 0);
            let expected = match ms {
                1_990 => 800_000,
                2_600 => 800_000,
                4_990 => 2_400_000,
                _ => continue,
            };
            assert_eq!(told, Some(expected), "{ms}");
        }
    }

    #[test]
    fn a_silence_is_nothing_and_does_not_thin_what_comes_after_it() {
        let start = Instant::now();
        let mut meter = Meter::default();
        for ms in 0..1_000 {
            meter.count(start + MS * ms, 0, 100);
        }
        let later = start + MS * 1_000;
        assert_eq!(meter.bits_per_second(later + MS * 600, 0), Some(266_666));
        assert_eq!(meter.bits_per_second(later + MS * 1_100, 0), Some(0));
        let again = later + MS * 5_000;
        for ms in 0..600 {
            meter.count(again + MS * ms, 0, 100);
        }
        assert_eq!(meter.bits_per_second(again + MS * 600, 0), Some(800_000));
    }

    #[test]
    fn layers_are_measured_by_themselves_and_told_with_those_below() {
        let start = Instant::now();
        let mut meter = Meter::default();
        for ms in 0..2_000 {
            let layer = [0, 2, 1, 2, 7][ms as usize % 5];
            meter.count(start + MS * ms, layer, 100);
        }
        let now = start + MS * 2_000;
        let told = [0, 1, 2, 3, 7].map(|up_to| meter.bits_per_second(now, up_to));
        let kilo = [160, 320, 640, 800, 800];
        assert_eq!(told, kilo.map(|kilo| Some(kilo * 1_000)));
        assert_eq!(meter.highest(), 3);
    }
}
