//! Fields that are there and say nothing.

use serde::{Deserialize, Deserializer};

/// For fields that writers give as `null` where the specification has them absent.
pub(crate) fn null_as_default<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}
