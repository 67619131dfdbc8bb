//! The files of containers' logs, in either format.

use dhow_engine::LogOptions;
use dhow_engine::logs::{Watcher, read};
use dhow_runtime::LogFormat;

use super::choice;
use super::streams::block_on;
use crate::scratch;

pub fn logs(data: &[u8]) {
    let (how, data) = choice(data);
    let (tail, data) = choice(data);
    let dir = scratch();
    let path = dir.path().join("log");
    // The first part was rotated.
    let (older, newer) = match data.iter().position(|byte| *byte == 0xff) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (&data[..0], data),
    };
    if !older.is_empty() {
        std::fs::write(dhow_runtime::logfile::numbered(&path, 1), older).expect("it is writable");
    }
    std::fs::write(&path, newer).expect("it is writable");
    let format = if how & 1 == 0 {
        LogFormat::JsonFile
    } else {
        LogFormat::Local
    };
    let all = LogOptions {
        stdout: true,
        stderr: true,
        ..LogOptions::default()
    };
    let with = |options: LogOptions| {
        let watcher = Watcher::default();
        let log = (path.clone(), format);
        block_on(async {
            let mut stream = read(&watcher, log, options, how & 2 == 0, std::future::pending())
                .expect("it can be read");
            let mut text = Vec::new();
            while let Some(piece) = stream.next().await {
                text.extend_from_slice(&piece.expect("it can be read"));
            }
            text
        })
    };
    let whole = with(all.clone());
    let end = with(LogOptions {
        tail: Some(tail.into()),
        ..all.clone()
    });
    assert!(whole.ends_with(&end), "the end is the end of the whole");
    with(LogOptions {
        timestamps: true,
        details: true,
        since: Some(i64::from(tail) * 1_000_000_000),
        until: Some(i64::MAX / 2),
        ..all
    });
}
