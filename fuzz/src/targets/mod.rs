//! The targets, by what they read.

pub mod archive;
pub mod config;
pub mod dockerfile;
pub mod images;
pub mod json;
pub mod logs;
pub mod registry;
pub mod streams;
pub mod template;
pub mod words;

/// A front byte that chooses, and the rest.
fn choice(data: &[u8]) -> (u8, &[u8]) {
    match data.split_first() {
        Some((first, rest)) => (*first, rest),
        None => (0, data),
    }
}
