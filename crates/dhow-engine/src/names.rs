//! Container names: which are allowed, and the ones made up for containers that come without.

/// Docker's rule, `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub fn is_valid(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() >= 2
        && bytes[0].is_ascii_alphanumeric()
        && bytes[1..]
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// A made-up name, an adjective and a seafarer; `attempt` makes it ever less likely to be in use.
pub fn random(attempt: u32) -> Result<String, getrandom::Error> {
    let mut seed = [0u8; 8];
    getrandom::fill(&mut seed)?;
    let adjective =
        ADJECTIVES[usize::from(u16::from_le_bytes([seed[0], seed[1]])) % ADJECTIVES.len()];
    let surname = SURNAMES[usize::from(u16::from_le_bytes([seed[2], seed[3]])) % SURNAMES.len()];
    Ok(if attempt == 0 {
        format!("{adjective}_{surname}")
    } else {
        format!(
            "{adjective}_{surname}{}",
            hex::encode(&seed[4..4 + (attempt as usize).min(4)])
        )
    })
}

const ADJECTIVES: [&str; 64] = [
    "able", "agile", "amber", "ample", "azure", "bold", "brave", "breezy", "bright", "brisk",
    "calm", "candid", "clever", "coral", "crisp", "curious", "daring", "deft", "eager", "early",
    "fair", "fleet", "fond", "frank", "free", "gentle", "glad", "golden", "grand", "hardy",
    "hearty", "honest", "jolly", "keen", "kind", "lively", "lucid", "lucky", "merry", "mild",
    "modest", "nimble", "noble", "patient", "placid", "plucky", "polite", "prime", "proud",
    "quick", "quiet", "ready", "serene", "sharp", "silver", "steady", "sunny", "swift", "tidy",
    "trusty", "upbeat", "vivid", "warm", "wise",
];

/// People of the sea: navigators, shipwrights, chart makers, explorers.
const SURNAMES: [&str; 64] = [
    "amundsen",
    "baffin",
    "baret",
    "barents",
    "battuta",
    "beaufort",
    "bering",
    "bligh",
    "bonny",
    "bougainville",
    "bowditch",
    "cabot",
    "cabral",
    "chichester",
    "columbus",
    "cook",
    "cousteau",
    "davis",
    "dias",
    "drake",
    "earle",
    "elcano",
    "eriksson",
    "evans",
    "fitzroy",
    "flinders",
    "franklin",
    "frobisher",
    "gama",
    "graham",
    "halley",
    "hanno",
    "harrison",
    "heyerdahl",
    "hudson",
    "idrisi",
    "jansz",
    "joyon",
    "knox",
    "laperouse",
    "lind",
    "magellan",
    "majid",
    "malaspina",
    "maury",
    "mercator",
    "nansen",
    "necho",
    "nordenskiold",
    "peary",
    "polo",
    "pytheas",
    "quiros",
    "raleigh",
    "ross",
    "sabin",
    "shackleton",
    "slocum",
    "tasman",
    "tupaia",
    "vancouver",
    "vespucci",
    "weddell",
    "zheng",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["ab", "a1", "Web-1.x_y", "0a"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "a", "-a", "_a", ".a", "a b", "a/b", "a\n", "ü1"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn made_up_names_are_valid() {
        for attempt in 0..6 {
            let name = random(attempt).unwrap();
            assert!(is_valid(&name) && name.contains('_'), "{name}");
        }
    }
}
