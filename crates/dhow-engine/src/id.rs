//! Identifiers of containers, execs and endpoints: 64 hexadecimal digits, made at random.

use std::fmt;
use std::sync::Arc;

/// A container's id. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    pub fn random() -> Result<ContainerId, getrandom::Error> {
        Ok(ContainerId(random_hex()?.into()))
    }

    /// `None` unless `text` is 64 lower-case hexadecimal digits: an id is also a file's name.
    pub fn parse(text: &str) -> Option<ContainerId> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 64 && text.bytes().all(hex)).then(|| ContainerId(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The twelve digits that people see.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// 64 random hexadecimal digits. Twelve digits that look like a decimal number are avoided, because the
/// short id of a container is also its default host name.
pub fn random_hex() -> Result<String, getrandom::Error> {
    loop {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes)?;
        let text = hex::encode(bytes);
        if !text[..12].bytes().all(|b| b.is_ascii_digit()) {
            return Ok(text);
        }
    }
}

/// A random UUID (RFC 9562, version 4).
pub fn random_uuid() -> Result<String, getrandom::Error> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let h = hex::encode(bytes);
    Ok(format!(
        "{}-{}-{}-{}-{}",
        &h[..8],
        &h[8..12],
        &h[12..16],
        &h[16..20],
        &h[20..]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_64_lower_case_hexadecimal_digits() {
        let id = ContainerId::random().unwrap();
        assert_eq!(ContainerId::parse(id.as_str()).unwrap(), id);
        for bad in ["", "../../etc", &"A".repeat(64), &"a".repeat(63)] {
            assert!(ContainerId::parse(bad).is_none());
        }
    }
}
