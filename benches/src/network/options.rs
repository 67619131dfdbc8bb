//! `network [N] [PART...]`: how many containers are on the full network, and which parts.

use anyhow::{Result, bail};

/// The parts that can be asked for by name.
const PARTS: &[&str] = &["stack", "traffic", "networks", "ports"];

#[derive(Debug)]
pub struct Options {
    pub containers: usize,
    parts: Vec<String>,
}

impl Options {
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Options> {
        let mut options = Options {
            containers: 200,
            parts: Vec::new(),
        };
        for word in words {
            if let Ok(number) = word.parse() {
                options.containers = number;
            } else if PARTS.contains(&word.as_str()) {
                options.parts.push(word);
            } else {
                bail!("there is no part `{word}`: they are {}", PARTS.join(", "));
            }
        }
        Ok(options)
    }

    /// All, where none is named.
    pub fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|asked| asked == part)
    }
}
