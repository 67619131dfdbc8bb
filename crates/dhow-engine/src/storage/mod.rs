//! What the engine's parts keep on disk beside their own directories: the data-root's lock, the metadata
//! store's schema and facts, and the trash.

mod lock;
mod rows;
pub mod schema;
mod trash;

pub use lock::DataRootLock;
pub use rows::Rows;
pub use trash::Trash;
