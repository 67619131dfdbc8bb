//! Signals: passed on to a container's process, or the way out with the terminal restored.

use std::sync::Arc;

use dhow_client::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::terminal;

/// What is passed on. Not SIGCHLD, SIGPIPE, SIGWINCH, which are about this process.
const FORWARDED: [(i32, &str); 8] = [
    (libc::SIGHUP, "HUP"),
    (libc::SIGINT, "INT"),
    (libc::SIGQUIT, "QUIT"),
    (libc::SIGTERM, "TERM"),
    (libc::SIGUSR1, "USR1"),
    (libc::SIGUSR2, "USR2"),
    (libc::SIGCONT, "CONT"),
    (libc::SIGTSTP, "TSTP"),
];

/// A task that ends with its owner.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Task {
    pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(tokio::spawn(future))
    }
}

/// Signals are caught from now on, before the container they are for is known.
pub struct Forwarding {
    caught: mpsc::Receiver<&'static str>,
    listeners: Vec<Task>,
}

impl Forwarding {
    pub fn catch() -> std::io::Result<Forwarding> {
        let (sender, caught) = mpsc::channel(8);
        let mut listeners = Vec::with_capacity(FORWARDED.len());
        for (number, name) in FORWARDED {
            let mut stream: Signal = signal(SignalKind::from_raw(number))?;
            let sender = sender.clone();
            listeners.push(Task::spawn(async move {
                while stream.recv().await.is_some() {
                    if sender.send(name).await.is_err() {
                        return;
                    }
                }
            }));
        }
        Ok(Forwarding { caught, listeners })
    }

    /// Passes what was and will be caught on to a container.
    pub fn forward_to(self, client: Arc<Client>, id: String) -> Task {
        let Forwarding {
            mut caught,
            listeners,
        } = self;
        Task::spawn(async move {
            // They listen for as long as this forwards.
            let _listeners = listeners;
            while let Some(name) = caught.recv().await {
                // A container that has ended needs no signal any more.
                let _ = client.container_kill(&id, Some(name)).await;
            }
        })
    }
}

/// Waits for a signal that is to end the process, and gives its number. From then on it is for the caller to end.
pub async fn deadly() -> std::io::Result<i32> {
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = hang_up.recv() => libc::SIGHUP,
        _ = interrupt.recv() => libc::SIGINT,
        _ = terminate.recv() => libc::SIGTERM,
    })
}

/// Ends the process on the signals that end one, with the terminal as it was.
pub fn restore_terminal_on_death() -> std::io::Result<Vec<Task>> {
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM]
        .into_iter()
        .map(|number| {
            let mut stream = signal(SignalKind::from_raw(number))?;
            Ok(Task::spawn(async move {
                if stream.recv().await.is_some() {
                    terminal::restore();
                    std::process::exit(128 + number);
                }
            }))
        })
        .collect()
}

/// Tells each new size of the terminal, and the present one first.
pub fn watch_size<F, R>(mut resize: F) -> std::io::Result<Task>
where
    F: FnMut(u16, u16) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let mut stream = signal(SignalKind::window_change())?;
    Ok(Task::spawn(async move {
        loop {
            if let Some((rows, columns)) = terminal::size() {
                resize(rows, columns).await;
            }
            if stream.recv().await.is_none() {
                return;
            }
        }
    }))
}
