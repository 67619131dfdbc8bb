//! Events kept on disk, so that a listener's `since` reaches past the daemon's restart.
//!
//! A directory of segments. A segment is named by the number of its first event and has a line for each:
//! `NUMBER NANOSECONDS {event as JSON}`. Lines are only ever appended, and nothing is synced: a crash of the daemon
//! loses at most what it had not yet given to the kernel, a crash of the machine a little more. What is torn at the
//! end is cut when the journal is opened; what is torn elsewhere is passed over, and shows as a gap in the numbers.
//!
//! The numbers go on from daemon to daemon. They are what history and live events are joined by: none twice, none
//! missed.

mod read;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dhow_api::Event;

pub(super) use read::{Item, Place, Wanted};

/// What is kept, at most: this many bytes, and no segment that was last written to longer ago than that.
const BUDGET: u64 = 64 << 20;
const AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// A segment takes no more when it has this many bytes, or when its first event is this many nanoseconds old: it is by
/// whole segments that what has grown old is removed.
const SEGMENT: u64 = 8 << 20;
const DAY: i64 = 24 * 3600 * 1_000_000_000;
/// An event that takes more than this, for its labels, is not kept.
const LINE: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    /// The number of each segment's first event, oldest first; the last is written to.
    segments: Mutex<Vec<u64>>,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    file: Option<File>,
    length: u64,
    /// The time of its first event, where that is known.
    began: Option<i64>,
    /// Whether the last write failed, which is said once.
    failing: bool,
}

impl Journal {
    /// Opens the directory, cuts what is torn, and tells the number of the next event.
    pub fn open(dir: PathBuf) -> io::Result<(Journal, u64)> {
        fs::create_dir_all(&dir)?;
        let mut segments: Vec<u64> = fs::read_dir(&dir)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        segments.sort_unstable();
        let mut writer = Writer {
            file: None,
            length: 0,
            began: None,
            failing: false,
        };
        let mut next = 0;
        if let Some(last) = segments.last() {
            let file = OpenOptions::new()
                .read(true)
                .append(true)
                .open(segment_path(&dir, *last))?;
            let (length, number) = read::whole(&file)?;
            if length < file.metadata()?.len() {
                tracing::warn!(segment = last, "the end of the journal of events was torn");
                file.set_len(length)?;
            }
            writer.began = read::began(&file)?;
            next = number.map_or(*last, |number| number + 1);
            writer.file = Some(file);
            writer.length = length;
        }
        let journal = Journal {
            dir,
            segments: Mutex::new(segments),
            writer: Mutex::new(writer),
        };
        journal.drop_old();
        Ok((journal, next))
    }

    /// The number of the first event that is kept, where there is one.
    pub fn first(&self) -> Option<u64> {
        self.segments().first().copied()
    }

    /// Writes events from wherever they are waiting. `take` is asked again until it has none; one caller at a time
    /// writes, so that they come in order.
    pub fn write(&self, mut take: impl FnMut() -> Vec<(u64, Arc<Event>)>) {
        let mut writer = self.writer.lock().unwrap_or_else(|e| e.into_inner());
        loop {
            let batch = take();
            let Some((first, event)) = batch.first() else {
                return;
            };
            let written = self.append(&mut writer, *first, event.time_nano, &lines(&batch));
            match written {
                Ok(()) => writer.failing = false,
                Err(e) if !writer.failing => {
                    writer.failing = true;
                    tracing::warn!(error = %e, "events can't be kept on disk");
                }
                Err(_) => {}
            }
        }
    }

    /// Appends lines, with the number and the time of their first event.
    fn append(&self, writer: &mut Writer, first: u64, time: i64, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let old = writer
            .began
            .is_some_and(|began| time.saturating_sub(began) > DAY);
        if writer.length > SEGMENT || old {
            writer.file = None;
        }
        let file = match &mut writer.file {
            Some(file) => file,
            none => {
                let file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .mode(0o600)
                    .open(segment_path(&self.dir, first))?;
                writer.length = 0;
                writer.began = Some(time);
                let mut segments = self.segments();
                if segments.last() != Some(&first) {
                    segments.push(first);
                }
                drop(segments);
                self.drop_old();
                none.insert(file)
            }
        };
        if let Err(e) = file.write_all(text) {
            // A half line would spoil the next one. Where it can't be cut either, a reader passes over both.
            let _ = file.set_len(writer.length);
            return Err(e);
        }
        writer.length += text.len() as u64;
        Ok(())
    }

    /// Removes segments beyond the budget, and old ones. The last one stays. Whoever reads does not wait for the disk:
    /// only the writer changes what there is, so the names can be looked at, and removed, without their lock.
    fn drop_old(&self) {
        let segments = self.segments().clone();
        let Some((_, closed)) = segments.split_last() else {
            return;
        };
        let found: Vec<_> = closed
            .iter()
            .map(|first| fs::metadata(segment_path(&self.dir, *first)).ok())
            .collect();
        let mut size: u64 = found.iter().flatten().map(fs::Metadata::len).sum();
        let mut count = 0;
        for metadata in &found {
            // There must be room for the last one, too.
            if size + SEGMENT <= BUDGET && metadata.as_ref().is_some_and(|found| !is_old(found)) {
                break;
            }
            size -= metadata.as_ref().map_or(0, fs::Metadata::len);
            count += 1;
        }
        self.segments().drain(..count);
        for first in &closed[..count] {
            let path = segment_path(&self.dir, *first);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), error = %e, "an old journal of events stays");
                }
                _ => {}
            }
        }
    }

    fn segments(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.segments.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}"))
}

fn is_old(found: &fs::Metadata) -> bool {
    found.modified().is_ok_and(|written| {
        SystemTime::now()
            .duration_since(written)
            .is_ok_and(|age| age > AGE)
    })
}

fn lines(batch: &[(u64, Arc<Event>)]) -> Vec<u8> {
    let mut text = Vec::with_capacity(batch.len() * 512);
    for (number, event) in batch {
        let start = text.len();
        // Writing to memory fails only where the JSON does, and then there is no event to keep.
        let written = write!(text, "{number} {} ", event.time_nano)
            .and_then(|()| serde_json::to_writer(&mut text, event.as_ref()).map_err(Into::into));
        if written.is_err() || text.len() - start > LINE {
            text.truncate(start);
        } else {
            text.push(b'\n');
        }
    }
    text
}

/// Reads at a place without moving anybody else's.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
