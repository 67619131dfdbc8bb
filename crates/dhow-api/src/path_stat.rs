//! What a path in a container is: the header of the archive operations.

use serde::{Deserialize, Serialize};

/// The header that it comes in, as base64 of its JSON.
pub const PATH_STAT_HEADER: &str = "x-docker-container-path-stat";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathStat {
    pub name: String,
    pub size: i64,
    pub mode: FileMode,
    /// RFC 3339 with nanoseconds.
    pub mtime: String,
    /// Where a link leads once all links are followed, from the container's root.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

/// Permissions and kind of a file, in Go's bits (`io/fs`, `FileMode`), which are not those of stat(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileMode(pub u32);

impl FileMode {
    const DIRECTORY: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;
    const DEVICE: u32 = 1 << 26;
    const NAMED_PIPE: u32 = 1 << 25;
    const SOCKET: u32 = 1 << 24;
    const SETUID: u32 = 1 << 23;
    const SETGID: u32 = 1 << 22;
    const CHARACTER_DEVICE: u32 = 1 << 21;
    const STICKY: u32 = 1 << 20;

    /// From the mode of stat(2).
    pub fn from_stat(mode: u32) -> FileMode {
        let kind = match mode & 0o170_000 {
            0o040_000 => FileMode::DIRECTORY,
            0o120_000 => FileMode::SYMLINK,
            0o060_000 => FileMode::DEVICE,
            0o020_000 => FileMode::DEVICE | FileMode::CHARACTER_DEVICE,
            0o010_000 => FileMode::NAMED_PIPE,
            0o140_000 => FileMode::SOCKET,
            _ => 0,
        };
        let special = [
            (0o4000, FileMode::SETUID),
            (0o2000, FileMode::SETGID),
            (0o1000, FileMode::STICKY),
        ];
        let special = special
            .iter()
            .filter(|(bit, _)| mode & bit != 0)
            .fold(0, |all, (_, bit)| all | bit);
        FileMode(mode & 0o777 | kind | special)
    }

    pub fn is_directory(self) -> bool {
        self.0 & FileMode::DIRECTORY != 0
    }

    pub fn is_symlink(self) -> bool {
        self.0 & FileMode::SYMLINK != 0
    }

    pub fn is_device(self) -> bool {
        self.0 & FileMode::DEVICE != 0
    }

    pub fn is_irregular(self) -> bool {
        self.0 & (FileMode::NAMED_PIPE | FileMode::SOCKET | 1 << 19) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        for (stat, go) in [
            (0o100_644, 0o644),
            (0o104_755, 1 << 23 | 0o755),
            (0o041_777, 1 << 31 | 1 << 20 | 0o777),
            (0o120_777, 1 << 27 | 0o777),
            (0o020_666, 1 << 26 | 1 << 21 | 0o666),
            (0o010_600, 1 << 25 | 0o600),
        ] {
            assert_eq!(FileMode::from_stat(stat).0, go, "{stat:o}");
        }
    }
}
