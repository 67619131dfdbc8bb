//! A file of a log that is being read, plain or compressed, and how far.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dhow_runtime::logfile::FileId;
use flate2::bufread::GzDecoder;

/// An open file, and how far it has been read.
pub struct Position {
    content: Content,
    /// Of the plain file, also where this one is compressed.
    pub id: FileId,
    /// In the plain text.
    pub offset: u64,
    /// When it was written last, in nanoseconds since the epoch.
    pub modified: i64,
}

enum Content {
    Plain(File),
    Compressed {
        decoder: Box<GzDecoder<BufReader<File>>>,
        /// What it has put out so far.
        at: u64,
    },
}

impl Position {
    /// `None` if there is no such file.
    pub fn plain(path: &Path) -> io::Result<Option<Position>> {
        let Some((file, modified)) = open(path)? else {
            return Ok(None);
        };
        Ok(Some(Position {
            id: FileId::of(&file)?,
            content: Content::Plain(file),
            offset: 0,
            modified,
        }))
    }

    /// `None` if there is no such file.
    pub fn compressed(path: &Path) -> io::Result<Option<Position>> {
        let Some((file, modified)) = open(path)? else {
            return Ok(None);
        };
        // Another program's file is known by itself.
        let other = FileId::of(&file)?;
        let decoder = GzDecoder::new(BufReader::new(file));
        let id = decoder
            .header()
            .and_then(|header| FileId::from_comment(header.comment()?));
        Ok(Some(Position {
            id: id.unwrap_or(other),
            content: Content::Compressed {
                decoder: Box::new(decoder),
                at: 0,
            },
            offset: 0,
            modified,
        }))
    }

    /// The plain file, if it is one.
    pub fn file(&mut self) -> Option<&mut File> {
        match &mut self.content {
            Content::Plain(file) => Some(file),
            Content::Compressed { .. } => None,
        }
    }

    /// Reads on, so many bytes at most. At the end, which may be for now, there are none.
    pub fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut piece;
        match &mut self.content {
            Content::Plain(file) => {
                let length = file.metadata()?.len();
                if length < self.offset {
                    // Truncated from outside: begin anew.
                    self.offset = 0;
                }
                let most = (most as u64).min(length - self.offset) as usize;
                piece = vec![0; most];
                file.seek(SeekFrom::Start(self.offset))?;
                let read = file.read(&mut piece)?;
                piece.truncate(read);
            }
            Content::Compressed { decoder, at } => {
                if self.offset < *at {
                    let file = decoder.get_mut().get_mut();
                    file.rewind()?;
                    let again = file.try_clone()?;
                    **decoder = GzDecoder::new(BufReader::new(again));
                    *at = 0;
                }
                piece = vec![0; most];
                loop {
                    // What can't be read any more of it is the end.
                    let read = decoder.read(&mut piece).unwrap_or(0);
                    let before = self.offset.saturating_sub(*at).min(read as u64) as usize;
                    *at += read as u64;
                    if read == 0 || before < read {
                        piece.truncate(read);
                        piece.drain(..before);
                        break;
                    }
                }
            }
        }
        self.offset += piece.len() as u64;
        Ok(piece)
    }
}

fn open(path: &Path) -> io::Result<Option<(File, i64)>> {
    match File::open(path) {
        Ok(file) => {
            let metadata = file.metadata()?;
            let modified = metadata.mtime().saturating_mul(1_000_000_000);
            let modified = modified.saturating_add(metadata.mtime_nsec());
            Ok(Some((file, modified)))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
