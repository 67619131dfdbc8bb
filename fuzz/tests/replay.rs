//! Every target goes through its corpus: what is small and reaches far, and all that it once failed on. With
//! `DHOW_TEST_SECONDS` each goes on for that long with what is made of it at random, unguided: where libFuzzer can't
//! be built that is better than nothing. `DHOW_FUZZ_TARGET` names one of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dhow_fuzz::{TARGETS, Target};

/// No input may take longer, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn corpus(target: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", dir.display());
    files
}

/// The input, and what is near it: cut short, and with a byte changed here and there.
fn neighbours(input: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![input.to_vec()];
    for cut in 1..8 {
        all.push(input[..input.len() * cut / 8].to_vec());
    }
    for (n, change) in [0x00, 0x01, 0x20, 0x80, 0xff].into_iter().enumerate() {
        for eighth in 0..8 {
            let mut changed = input.to_vec();
            let at = (input.len() * eighth / 8 + n).min(input.len().saturating_sub(1));
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= change;
                all.push(changed);
            }
        }
    }
    all
}

fn run(target: &Target, input: &[u8], what: &str) {
    let begun = Instant::now();
    let outcome = std::panic::catch_unwind(|| (target.run)(input));
    let took = begun.elapsed();
    if outcome.is_err() || took > PATIENCE {
        let failed = std::env::temp_dir().join(format!("failed-{}", target.name));
        std::fs::write(&failed, input).unwrap();
        eprintln!("{what}: it took {took:?}, and is in {}", failed.display());
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    assert!(took < PATIENCE, "{what} took {took:?}");
}

fn replay(target: &Target) {
    let mut inputs = Vec::new();
    for file in corpus(target.name) {
        let input = std::fs::read(&file).unwrap();
        for (n, input) in neighbours(&input).iter().enumerate() {
            run(target, input, &format!("{}, variant {n}", file.display()));
        }
        inputs.push(input);
    }
    let seconds = std::env::var("DHOW_TEST_SECONDS").ok();
    let seconds = seconds.and_then(|n| n.parse().ok()).unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(1);
    while Instant::now() < until {
        run(target, &random.made_of(&inputs), "at random");
    }
}

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    fn range(&mut self, within: &[u8]) -> std::ops::Range<usize> {
        let from = self.below(within.len());
        let most = 1 << self.below(7);
        let length = self.below(most);
        from..(from + length).min(within.len())
    }

    /// One of the inputs, changed in a few places.
    fn made_of(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        const TELLING: &[&[u8]] = &[
            b"\0",
            b"\n",
            b"/",
            b":",
            b",",
            b"\"",
            b"\\",
            b"{",
            b"}",
            b"[",
            b"]",
            b"..",
            b"%",
            b"-1",
            b"0",
            b"=",
            b"null",
            b"9223372036854775807",
            b"18446744073709551616",
            b"1e999",
            b"\xff",
            b"\x7f",
            b"\xe2\x82",
            b"@",
        ];
        let mut made = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(6) {
            let range = self.range(&made);
            let other = inputs[self.below(inputs.len())].clone();
            match self.below(7) {
                0 => drop(made.drain(range)),
                1 => drop(made.splice(range, other[self.range(&other)].to_vec())),
                2 => {
                    let copied = made[range.clone()].repeat(1 + self.below(5));
                    made.splice(range.start..range.start, copied);
                }
                3 => drop(made.splice(range, TELLING[self.below(TELLING.len())].to_vec())),
                4 => {
                    let telling = TELLING[self.below(TELLING.len())];
                    made.splice(range.start..range.start, telling.to_vec());
                }
                _ => {
                    let change = self.below(256) as u8;
                    if let Some(byte) = made.get_mut(range.start) {
                        *byte = change;
                    }
                }
            }
        }
        made
    }
}

#[test]
fn every_target_reads_its_corpus() {
    let only = std::env::var("DHOW_FUZZ_TARGET").ok();
    let wanted = |target: &&Target| only.as_deref().is_none_or(|name| name == target.name);
    for target in TARGETS.iter().filter(wanted) {
        let begun = Instant::now();
        replay(target);
        println!("{}: {:?}", target.name, begun.elapsed());
    }
}
