//! The files of one container's log: the current one, and the rotated ones beside it (`.1` is the newest), plain
//! or compressed. A file is known by its id, because rotation renames it while it is being read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use dhow_runtime::LogFormat;
use dhow_runtime::logfile::{FileId, compressed, numbered};

use super::position::Position;
use super::record::ends_line;
use super::render::MAX_RECORD;

/// No log has more files than this, whatever is in its directory.
const MAX_FILES: u32 = 1000;
/// How much is read at a time when looking for line ends.
const STEP: u64 = 64 * 1024;

/// All files, newest first.
fn all(path: &Path) -> io::Result<Vec<Position>> {
    let mut files: Vec<Position> = Vec::new();
    let mut missing = 0;
    for number in 0..MAX_FILES {
        let mut found = Position::plain(&numbered(path, number))?;
        if found.is_none() && number > 0 {
            found = Position::compressed(&compressed(path, number))?;
        }
        match found {
            // Rotation while we looked shows one file twice.
            Some(p) if files.iter().any(|f| f.id == p.id) => missing = 0,
            Some(p) => {
                files.push(p);
                missing = 0;
            }
            // One is missing for an instant while they are being rotated.
            None if missing == 0 => missing = 1,
            None => break,
        }
    }
    Ok(files)
}

/// Where reading begins: the oldest file, or `tail` whole lines before the end. What was written last before
/// `since` need not be read.
pub fn begin(
    path: &Path,
    format: LogFormat,
    tail: Option<u64>,
    since: Option<i64>,
) -> io::Result<Option<Position>> {
    let mut files = all(path)?;
    let Some(tail) = tail else {
        // Files' times come from a clock that is behind by up to a tick of the kernel's.
        let since = since.unwrap_or(i64::MIN).saturating_sub(100_000_000);
        while files.len() > 1 && files.last().is_some_and(|oldest| oldest.modified < since) {
            files.pop();
        }
        return Ok(files.pop());
    };
    let mut wanted = tail;
    let mut oldest = None;
    for mut position in files {
        let (offset, found) = match position.file() {
            Some(file) => {
                let end = file.metadata()?.len();
                back(file, format, end, wanted)?
            }
            None => from_front(&mut position, format, wanted)?,
        };
        position.offset = offset;
        wanted -= found;
        let done = offset > 0 || wanted == 0;
        oldest = Some(position);
        if done {
            break;
        }
    }
    Ok(oldest)
}

