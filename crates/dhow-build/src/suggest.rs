//! `(did you mean X?)`: the word that was meant, where one is close.

use std::fmt;

/// A word is close at fewer changes than this.
const FAR: usize = 3;

/// So many options are looked at.
const MOST: usize = 1000;

/// Longer words are not compared: no one misspells those, and comparing takes time.
const LONGEST: usize = 64;

/// What was meant, or nothing; shown as the end of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint(pub Option<String>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(word) => write!(f, " (did you mean {word}?)"),
            None => Ok(()),
        }
    }
}

/// The option closest to `word`. An option that is the word says that the word was not the trouble.
pub fn closest<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Hint {
    if word.len() > LONGEST {
        return Hint(None);
    }
    let (mut best, mut found) = (FAR, None);
    for option in options.into_iter().take(MOST) {
        if option == word {
            return Hint(None);
        }
        let distance = distance(word, option);
        if distance < best {
            (best, found) = (distance, Some(option));
        }
    }
    Hint(found.map(str::to_owned))
}

/// [`closest`] whatever the case, in the case of the word.
pub fn closest_in_any_case(word: &str, options: &[&str]) -> Hint {
    let lower: Vec<String> = options.iter().map(|o| o.to_lowercase()).collect();
    let Hint(found) = closest(&word.to_lowercase(), lower.iter().map(String::as_str));
    Hint(found.map(|found| {
        if word.to_lowercase() == word {
            found
        } else if word.to_uppercase() == word {
            found.to_uppercase()
        } else {
            let same = options.iter().find(|o| o.to_lowercase() == found);
            same.map_or(found, |same| same.to_lowercase())
        }
    }))
}

/// Levenshtein's: characters put in, left out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(LONGEST * 2).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_close_is_named() {
        let hint = |word| closest(word, ["chown", "chmod", "link"]).to_string();
        assert_eq!(hint("chwon"), " (did you mean chown?)");
        assert_eq!(hint("lnk"), " (did you mean link?)");
        assert_eq!(hint("link"), "");
        assert_eq!(hint("exclude"), "");
    }

    #[test]
    fn a_hint_has_the_case_of_the_word() {
        let hint = |word| closest_in_any_case(word, &["COPY", "FROM"]).to_string();
        assert_eq!(hint("COPPY"), " (did you mean COPY?)");
        assert_eq!(hint("form"), " (did you mean from?)");
        assert_eq!(hint("Coppy"), " (did you mean copy?)");
    }
}
