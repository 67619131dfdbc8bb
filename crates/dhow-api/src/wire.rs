//! How the wire types are declared, so that each reads what Go's decoder reads and writes what Go's
//! encoder writes: on input a field may be absent or null, and unknown fields are ignored; on output a
//! field is omitted only where Docker omits it, and `Option` fields without a value are `null`.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads null as the type's default, as Go leaves the zero value in place.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of words, which a single one may stand for (Docker's `StrSlice`).
pub(crate) fn words<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<Words>,
{
    struct Any;
    impl<'de> Visitor<'de> for Any {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a list of strings")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E>(self, word: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![word.to_owned()]))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
            let mut words = Vec::new();
            while let Some(word) = all.next_element::<Option<String>>()? {
                words.push(word.unwrap_or_default());
            }
            Ok(Some(words))
        }
    }
    deserializer
        .deserialize_any(Any)
        .map(|words| Words(words).into())
}

/// What [`words`] has read.
pub(crate) struct Words(Option<Vec<String>>);

impl From<Words> for Option<Vec<String>> {
    fn from(words: Words) -> Self {
        words.0
    }
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Self {
        words.0.unwrap_or_default()
    }
}

/// Gives a struct with flattened parts its reader and writer: each part picks its own fields out of the whole.
/// (What serde makes of `flatten` does not tell which fields there are, so that no reader can know them by
/// another case.) The struct is derived with `remote = "Self"`, its parts with `flatten, skip_deserializing`.
macro_rules! composed {
    ($name:ident: $($part:ident),+) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let tree = <crate::read::Tree as serde::Deserialize>::deserialize(deserializer)?;
                let failed = |e: crate::read::ReadError| serde::de::Error::custom(e);
                let mut whole = $name::deserialize(&tree).map_err(failed)?;
                $( whole.$part = serde::Deserialize::deserialize(&tree).map_err(failed)?; )+
                Ok(whole)
            }
        }
    };
}
pub(crate) use composed;

/// Go's `omitempty`.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares structs whose every field tolerates null and absence.
macro_rules! wire {
    ($(
        $(#[$struct_meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident: $type:ty ),* $(,)?
        }
    )*) => {$(
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        $(#[$struct_meta])*
        pub struct $name {
            $(
                #[serde(default, deserialize_with = "crate::wire::nullable")]
                $(#[$field_meta])*
                pub $field: $type,
            )*
        }
    )*};
}
pub(crate) use wire;

/// Go's `struct{}`, the value of maps that are sets: `{}`, and null when read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Empty {}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Empty, D::Error> {
        Option::<std::collections::BTreeMap<String, serde::de::IgnoredAny>>::deserialize(
            deserializer,
        )?;
        Ok(Empty {})
    }
}
