//! How much disk a tree takes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes in files, each counted once however many names it has. What can't be read counts for nothing:
/// trees change while they are walked. Blocks.
pub fn of_tree(root: &Path) -> u64 {
    let mut seen = std::collections::HashSet::new();
    let mut todo = vec![root.to_owned()];
    let mut total = 0;
    while let Some(dir) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                todo.push(entry.path());
            } else if meta.nlink() < 2 || seen.insert((meta.dev(), meta.ino())) {
                total += meta.len();
            }
        }
    }
    total
}
