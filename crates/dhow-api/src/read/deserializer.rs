//! A document as serde's deserializer: what it gives to readers of each kind of value.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::{ReadError, SHOWN, Tree, same_name};

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
