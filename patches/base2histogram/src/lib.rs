//! What openraft asks of the crate of this name: it counts how many entries it sends together, which is
//! shown only with a feature that is off here. The crate itself makes tables for all sixteen of its
//! resolutions with the first histogram of a process: 24 MB, nearly half of what an empty node needs.
//!
//! Here a histogram has 65 numbers: how many values had so many binary digits. A percentile is told as the
//! least value with the digits that it has.

use std::fmt;

const BUCKETS: usize = 65;

/// Counts values by their binary digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    data: Option<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// One without values.
    pub fn new() -> Self {
        Self { counts: [0; BUCKETS], data: None }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value so many times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        let digits = (u64::BITS - value.leading_zeros()) as usize;
        self.counts[digits] = self.counts[digits].saturating_add(count);
    }

    /// How many values there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What is said of the values now.
    pub fn current_data(&self) -> Option<&T> {
        self.data.as_ref()
    }

    /// The value below which so many of ten thousand are.
    fn percentile(&self, of_ten_thousand: u64) -> u64 {
        let wanted = u128::from(self.total()) * u128::from(of_ten_thousand);
        let mut seen = 0u128;
        for (digits, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if *count > 0 && seen * 10_000 >= wanted {
                return if digits == 0 { 0 } else { 1 << (digits - 1) };
            }
        }
        0
    }

    /// The usual percentiles.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(10),
            p1: self.percentile(100),
            p5: self.percentile(500),
            p10: self.percentile(1_000),
            p50: self.percentile(5_000),
            p90: self.percentile(9_000),
            p99: self.percentile(9_900),
            p99_9: self.percentile(9_990),
        }
    }
}

/// Percentiles of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p90, p99, p99_9, .. } = self;
        write!(f, "{samples} samples, p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}")
    }
}

/// Histograms under their names.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart(Vec<(String, Histogram)>);

impl AsciiChart {
    /// One without histograms.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.0.push((name.into(), histogram));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(name, histogram)| writeln!(f, "{name}: {}", histogram.percentile_stats()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_by_their_digits() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats(), PercentileStats::default());
        histogram.record_n(0, 50);
        histogram.record_n(9, 49);
        histogram.record(u64::MAX);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p50, stats.p90, stats.p99, stats.p99_9), (100, 0, 8, 8, 1 << 63));
    }
}
