//! Docker's shares and weights of version 1 as version 2's, the way other runtimes convert them, so that a
//! container weighs the same whoever runs it.

/// `cpu.shares` (2 to 262,144, 1,024 by default) as `cpu.weight` (1 to 10,000, 100 by default): a quadratic
/// fit in the logarithm through minimum, default and maximum.
pub(super) fn cpu_weight(shares: u64) -> u64 {
    match shares {
        0 => 0,
        1..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// `blkio.weight` (10 to 1,000) as `io.weight` (1 to 10,000).
pub(super) fn io_weight(weight: u16) -> u64 {
    match u64::from(weight) {
        0 => 0,
        w => 1 + (w.clamp(10, 1000) - 10) * 9999 / 990,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimum_default_and_maximum_meet() {
        assert_eq!([2, 1024, 262_144].map(cpu_weight), [1, 100, 10_000]);
        assert_eq!([10, 1000].map(io_weight), [1, 10_000]);
        assert_eq!((cpu_weight(0), io_weight(0)), (0, 0));
        assert!((2..2000).map(cpu_weight).is_sorted());
    }
}
