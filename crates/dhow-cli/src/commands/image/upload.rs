//! A file or standard input as the body of a request.

use std::io;
use std::path::Path;

use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::error::{Result, message};

/// What is read at once.
const CHUNK: usize = 256 * 1024;

/// What is sent.
pub enum Source {
    Stdin(io::Stdin),
    File(std::fs::File),
}

impl Source {
    pub fn stdin() -> Source {
        Source::Stdin(io::stdin())
    }

    /// A file; what is wrong with it is said in Docker's words.
    pub fn file(path: &str) -> Result<Source> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => message(format!("open {path}: no such file or directory")),
            io::ErrorKind::PermissionDenied => message(format!("open {path}: permission denied")),
            _ => message(format!("open {path}: {error}")),
        };
        let file = std::fs::File::open(path).map_err(refused)?;
        if Path::new(path).is_dir() {
            return Err(message(format!("read {path}: is a directory")));
        }
        Ok(Source::File(file))
    }

    /// The bytes as they are read, by a thread of its own.
    pub fn stream(mut self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let (sender, receiver) = tokio::sync::mpsc::channel(2);
        std::thread::spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = match io::Read::read(&mut self, &mut chunk) {
                    Ok(0) => return,
                    Ok(n) => {
                        chunk.truncate(n);
                        Ok(Bytes::from(chunk))
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = read.is_err();
                if sender.blocking_send(read).is_err() || failed {
                    return;
                }
            }
        });
        stream::unfold(receiver, |mut receiver| async move {
            let chunk = receiver.recv().await?;
            Some((chunk, receiver))
        })
    }
}

impl io::Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Stdin(stdin) => stdin.read(buffer),
            Source::File(file) => file.read(buffer),
        }
    }
}
