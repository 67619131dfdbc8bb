//! What the engine's parts keep on disk beside their own directories: the data-root's lock, and the trash.

mod lock;
mod trash;

pub use lock::DataRootLock;
pub use trash::Trash;
