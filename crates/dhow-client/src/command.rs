//! A connection that is another program's standard input and output, such as `ssh`'s.
//!
//! The program is in a session of its own, so that the keys that interrupt a command do not end its
//! connection. It ends with the connection, or with this process.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal, setsid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Why a program ended that should have been a connection.
#[derive(Debug, thiserror::Error)]
#[error(
    "command {command:?} has exited with {status}, make sure the URL is valid, and Dhow or Docker 18.09 or later is installed on the remote host: stderr={errors}"
)]
/// How a program that was to carry a connection has ended, with what it complained of (64 KiB at most).
pub struct CommandEnded {
    command: Vec<String>,
    status: String,
    errors: String,
}

/// More of its complaints is not kept.
const ERRORS_LIMIT: usize = 64 * 1024;

type Ending = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

pub(crate) struct CommandStream {
    /// Nothing, once the end was told.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    pid: Option<Pid>,
    /// What is waited for after the end of the output: that the program ends, too.
    ending: Ending,
    ended: bool,
}

impl CommandStream {
    pub(crate) fn open(program: &str, arguments: Vec<String>) -> io::Result<CommandStream> {
        let mut command = Command::new(program);
        command
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: between fork and exec only two system calls are made, which touch no memory.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                set_parent_process_death_signal(Some(Signal::KILL))?;
                Ok(())
            });
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other(format!(
                "exec: {program:?}: executable file not found in $PATH"
            )),
            _ => error,
        })?;
        let pipe = |name| io::Error::other(format!("{program} has no {name}"));
        let stdin = child.stdin.take().ok_or_else(|| pipe("input"))?;
        let stdout = child.stdout.take().ok_or_else(|| pipe("output"))?;
        let stderr = child.stderr.take().ok_or_else(|| pipe("error output"))?;
        let (ended, told) = oneshot::channel();
        let complaints = tokio::spawn(complaints(stderr, told));
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let mut words = vec![program.to_owned()];
        words.extend(arguments);
        Ok(CommandStream {
            stdin: Some(stdin),
            stdout,
            pid,
            ending: Box::pin(end_of(child, words, ended, complaints)),
            ended: false,
        })
    }
}

/// Reads what the program complains of as it comes, so that it never waits to say more: to the end, or to what there
/// is when the program has ended. A program in the background may keep the pipe open.
async fn complaints(mut stderr: ChildStderr, mut ended: oneshot::Receiver<()>) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut piece = vec![0; 4096];
    loop {
        tokio::select! {
            biased;
            _ = &mut ended => break,
            read = stderr.read(&mut piece) => match read {
                Ok(length @ 1..) => keep(&mut kept, &piece[..length]),
                _ => return kept,
            }
        }
    }
    while kept.len() < ERRORS_LIMIT {
        match stderr.read(&mut piece).now_or_never() {
            Some(Ok(length @ 1..)) => keep(&mut kept, &piece[..length]),
            _ => break,
        }
    }
    kept
}

fn keep(kept: &mut Vec<u8>, piece: &[u8]) {
    let room = ERRORS_LIMIT - kept.len();
    kept.extend_from_slice(&piece[..piece.len().min(room)]);
}

/// Waits for the program's end, which is an error if it says so.
async fn end_of(
    mut child: Child,
    command: Vec<String>,
    ended: oneshot::Sender<()>,
    complaints: JoinHandle<Vec<u8>>,
) -> io::Result<()> {
    let status = child.wait().await?;
    // Where it is gone, the complaints have come to their end.
    let _ = ended.send(());
    let errors = complaints.await.unwrap_or_default();
    if status.success() {
        return Ok(());
    }
    let status = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    };
    Err(io::Error::other(CommandEnded {
        command,
        status,
        errors: String::from_utf8_lossy(&errors).trim_end().to_owned(),
    }))
}

impl Drop for CommandStream {
    fn drop(&mut self) {
        // Until it was waited for, the number is no other process's.
        if let (false, Some(pid)) = (self.ended, self.pid) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl AsyncRead for CommandStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stdout).poll_read(cx, buf))?;
        if buf.filled().len() > before || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let how = ready!(self.ending.as_mut().poll(cx));
        self.ended = true;
        Poll::Ready(how)
    }
}

impl AsyncWrite for CommandStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(stdin) = &mut self.stdin else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        match ready!(Pin::new(stdin).poll_write(cx, buf)) {
            // It takes no more, most likely because it has ended: why is told by its end, which whoever reads finds.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(buf.len())),
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A pipe has no end but being closed.
        self.stdin = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    fn open(script: &str) -> CommandStream {
        CommandStream::open("sh", vec!["-c".into(), script.into()]).unwrap()
    }

    #[tokio::test]
    async fn one_that_takes_nothing_says_why_by_its_end() {
        let mut stream = open("exec <&-; echo no such host >&2; exit 255");
        // Until the pipe is known to be broken, and after.
        for _ in 0..20 {
            stream.write_all(&[0; 8192]).await.unwrap();
            stream.flush().await.unwrap();
        }
        let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no such host"), "{text}");
    }

    #[tokio::test]
    async fn its_input_ends_before_its_output() {
        let mut stream = open("cat; echo end");
        stream.write_all(b"text ").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "text end\n");
    }

    #[tokio::test]
    async fn however_much_it_complains_it_is_heard() {
        let mut stream = open("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo end");
        let mut text = String::new();
        let read = stream.read_to_string(&mut text);
        tokio::time::timeout(std::time::Duration::from_secs(30), read)
            .await
            .expect("the program waits for its complaints to be read")
            .unwrap();
        assert_eq!(text, "end\n");
        let mut stream = open("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 3");
        let error = stream.read_u8().await.unwrap_err().to_string();
        let (_, kept) = error.split_once("stderr=").unwrap();
        assert_eq!(kept.len(), ERRORS_LIMIT);
    }

    #[tokio::test]
    async fn a_failure_is_told_with_its_words() {
        let mut stream = open("echo no way >&2; exit 3");
        let error = stream.read_u8().await.unwrap_err().to_string();
        assert!(error.contains("has exited with exit status 3"), "{error}");
        assert!(error.ends_with("stderr=no way"), "{error}");
        let missing = CommandStream::open("no-such-program", Vec::new())
            .err()
            .unwrap();
        assert!(
            missing.to_string().contains("not found in $PATH"),
            "{missing}"
        );
    }
}
