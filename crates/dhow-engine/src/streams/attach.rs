//! Attaching to a container's streams, before its start or while it runs, and replaying what it has said.

use std::os::fd::OwnedFd;
use std::pin::Pin;

use dhow_runtime::{AttachStreams, Target};
use tokio::net::UnixStream;

use super::Streams;
use super::detach::{DetachKeys, DetachScanner};
use super::logs::{LogOptions, LogStream};
use crate::containers::state::State;
use crate::containers::stop::is_gone;
use crate::error::{EngineError, Result};

/// Which streams, and whether what was written earlier comes first.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Replay the log.
    pub logs: bool,
    /// Attach to what comes.
    pub stream: bool,
    /// Docker's description of the keys that detach; empty is the default.
    pub detach_keys: Option<String>,
}

/// A client's connection to a process. Dropping it detaches; the process goes on.
pub struct AttachSession {
    /// What is to be sent first.
    pub replay: Option<LogStream>,
    /// Output comes from here, framed unless there is a terminal, until its end; input goes in, and
    /// shutting the writing side down ends it.
    pub stream: Option<UnixStream>,
    pub tty: bool,
    /// Whether input is wanted.
    pub stdin: bool,
    /// Input goes through this where a terminal could detach.
    pub detach: Option<DetachScanner>,
    on_detach: Option<Box<dyn FnOnce() + Send>>,
    /// Done when all that the end of the output tells of can be asked for.
    known: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl AttachSession {
    pub fn new(
        stream: Option<UnixStream>,
        tty: bool,
        stdin: bool,
        detach: Option<DetachScanner>,
    ) -> AttachSession {
        AttachSession {
            replay: None,
            stream,
            tty,
            stdin,
            detach,
            on_detach: None,
            known: None,
        }
    }

    pub fn on_output_end(&mut self, known: impl Future<Output = ()> + Send + 'static) {
        self.known = Some(Box::pin(known));
    }

    /// To be awaited between the end of the output and telling the client of it: clients ask for the exit
    /// code as soon as they have seen the end.
    pub fn output_ended(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let known = self.known.take();
        async move {
            if let Some(known) = known {
                known.await;
            }
        }
    }

    pub fn on_detach(&mut self, tell: impl FnOnce() + Send + 'static) {
        self.on_detach = Some(Box::new(tell));
    }

    /// To be called when the keys were typed.
    pub fn detached(&mut self) {
        if let Some(tell) = self.on_detach.take() {
            tell();
        }
    }
}

/// The two ends of a stream: ours for the route, the other for the shim.
pub fn stream_pair() -> std::io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

impl Streams {
    pub async fn attach(&self, name: &str, options: AttachOptions) -> Result<AttachSession> {
        let container = self.inner.containers.find(name)?;
        let keys = DetachKeys::parse(options.detach_keys.as_deref().unwrap_or(""))?;
        let mut progress = container.watch();
        let seen = progress.borrow_and_update().exits;
        let definition = container.definition();
        let config = &definition.config;
        let stdin = options.stdin && config.open_stdin;
        let mut session = AttachSession::new(
            None,
            config.tty,
            stdin,
            (config.tty && stdin).then(|| DetachScanner::new(keys)),
        );
        let streams = AttachStreams {
            stdin,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        match container.state() {
            State::Paused(_) => {
                return Err(EngineError::Paused {
                    container: container.id.clone(),
                    before: "attach",
                });
            }
            State::Restarting(_) if options.stream => {
                return Err(EngineError::Restarting(container.id.clone()));
            }
            State::Removing(_) | State::Dead(_) => {
                return Err(EngineError::Refused(format!(
                    "container {} is marked for removal and cannot be attached to",
                    container.id
                )));
            }
            _ => {}
        }
        if options.logs {
            let wanted = LogOptions {
                stdout: options.stdout,
                stderr: options.stderr,
                ..LogOptions::default()
            };
            session.replay = Some(self.logs(container.id.as_str(), wanted)?);
        }
        if options.stream {
            let (ours, theirs) = stream_pair().map_err(EngineError::io("attaching"))?;
            // Whether it runs is asked, and the stream left for its start, under one lock: a start in
            // between would find neither.
            let shim = {
                let mut view = container.view();
                match view.shim.clone() {
                    Some(shim) => Some((shim, theirs)),
                    None if view.life.state.run().is_some() => {
                        return Err(EngineError::Unreachable(container.id.clone()));
                    }
                    None => {
                        view.pending.retain(|(_, fd)| !has_hung_up(fd));
                        view.pending.push((streams, theirs));
                        None
                    }
                }
            };
            if let Some((shim, theirs)) = shim {
                shim.attach(Target::Init, streams, theirs)
                    .await
                    .map_err(|e| match is_gone(&e) {
                        true => container.not_running(),
                        false => EngineError::io("attaching")(e),
                    })?;
            }
            session.stream = Some(ours);
        }
        self.inner.containers.tell(&container, "attach", &[]);
        let (background, attached) = (self.inner.background.clone(), container.clone());
        session.on_output_end(async move {
            let known = async {
                let shim = attached.view().shim.clone();
                if let Some(shim) = shim
                    && !shim.has_ended(Target::Init).await
                {
                    // Let go for having no more input, or of the run before this one.
                    return;
                }
                // An error means that the container is gone.
                let _ = progress.wait_for(|p| p.exits > seen || p.removed).await;
            };
            tokio::select! {
                () = background.closing() => {}
                () = known => {}
            }
        });
        let containers = self.inner.containers.clone();
        session.on_detach(move || containers.tell(&container, "detach", &[]));
        Ok(session)
    }

    pub async fn resize(&self, name: &str, height: u16, width: u16) -> Result<()> {
        let container = self.inner.containers.find(name)?;
        let shim = container.shim()?;
        shim.resize(Target::Init, height, width)
            .await
            .map_err(|source| EngineError::Resize {
                what: format!("container {}", container.id),
                source,
            })?;
        self.inner.containers.tell(
            &container,
            "resize",
            &[
                ("height", &height.to_string()),
                ("width", &width.to_string()),
            ],
        );
        Ok(())
    }
}

/// Whether the client of a stream has gone while it waited for a start.
fn has_hung_up(fd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut fds, Some(&now)), Ok(1) if fds[0].revents().contains(PollFlags::HUP))
}
