//! Images: listed, moved from and to registries, named, removed.

pub mod history;
pub mod import;
pub mod list;
pub mod load;
mod platform;
pub mod prune;
pub mod pull;
pub mod push;
pub mod remove;
pub mod save;
pub mod tag;
pub mod tree;
mod upload;

pub use platform::{asked as asked_platform, one as one_platform};
