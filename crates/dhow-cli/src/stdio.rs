//! Standard input and output within an asynchronous program of one thread. Input is read by a thread of
//! its own, which a blocked terminal can keep; output that would block is written by another.

use std::io::{self, Read, Write};

use bytes::Bytes;
use dhow_client::StreamKind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

/// A pipe that polls writable takes this much without blocking (`PIPE_BUF`).
const UNBLOCKED: usize = 4096;
const READ_BUFFER: usize = 32 * 1024;

/// What comes on standard input, until its end. The thread that reads ends with the process.
pub fn input() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(2);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; READ_BUFFER];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    if sender
                        .blocking_send(Bytes::copy_from_slice(&buffer[..n]))
                        .is_err()
                    {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

fn write_now(stream: StreamKind, bytes: &[u8]) -> io::Result<()> {
    if stream == StreamKind::Stdout {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    } else {
        io::stderr().lock().write_all(bytes)
    }
}

fn ready(stream: StreamKind) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let check = |fd| {
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
        matches!(poll(&mut fds, Some(&now)), Ok(1))
    };
    if stream == StreamKind::Stdout {
        check(rustix::stdio::stdout())
    } else {
        check(rustix::stdio::stderr())
    }
}

/// Writes a container's output, without keeping signals and input waiting for a slow reader.
pub async fn output(stream: StreamKind, bytes: Bytes) -> io::Result<()> {
    if bytes.len() <= UNBLOCKED && ready(stream) {
        return write_now(stream, &bytes);
    }
    tokio::task::spawn_blocking(move || write_now(stream, &bytes))
        .await
        .map_err(io::Error::other)?
}

/// Prints text of this program.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a line of this program.
pub fn println(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Asks before something is thrown away.
pub fn confirm(question: &str) -> io::Result<bool> {
    print(&format!(
        "{question}\nAre you sure you want to continue? [y/N] "
    ))?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim().eq_ignore_ascii_case("y"))
}
