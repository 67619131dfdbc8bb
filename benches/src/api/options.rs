//! `api [--containers N] [--mb N] [--watchers N] [--slow N] [--rounds N] [PART...]`: smaller sizes for trying, and
//! which parts.

use anyhow::{Context, Result, bail};

/// The parts that can be asked for by name.
const PARTS: &[&str] = &["small", "slow", "events", "logs", "cp", "images"];

#[derive(Debug)]
pub struct Options {
    pub containers: usize,
    pub megabytes: u64,
    pub watchers: usize,
    pub slow: usize,
    /// How often a small request is made.
    pub rounds: usize,
    parts: Vec<String>,
}

impl Options {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Options> {
        let mut options = Options {
            containers: 200,
            megabytes: 1000,
            watchers: 1000,
            slow: 100,
            rounds: 50,
            parts: Vec::new(),
        };
        while let Some(word) = words.next() {
            let mut number = || -> Result<u64> {
                let text = words
                    .next()
                    .with_context(|| format!("{word} wants a number"))?;
                text.parse().with_context(|| format!("{word} {text}"))
            };
            match word.as_str() {
                "--containers" => options.containers = number()? as usize,
                "--mb" => options.megabytes = number()?,
                "--watchers" => options.watchers = number()? as usize,
                "--slow" => options.slow = number()? as usize,
                "--rounds" => options.rounds = number()? as usize,
                part if PARTS.contains(&part) => options.parts.push(word),
                other => bail!("there is no part `{other}`: they are {}", PARTS.join(", ")),
            }
        }
        Ok(options)
    }

    /// All, where none is named.
    pub fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|asked| asked == part)
    }

    pub fn bytes(&self) -> u64 {
        self.megabytes * 1_000_000
    }
}
