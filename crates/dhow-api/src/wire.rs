//! How the wire types are declared, so that each reads what Go's decoder reads and writes what Go's
//! encoder writes: on input a field may be absent or null, and unknown fields are ignored; on output a
//! field is omitted only where Docker omits it, and `Option` fields without a value are `null`.

use serde::{Deserialize, Deserializer};

/// Reads null as the type's default, as Go leaves the zero value in place.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

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
