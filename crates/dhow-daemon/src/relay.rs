//! Carries bytes between a client and a process: input one way, output the other.
//!
//! The end of the client's sending is the end of the input and nothing more: output goes on. The end of
//! the output ends the session. A client that goes away ends it too, and the process does not notice.

use dhow_engine::DetachScanner;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::UnixStream;

use crate::framing::Framing;

/// Big enough that a busy stream needs few system calls, small enough for thousands of sessions.
const BUFFER: usize = 64 << 10;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The process's output ended.
    Output,
    /// The client typed the keys that detach.
    Detached,
    /// The client is gone.
    Client,
}

/// What becomes of the client's input.
pub enum Input {
    /// It is not attached: read and thrown away, so that a client that sends does not hang.
    Discard,
    Forward,
    /// A terminal's input, searched for the keys that detach.
    Terminal(DetachScanner),
}

/// Runs a session to its end. `gone` is done when the client can no longer read; it is asked once the
/// input has ended, for what a client sent before it went is still the process's. The client is told of the
/// end of the output once `known` is done.
pub async fn run<C, G, K>(
    client: C,
    process: UnixStream,
    input: Input,
    framing: Framing,
    gone: G,
    known: K,
) -> End
where
    C: AsyncRead + AsyncWrite + Send,
    G: Future<Output = ()>,
    K: Future<Output = ()>,
{
    let (client_read, mut client_write) = split(client);
    let (process_read, process_write) = process.into_split();
    let end = {
        let input = carry_input(client_read, process_write, input);
        let output = carry_output(process_read, framing, &mut client_write);
        tokio::pin!(input, output);
        tokio::select! {
            end = &mut output => end,
            ended = &mut input => match ended {
                Some(end) => end,
                None => tokio::select! {
                    end = &mut output => end,
                    () = gone => End::Client,
                },
            },
        }
    };
    if end == End::Output {
        known.await;
    }
    if end != End::Client {
        // A client that is gone meanwhile does not need to be told the end.
        let _ = client_write.shutdown().await;
    }
    end
}

/// `None` when only the input has ended.
async fn carry_input<R>(
    mut client: R,
    process: tokio::net::unix::OwnedWriteHalf,
    mut input: Input,
) -> Option<End>
where
    R: AsyncRead + Unpin,
{
    let mut buffer = vec![0; 4 << 10];
    let mut process = Some(process);
    loop {
        let n = match client.read(&mut buffer).await {
            Ok(0) => break,
            Ok(n) => n,
            Err(_) => return Some(End::Client),
        };
        let scanned;
        let (data, detached) = match &mut input {
            Input::Discard => (&[][..], false),
            Input::Forward => (&buffer[..n], false),
            Input::Terminal(scanner) => {
                scanned = scanner.scan(&buffer[..n]);
                (&scanned.forward[..], scanned.detached)
            }
        };
        if let Some(writer) = &mut process
            && writer.write_all(data).await.is_err()
        {
            // The process no longer reads; what it writes still matters.
            process = None;
        }
        if detached {
            return Some(End::Detached);
        }
        // Bulk input: the small buffer of a keyboard is too small.
        if n == buffer.len() && n < BUFFER {
            buffer.resize(BUFFER, 0);
        }
    }
    if let Some(mut writer) = process {
        if let Input::Terminal(scanner) = input {
            // The process may have closed its input; then there is nobody to tell.
            let _ = writer.write_all(&scanner.finish()).await;
        }
        let _ = writer.shutdown().await;
        // The other half stays open for output.
        writer.forget();
    }
    None
}

async fn carry_output<W>(
    mut process: tokio::net::unix::OwnedReadHalf,
    mut framing: Framing,
    client: &mut W,
) -> End
where
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = match process.read(&mut buffer).await {
            Ok(0) | Err(_) => return End::Output,
            Ok(n) => n,
        };
        let output = framing.convert(&buffer[..n]);
        if client.write_all(&output).await.is_err() || client.flush().await.is_err() {
            return End::Client;
        }
    }
}
