//! Images as archives, as `docker save` writes them and `docker load` reads them.
//!
//! An archive has an OCI layout (OCI image-layout.md), or Docker's own older one, whose `manifest.json` names an
//! image's configuration and layers by their paths, or both side by side, for readers of either. What is
//! received is spooled to the disk first, for what its parts are is told by documents that may come last.

mod contents;
mod layout;
mod load;
mod parts;
mod receive;
mod save;
mod spool;
mod write;

pub use contents::ArchivedImage;
pub use receive::{Archive, ArchiveSink};
pub use save::Saving;
