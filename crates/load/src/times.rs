//! Samples of a time, and what is told of them.

/// Samples kept: some minutes of a large room. What comes beyond is counted and not kept.
const MOST: usize = 2_000_000;

/// Times in nanoseconds.
#[derive(Default)]
pub(crate) struct Times {
    samples: Vec<u32>,
    beyond: u64,
}

/// The middle and the tail of many times, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    /// How many there were.
    pub count: u64,
    /// Half of them were shorter.
    pub p50: f64,
    /// All but one in a hundred.
    pub p99: f64,
    /// All but one in a thousand.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Times {
    pub(crate) fn add(&mut self, ns: u64) {
        if self.samples.len() < MOST {
            self.samples.push(u32::try_from(ns).unwrap_or(u32::MAX));
        } else {
            self.beyond += 1;
        }
    }

    /// What there is to tell of all samples since the last call; they are forgotten.
    pub(crate) fn take(&mut self) -> Quantiles {
        let mut samples = std::mem::take(&mut self.samples);
        let count = samples.len() as u64 + std::mem::take(&mut self.beyond);
        samples.sort_unstable();
        let Some(&longest) = samples.last() else {
            return Quantiles::default();
        };
        let at = |share: f64| {
            let rank = (share * samples.len() as f64).ceil() as usize;
            f64::from(samples[rank.clamp(1, samples.len()) - 1]) / 1000.0
        };
        Quantiles {
            count,
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: f64::from(longest) / 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_nearest_ranks_and_are_taken_once() {
        let mut times = Times::default();
        for sample in (1..=1000_u64).rev() {
            times.add(sample * 1000);
        }
        let told = times.take();
        assert_eq!((told.p50, told.p99, told.p999), (500.0, 990.0, 999.0));
        assert_eq!((told.count, told.max), (1000, 1000.0));
        assert_eq!(times.take(), Quantiles::default());
    }
}
