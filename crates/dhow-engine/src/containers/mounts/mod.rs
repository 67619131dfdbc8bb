//! A container's mounts, from the client's words to the list that is kept.

pub mod bind;
mod long;
pub mod places;
pub mod points;
pub mod shared;
mod tmpfs;
