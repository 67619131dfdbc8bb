//! Tar archives: read with suspicion, made of files, and put in place among files.
//!
//! The reading is what layers are unpacked with too. The rest is for files that somebody else may change at the
//! same time, and may want to lead astray with: a container's. Everything goes through a [`Root`], beneath
//! which the kernel resolves each path (openat2(2)); what was found is looked at by its descriptor before it is
//! opened; and no name is followed where a link could have taken its place.
//!
//! This crate must never know containers, images or the API: it is given a root, a path and a stream.

mod copy;
mod entry;
mod error;
mod head;
mod links;
mod pack;
mod pax;
mod pieces;
mod place;
mod root;
mod sparse;
pub mod words;

pub use copy::CHUNK;
pub use entry::{Attributes, Entries, Member};
pub use error::ArchiveError;
pub use head::{Head, HeadWriter, Times, portable_capabilities};
pub use links::Links;
pub use pack::pack;
pub use pieces::{Chunks, Pieces};
pub use place::{Owner, Placement, place};
pub use root::Root;
