//! JSON as Go's encoding/json reads it, which is what clients were written against: a struct's keys match
//! without regard to case, the last of several counts, null leaves every type's zero value, an array of fixed
//! length may be shorter or longer, and text that is no UTF-8 is mended. Keys of maps, such as labels, are what
//! they are. What is of a wrong type is named by its place.

mod deserializer;

use std::fmt::{self, Display};

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// How much of a text that does not belong is shown.
const SHOWN: usize = 60;

/// What is said of a document that something follows.
pub const TRAILING: &str = "unexpected content after JSON";

/// A document, as it was written: an object's keys are in order, and may be there twice.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// Why a document can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadError {
    /// From the inside out.
    place: Vec<String>,
    message: String,
}

impl ReadError {
    fn within(mut self, place: impl Display) -> Self {
        self.place
            .push(place.to_string().chars().take(SHOWN).collect());
        self
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, place) in self.place.iter().rev().enumerate() {
            let dot = if n == 0 || place.starts_with('[') {
                ""
            } else {
                "."
            };
            write!(f, "{dot}{place}")?;
        }
        let colon = if self.place.is_empty() { "" } else { ": " };
        write!(f, "{colon}{}", self.message)
    }
}

impl std::error::Error for ReadError {}

impl serde::de::Error for ReadError {
    fn custom<T: Display>(message: T) -> Self {
        Self {
            place: Vec::new(),
            message: message.to_string(),
        }
    }
}

/// Reads a document. A null is one in which nothing is set.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, ReadError> {
    let text = String::from_utf8_lossy(text);
    let mut documents = serde_json::Deserializer::from_str(&text).into_iter::<Tree>();
    let tree = match documents.next() {
        None => return Err(ReadError::custom("got EOF while reading request body")),
        Some(Ok(tree)) => tree,
        Some(Err(e)) if e.is_eof() => return Err(ReadError::custom("unexpected EOF")),
        Some(Err(e)) => return Err(ReadError::custom(e)),
    };
    // Go's decoder takes a bracket that closes nothing for the end.
    let rest = text[documents.byte_offset()..].trim_start();
    if !rest.is_empty() && !rest.starts_with([']', '}']) {
        return Err(ReadError::custom(TRAILING));
    }
    T::deserialize(&tree)
}

/// The two are one name to Go: letters of either case, and two characters that fold to letters.
fn same_name(one: &str, other: &str) -> bool {
    let folded = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    one.chars().map(folded).eq(other.chars().map(folded))
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Number(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Number(value.into()))
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
                let number = Number::from_f64(value);
                number
                    .map(Tree::Number)
                    .ok_or_else(|| E::custom("number out of range"))
            }

            fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Tree, E> {
                Ok(Tree::Text(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = all.next_element()? {
                    list.push(element);
                }
                Ok(Tree::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Tree, A::Error> {
                let mut object = Vec::new();
                while let Some(entry) = all.next_entry()? {
                    object.push(entry);
                }
                Ok(Tree::Object(object))
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

#[cfg(test)]
mod tests;