/// The file after the one with this id, for a reader at its end; `None` if it is the current one.
pub fn next(path: &Path, id: FileId) -> io::Result<Option<Position>> {
    match File::open(path) {
        Ok(file) if FileId::of(&file)? == id => return Ok(None),
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let files = all(path)?;
    let here = files.iter().position(|f| f.id == id);
    Ok(match here {
        Some(0) => None,
        Some(n) => files.into_iter().nth(n - 1),
        // Rotated out, or cleared away, while it was being read: the oldest of those left comes next.
        None => files.into_iter().next_back(),
    })
}

/// As [`back`], of a file that can only be read forwards.
fn from_front(position: &mut Position, format: LogFormat, wanted: u64) -> io::Result<(u64, u64)> {
    let mut total = 0;
    lines(position, format, |_| {
        total += 1;
        true
    })?;
    let found = wanted.min(total);
    if wanted == 0 {
        // A reader there finds the next file at once.
        return Ok((position.offset, 0));
    }
    let mut skipped = 0;
    let mut begin = 0;
    lines(position, format, |at| {
        begin = at;
        skipped += 1;
        skipped <= total - found
    })?;
    Ok((begin, found))
}

/// Reads a file from its beginning and tells of the offset of each line, until nobody wants to know. It is then
/// somewhere.
fn lines(
    position: &mut Position,
    format: LogFormat,
    mut tell: impl FnMut(u64) -> bool,
) -> io::Result<()> {
    let (mut rest, mut at): (Vec<u8>, u64) = (Vec::new(), 0);
    // Of a line that is too long for a record, what is not in `rest`.
    let mut left_out = 0;
    let mut begins = true;
    position.offset = 0;
    loop {
        let piece = position.read(STEP as usize)?;
        if piece.is_empty() {
            return Ok(());
        }
        rest.extend_from_slice(&piece);
        let mut from = 0;
        while let Some(length) = rest[from..].iter().position(|&b| b == b'\n') {
            if begins && !tell(at) {
                return Ok(());
            }
            begins = ends_line(format, &rest[from..from + length]);
            from += length + 1;
            at += length as u64 + 1 + std::mem::take(&mut left_out);
        }
        rest.drain(..from);
        left_out += rest.len().saturating_sub(MAX_RECORD) as u64;
        rest.truncate(MAX_RECORD);
    }
}

/// The offset from which `wanted` whole lines follow, and how many were found. A line's parts (a record
/// whose text has no newline) belong to the line they begin.
fn back(file: &mut File, format: LogFormat, end: u64, wanted: u64) -> io::Result<(u64, u64)> {
    if wanted == 0 {
        return Ok((end, 0));
    }
    let mut found = 0;
    // Where the line that is being counted begins.
    let mut begin = end;
    let mut carry: Vec<u8> = Vec::new();
    let mut at = end;
    while at > 0 {
        let step = STEP.min(at);
        at -= step;
        let mut chunk = vec![0; step as usize];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut chunk)?;
        chunk.extend_from_slice(&carry);
        // Whole records in this chunk are those after its first line end; the rest waits for the chunk before.
        let first = if at == 0 {
            0
        } else {
            match chunk.iter().position(|&b| b == b'\n') {
                Some(n) => n + 1,
                None => {
                    // What is too long for a record is told by its beginning.
                    chunk.truncate(MAX_RECORD);
                    carry = chunk;
                    continue;
                }
            }
        };
        let mut stop = chunk.len();
        while stop > first {
            let line_end = if chunk[stop - 1] == b'\n' {
                stop - 1
            } else {
                stop
            };
            let start = chunk[first..line_end]
                .iter()
                .rposition(|&b| b == b'\n')
                .map_or(first, |n| first + n + 1);
            if ends_line(format, &chunk[start..line_end]) || begin == end {
                if found == wanted {
                    return Ok((begin, found));
                }
                found += 1;
            }
            begin = at + start as u64;
            stop = start;
        }
        chunk.truncate(first);
        carry = chunk;
    }
    Ok((begin, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn line(text: &str) -> String {
        format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}}\n")
    }

    const JSON: LogFormat = LogFormat::JsonFile;

    /// What a reader reads, from file to file.
    fn from(path: &Path, tail: u64) -> String {
        let mut position = begin(path, JSON, Some(tail), None).unwrap();
        let mut text = Vec::new();
        while let Some(p) = &mut position {
            match p.read(1000).unwrap() {
                piece if piece.is_empty() => position = next(path, p.id).unwrap(),
                piece => text.extend(piece),
            }
        }
        String::from_utf8(text).unwrap()
    }

    fn compress(path: &Path, number: u32) {
        let plain = File::open(numbered(path, number)).unwrap();
        let id = FileId::of(&plain).unwrap();
        let mut gz = flate2::GzBuilder::new().comment(id.to_comment()).write(
            File::create(compressed(path, number)).unwrap(),
            flate2::Compression::fast(),
        );
        io::copy(&mut &plain, &mut gz).unwrap();
        gz.finish().unwrap();
        fs::remove_file(numbered(path, number)).unwrap();
    }

    #[test]
    fn tail_counts_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        assert!(begin(&path, JSON, Some(3), None).unwrap().is_none());
        fs::write(
            &path,
            [line("a\\n"), line("part"), line("b\\n"), line("c\\n")].concat(),
        )
        .unwrap();
        assert_eq!(from(&path, 0), "");
        assert_eq!(from(&path, 1), line("c\\n"));
        assert_eq!(
            from(&path, 2),
            [line("part"), line("b\\n"), line("c\\n")].concat()
        );
        assert_eq!(from(&path, 9).lines().count(), 4);
    }

    #[test]
    fn tail_over_many_chunks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        let text: String = (0..5000).map(|n| line(&format!("{n}\\n"))).collect();
        fs::write(&path, &text).unwrap();
        for tail in [1, 999, 4999, 5000] {
            assert_eq!(from(&path, tail).lines().count() as u64, tail);
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_a_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        let endless = "x".repeat(3 * MAX_RECORD + 7) + "\n";
        let text = [line("a\\n"), endless.clone(), line("b\\n")].concat();
        fs::write(&path, &text).unwrap();
        let mut file = File::open(&path).unwrap();
        for (wanted, rest) in [
            (1, line("b\\n").len()),
            (2, endless.len() + line("b\\n").len()),
        ] {
            let (offset, found) = back(&mut file, JSON, text.len() as u64, wanted).unwrap();
            assert_eq!((offset as usize, found), (text.len() - rest, wanted));
        }
        fs::write(numbered(&path, 1), &text).unwrap();
        compress(&path, 1);
        let mut position = Position::compressed(&compressed(&path, 1))
            .unwrap()
            .unwrap();
        let mut begins = Vec::new();
        lines(&mut position, JSON, |at| {
            begins.push(at as usize);
            true
        })
        .unwrap();
        let first = line("a\\n").len();
        assert_eq!(begins, [0, first, first + endless.len()]);
    }

    #[test]
    fn tail_reaches_into_rotated_files_plain_or_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        let texts: Vec<String> = (0..3)
            .map(|file| (0..900).map(|n| line(&format!("{file} {n}\\n"))).collect())
            .collect();
        fs::write(numbered(&path, 2), &texts[0]).unwrap();
        fs::write(numbered(&path, 1), &texts[1]).unwrap();
        fs::write(&path, &texts[2]).unwrap();
        let whole = texts.concat();
        let last = |count: usize| -> String {
            let lines: Vec<_> = whole.split_inclusive('\n').collect();
            lines[lines.len().saturating_sub(count)..].concat()
        };
        for gone in [0, 2, 1] {
            if gone > 0 {
                compress(&path, gone);
            }
            for tail in [0, 1, 900, 901, 1799, 1800, 1801, 2699, 2700, 5000] {
                assert_eq!(from(&path, tail), last(tail as usize), "{gone} {tail}");
            }
        }
    }

    #[test]
    fn a_reader_goes_on_behind_a_file_that_was_rotated_and_compressed_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        fs::write(&path, line("a\\n")).unwrap();
        let mut p = begin(&path, JSON, None, None).unwrap().unwrap();
        assert_eq!(p.read(1000).unwrap(), line("a\\n").as_bytes());
        fs::rename(&path, numbered(&path, 1)).unwrap();
        fs::write(&path, line("b\\n")).unwrap();
        compress(&path, 1);
        let mut p = next(&path, p.id).unwrap().unwrap();
        assert_eq!(p.read(1000).unwrap(), line("b\\n").as_bytes());
        assert!(next(&path, p.id).unwrap().is_none());
    }

    #[test]
    fn files_that_end_before_the_time_asked_for_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        for (number, second) in [(2, 10), (1, 20), (0, 30)] {
            fs::write(numbered(&path, number), line("x\\n")).unwrap();
            let file = File::options()
                .write(true)
                .open(numbered(&path, number))
                .unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(second);
            file.set_modified(time).unwrap();
        }
        for (since, begins) in [(5, 2), (10, 2), (11, 1), (25, 0), (99, 0)] {
            let p = begin(&path, JSON, None, Some(since * 1_000_000_000))
                .unwrap()
                .unwrap();
            let file = File::open(numbered(&path, begins)).unwrap();
            assert_eq!(p.id, FileId::of(&file).unwrap(), "{since}");
        }
    }
}
