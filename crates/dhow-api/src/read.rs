//! JSON as Go's encoding/json reads it, which is what clients were written against: a struct's keys match
//! without regard to case, the last of several counts, null leaves every type's zero value, an array of fixed
//! length may be shorter or longer, and text that is no UTF-8 is mended. Keys of maps, such as labels, are what
//! they are. What is of a wrong type is named by its place.

use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
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

impl Tree {
    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Tree::Null => Unexpected::Unit,
            Tree::Bool(value) => Unexpected::Bool(*value),
            Tree::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => Unexpected::Unsigned(value),
                (_, Some(value)) => Unexpected::Signed(value),
                _ => Unexpected::Float(number.as_f64().unwrap_or_default()),
            },
            Tree::Text(text) => {
                let end = text
                    .char_indices()
                    .nth(SHOWN)
                    .map_or(text.len(), |(at, _)| at);
                Unexpected::Str(&text[..end])
            }
            Tree::List(_) => Unexpected::Seq,
            Tree::Object(_) => Unexpected::Map,
        }
    }

    fn number<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Tree::Null => visitor.visit_u64(0),
            Tree::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), ..) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (.., value) => visitor.visit_f64(value.unwrap_or_default()),
            },
            other => Err(ReadError::invalid_type(other.unexpected(), &visitor)),
        }
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for &'de Tree {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(value) => visitor.visit_bool(*value),
            Tree::Number(_) => self.number(visitor),
            Tree::Text(text) => visitor.visit_borrowed_str(text),
            Tree::List(list) => visitor.visit_seq(Elements::of(list, None)),
            Tree::Object(object) => visitor.visit_map(Entries::of_map(object)),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Tree::Null => visitor.visit_bool(false),
            Tree::Bool(value) => visitor.visit_bool(*value),
            other => Err(ReadError::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Tree::Null => visitor.visit_str(""),
            Tree::Text(text) => visitor.visit_borrowed_str(text),
            other => Err(ReadError::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Tree::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Tree::Null => visitor.visit_seq(Elements::of(&[], None)),
            Tree::List(list) => visitor.visit_seq(Elements::of(list, None)),
            other => Err(ReadError::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self {
            Tree::Null => visitor.visit_seq(Elements::of(&[], Some(length))),
            Tree::List(list) => visitor.visit_seq(Elements::of(list, Some(length))),
            other => Err(ReadError::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Tree::Null => visitor.visit_map(Entries::of_map(&[])),
            Tree::Object(object) => visitor.visit_map(Entries::of_map(object)),
            other => Err(ReadError::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self {
            Tree::Null => visitor.visit_map(Entries::of_map(&[])),
            Tree::Object(object) => visitor.visit_map(Entries::of_struct(object, fields)),
            other => Err(ReadError::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self {
            Tree::Text(text) => {
                let variant: StrDeserializer<'_, ReadError> = text.as_str().into_deserializer();
                visitor.visit_enum(variant)
            }
            other => Err(ReadError::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct identifier }
}

/// A list's elements; where there is a number of them, exactly so many.
struct Elements<'de> {
    list: &'de [Tree],
    at: usize,
    length: usize,
}

impl<'de> Elements<'de> {
    fn of(list: &'de [Tree], length: Option<usize>) -> Self {
        Self {
            list,
            at: 0,
            length: length.unwrap_or(list.len()),
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        if self.at == self.length {
            return Ok(None);
        }
        let at = self.at;
        self.at += 1;
        let element = self.list.get(at).unwrap_or(&Tree::Null);
        let read = seed.deserialize(element);
        read.map(Some).map_err(|e| e.within(format_args!("[{at}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.length - self.at)
    }
}

/// An object's entries, by the names that its reader knows them by.
struct Entries<'de> {
    left: std::vec::IntoIter<(&'de str, &'de Tree)>,
    value: Option<(&'de str, &'de Tree)>,
}

impl<'de> Entries<'de> {
    fn of_map(object: &'de [(String, Tree)]) -> Self {
        let all: Vec<_> = object
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .collect();
        Self {
            left: all.into_iter(),
            value: None,
        }
    }

    /// What is no field is left out, and of a field written twice the last counts.
    fn of_struct(object: &'de [(String, Tree)], fields: &'static [&'static str]) -> Self {
        let mut all: Vec<(&str, &Tree)> = Vec::with_capacity(object.len().min(fields.len()));
        for (key, value) in object {
            let exact = fields.iter().find(|field| *field == key);
            let Some(field) = exact.or_else(|| fields.iter().find(|f| same_name(f, key))) else {
                continue;
            };
            match all.iter_mut().find(|(name, _)| name == field) {
                Some(there) => there.1 = value,
                None => all.push((field, value)),
            }
        }
        Self {
            left: all.into_iter(),
            value: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.value = self.left.next();
        let Some((key, _)) = self.value else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, ReadError> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (key, value) = self.value.take().unwrap_or(("", &Tree::Null));
        seed.deserialize(value).map_err(|e| e.within(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContainerCreateRequest, ContainerUpdateRequest, ExecCreateRequest};

    fn create(text: &str) -> Result<ContainerCreateRequest, String> {
        from_slice(text.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn keys_of_structs_match_in_any_case_and_those_of_maps_do_not() {
        let read = create(
            r#"{"image":"x","ENV":["A=1"],"labels":{"Deck":"1","deck":"2"},"hostConfig":{"memory":7,"\u017fhmSize":8,
                "sysctls":{"net.X":"1"},"networkmode":"host","portBindings":{"80/tcp":[{"hostport":"1"}]},
                "mounts":[{"type":"tmpfs","tmpfsOptions":{"sizebytes":9}}]},"networkingconfig":{"endpointsconfig":{"Bridge":{"ipaddress":"1"}}}}"#,
        )
        .unwrap();
        assert_eq!(
            (read.config.image.as_str(), read.config.env),
            ("x", Some(vec!["A=1".into()]))
        );
        assert_eq!(read.config.labels.len(), 2);
        let host = read.host_config.unwrap();
        assert_eq!((host.resources.memory, host.shm_size), (7, 8));
        assert_eq!(
            (host.sysctls["net.X"].as_str(), host.network_mode.as_str()),
            ("1", "host")
        );
        assert_eq!(
            host.port_bindings.unwrap()["80/tcp"].as_ref().unwrap()[0].host_port,
            "1"
        );
        assert_eq!(host.mounts[0].tmpfs_options.as_ref().unwrap().size_bytes, 9);
        let networks = read.networking_config.unwrap().endpoints_config;
        assert_eq!(networks["Bridge"].as_ref().unwrap().ip_address, "1");
        let update: ContainerUpdateRequest =
            from_slice(br#"{"memory":5,"restartpolicy":{"name":"always"}}"#).unwrap();
        assert_eq!(
            (update.resources.memory, update.restart_policy.name.as_str()),
            (5, "always")
        );
        let exec: ExecCreateRequest =
            from_slice(br#"{"detachKeys":"ctrl-a","cmd":["x"]}"#).unwrap();
        assert_eq!(exec.detach_keys, "ctrl-a");
    }

    #[test]
    fn the_last_of_several_counts() {
        let read =
            create(r#"{"Image":"a","image":"b","Tty":true,"Labels":{"a":"1","a":"2"}}"#).unwrap();
        assert_eq!(read.config.image, "b");
        assert_eq!(read.config.labels["a"], "2");
        assert_eq!(
            create(r#"{"image":"b","Image":"a"}"#).unwrap().config.image,
            "a"
        );
    }

    #[test]
    fn null_is_nothing_and_empty_is_something() {
        let read = create(r#"{"Entrypoint":[],"Cmd":null,"Env":["A=1",null],"Tty":null,"HostConfig":{"ConsoleSize":[3],"Dns":[],"Memory":null,"LogConfig":null,"Ulimits":[null]}}"#).unwrap();
        assert_eq!(
            (read.config.entrypoint, read.config.cmd),
            (Some(vec![]), None)
        );
        assert_eq!(read.config.env.unwrap(), ["A=1", ""]);
        let host = read.host_config.unwrap();
        assert_eq!(
            (host.console_size, host.dns, host.dns_search),
            ([3, 0], Some(vec![]), None)
        );
        assert_eq!(host.resources.ulimits.unwrap().len(), 1);
        assert_eq!(create("null").unwrap(), create("{}").unwrap());
    }

    #[test]
    fn a_command_may_be_a_word() {
        let read =
            create(r#"{"Cmd":"true","Entrypoint":"","Shell":"sh","HostConfig":{"CapAdd":"ALL"}}"#)
                .unwrap();
        assert_eq!(read.config.cmd.unwrap(), ["true"]);
        assert_eq!(read.config.entrypoint.unwrap(), [""]);
        assert_eq!(read.config.shell, ["sh"]);
        assert_eq!(read.host_config.unwrap().cap_add.unwrap(), ["ALL"]);
    }

    #[test]
    fn what_can_t_be_read_is_named_by_its_place() {
        for (text, message) in [
            (
                r#"{"Tty":"yes"}"#,
                r#"Tty: invalid type: string "yes", expected a boolean"#,
            ),
            (
                r#"{"Env":["A=1",2]}"#,
                r#"Env[1]: invalid type: integer `2`, expected a string"#,
            ),
            (
                r#"{"HostConfig":{"Mounts":[{"ReadOnly":1}]}}"#,
                "HostConfig: Mounts[0].ReadOnly: invalid type: integer `1`, expected a boolean",
            ),
            (
                r#"{"hostconfig":{"memory":"1g"}}"#,
                r#"HostConfig: Memory: invalid type: string "1g", expected i64"#,
            ),
            (
                r#"{"HostConfig":{"Memory":1.5}}"#,
                "HostConfig: Memory: invalid type: floating point `1.5`, expected i64",
            ),
            (
                r#"{"HostConfig":{"BlkioWeight":70000}}"#,
                "HostConfig: BlkioWeight: invalid value: integer `70000`, expected u16",
            ),
            (
                "[]",
                "invalid type: sequence, expected struct ContainerCreateRequest",
            ),
            ("", "got EOF while reading request body"),
            ("  ", "got EOF while reading request body"),
            (r#"{"Image":"#, "unexpected EOF"),
            (r#"{} {}"#, "unexpected content after JSON"),
            ("{}x", "unexpected content after JSON"),
        ] {
            assert_eq!(create(text).unwrap_err(), message, "{text}");
        }
        create("{}\n").unwrap();
        create("{}}").unwrap();
        assert!(create("{nonsense}").unwrap_err().contains("line 1"));
    }

    #[test]
    fn text_that_is_no_utf_8_is_mended() {
        let read: ContainerCreateRequest = from_slice(b"{\"Image\":\"a\xff\"}").unwrap();
        assert_eq!(read.config.image, "a\u{fffd}");
    }
}
