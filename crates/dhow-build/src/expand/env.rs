//! Variables and their values, in the order in which they were first set.

use std::collections::HashMap;

/// Names and values; a name that is set again keeps its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    entries: Vec<(String, String)>,
    places: HashMap<String, usize>,
}

impl Env {
    pub fn get(&self, name: &str) -> Option<&str> {
        let place = self.places.get(name)?;
        Some(&self.entries[*place].1)
    }

    pub fn set(&mut self, name: &str, value: &str) {
        match self.places.get(name) {
            Some(place) => value.clone_into(&mut self.entries[*place].1),
            None => {
                self.places.insert(name.to_owned(), self.entries.len());
                self.entries.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Env {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Env {
        let mut env = Env::default();
        for (name, value) in pairs {
            env.set(name, value);
        }
        env
    }
}

/// `NAME=value` as images have them.
impl<'a> FromIterator<&'a str> for Env {
    fn from_iter<I: IntoIterator<Item = &'a str>>(pairs: I) -> Env {
        let split = |pair: &'a str| pair.split_once('=').unwrap_or((pair, ""));
        pairs.into_iter().map(split).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts_and_the_first_place() {
        let env: Env = ["a=1", "b", "a=2=3"].into_iter().collect();
        let pairs: Vec<_> = env.iter().collect();
        assert_eq!(pairs, [("a", "2=3"), ("b", "")]);
        assert_eq!(env.get("a"), Some("2=3"));
        assert_eq!(env.get("c"), None);
    }
}
