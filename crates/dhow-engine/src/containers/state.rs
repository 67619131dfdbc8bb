//! The life of a container: one state machine, and the only place that says which event may follow which.
//!
//! A state holds just the data that is true in it, so that a pid without a running process, or a finish
//! time without an end, can't be expressed. The names that a client sees are those of Docker's Engine API
//! (`ContainerState.Status`): *created, running, paused, restarting, removing, exited, dead*. A start that
//! is under way is shown as what it came from.
//!
//! The state is what the metadata store keeps, so its serialised form is part of the store's schema.

use serde::{Deserialize, Serialize};

/// How the last run, or the last attempt at one, ended. All zero for a container that has never been started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub exit_code: i32,
    /// Why the process could not be started; empty when it ran.
    pub error: String,
    pub oom_killed: bool,
    /// Nanoseconds since the epoch; 0 is never.
    pub started_at: i64,
    pub finished_at: i64,
    /// A user stopped it, so neither a restart policy nor a new daemon starts it again (`unless-stopped`).
    pub by_user: bool,
}

/// A process that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub pid: u32,
    /// Nanoseconds since the epoch.
    pub started_at: i64,
    /// When the run before this one ended; 0 if there was none.
    pub last_finished_at: i64,
    /// A user asked for the end: what follows is no reason to restart.
    pub stopping: bool,
}

/// Where a start came from, and so what is shown while it lasts and what a failure goes back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    Created(Ended),
    Exited(Ended),
    Restarting(Ended),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Created(Ended),
    Starting(Origin),
    Running(Run),
    Paused(Run),
    /// Its restart policy starts it again after a pause.
    Restarting(Ended),
    Exited(Ended),
    Removing(Ended),
    /// A removal that failed half way: only another removal is possible.
    Dead(Ended),
}

/// What can happen to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Start,
    Started {
        pid: u32,
        at: i64,
    },
    StartFailed {
        exit_code: i32,
        error: String,
        at: i64,
        /// The restart policy, whose start it was, wants another one.
        restart: bool,
    },
    /// A user asks for the end, by `stop`, `kill` with a deadly signal, `restart` or a forced removal.
    Stop,
    Exit {
        exit_code: i32,
        oom_killed: bool,
        at: i64,
        /// The restart policy wants it back.
        restart: bool,
    },
    Pause,
    Unpause,
    Remove,
    RemoveFailed,
}

/// Why an event can't happen in a state. The sentences are the engine's: they name the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    AlreadyRunning,
    NotRunning,
    /// A start is under way.
    Starting,
    Paused,
    AlreadyPaused,
    NotPaused,
    Restarting,
    /// Removal is under way.
    Removing,
    Dead,
}

impl State {
    /// The state that follows, or why the event is refused; the state itself is then as it was.
    pub fn after(&self, event: Event) -> Result<State, Refusal> {
        use Event as E;
        use State as S;
        Ok(match (self, event) {
            (S::Created(e), E::Start) => S::Starting(Origin::Created(e.clone())),
            (S::Exited(e), E::Start) => S::Starting(Origin::Exited(e.clone())),
            (S::Restarting(e), E::Start) => S::Starting(Origin::Restarting(e.clone())),
            (S::Starting(_), E::Start) => return Err(Refusal::Starting),
            (S::Running(_), E::Start) => return Err(Refusal::AlreadyRunning),
            (S::Paused(_), E::Start) => return Err(Refusal::Paused),

            (S::Starting(origin), E::Started { pid, at }) => S::Running(Run {
                pid,
                started_at: at,
                last_finished_at: origin.ended().finished_at,
                stopping: false,
            }),
            (
                S::Starting(origin),
                E::StartFailed {
                    exit_code,
                    error,
                    at,
                    restart,
                },
            ) => {
                let ended = Ended {
                    exit_code,
                    error,
                    oom_killed: false,
                    by_user: false,
                    ..origin.ended().clone()
                };
                match origin {
                    Origin::Created(_) => S::Created(ended),
                    Origin::Exited(_) => S::Exited(ended),
                    Origin::Restarting(_) => {
                        let ended = Ended {
                            finished_at: at,
                            ..ended
                        };
                        match restart {
                            true => S::Restarting(ended),
                            false => S::Exited(ended),
                        }
                    }
                }
            }
            // A new daemon can find a process, or the end of one, that the old one did not live to write down.
            (
                S::Created(ended) | S::Exited(ended) | S::Restarting(ended),
                E::Started { pid, at },
            ) => S::Running(Run {
                pid,
                started_at: at,
                last_finished_at: ended.finished_at,
                stopping: false,
            }),
            (S::Running(run) | S::Paused(run), E::Started { pid, .. }) if run.pid == pid => {
                self.clone()
            }
            (S::Running(_) | S::Paused(_), E::Started { .. }) => {
                return Err(Refusal::AlreadyRunning);
            }
            (
                S::Starting(origin),
                E::Exit {
                    exit_code,
                    oom_killed,
                    at,
                    restart,
                },
            ) => ended(
                origin.ended().started_at,
                false,
                exit_code,
                oom_killed,
                at,
                restart,
            ),

            (
                S::Running(run) | S::Paused(run),
                E::Exit {
                    exit_code,
                    oom_killed,
                    at,
                    restart,
                },
            ) => ended(
                run.started_at,
                run.stopping,
                exit_code,
                oom_killed,
                at,
                restart && !run.stopping,
            ),
            (
                S::Created(_) | S::Exited(_) | S::Restarting(_),
                E::StartFailed { .. } | E::Exit { .. },
            ) => return Err(Refusal::NotRunning),
            (S::Running(_) | S::Paused(_), E::StartFailed { .. }) => {
                return Err(Refusal::AlreadyRunning);
            }

            (S::Running(run), E::Stop) => S::Running(Run {
                stopping: true,
                ..run.clone()
            }),
            (S::Paused(run), E::Stop) => S::Paused(Run {
                stopping: true,
                ..run.clone()
            }),
            (S::Restarting(e), E::Stop) => S::Exited(Ended {
                by_user: true,
                ..e.clone()
            }),
            (S::Starting(_), E::Stop | E::Pause | E::Unpause | E::Remove) => {
                return Err(Refusal::Starting);
            }
            (S::Created(_) | S::Exited(_), E::Stop) => return Err(Refusal::NotRunning),

            (S::Running(run), E::Pause) => S::Paused(run.clone()),
            (S::Paused(_), E::Pause) => return Err(Refusal::AlreadyPaused),
            (S::Paused(run), E::Unpause) => S::Running(run.clone()),
            (S::Restarting(_), E::Pause) => return Err(Refusal::Restarting),
            (S::Created(_) | S::Exited(_), E::Pause) => return Err(Refusal::NotRunning),
            (S::Created(_) | S::Exited(_) | S::Running(_) | S::Restarting(_), E::Unpause) => {
                return Err(Refusal::NotPaused);
            }

            (S::Created(e) | S::Exited(e) | S::Dead(e), E::Remove) => S::Removing(e.clone()),
            (S::Running(_), E::Remove) => return Err(Refusal::AlreadyRunning),
            (S::Paused(_), E::Remove) => return Err(Refusal::Paused),
            (S::Restarting(_), E::Remove) => return Err(Refusal::Restarting),
            (S::Removing(e), E::RemoveFailed) => S::Dead(e.clone()),
            (S::Removing(_), _) => return Err(Refusal::Removing),
            (S::Dead(_), _) => return Err(Refusal::Dead),
            (
                S::Created(_)
                | S::Starting(_)
                | S::Running(_)
                | S::Paused(_)
                | S::Restarting(_)
                | S::Exited(_),
                E::RemoveFailed,
            ) => return Err(Refusal::NotRunning),
        })
    }

    /// Docker's name of the state.
    pub fn status(&self) -> &'static str {
        match self {
            State::Created(_) | State::Starting(Origin::Created(_)) => "created",
            State::Running(_) => "running",
            State::Paused(_) => "paused",
            State::Restarting(_) | State::Starting(Origin::Restarting(_)) => "restarting",
            State::Exited(_) | State::Starting(Origin::Exited(_)) => "exited",
            State::Removing(_) => "removing",
            State::Dead(_) => "dead",
        }
    }

    /// The process that runs, paused or not.
    pub fn run(&self) -> Option<&Run> {
        match self {
            State::Running(run) | State::Paused(run) => Some(run),
            _ => None,
        }
    }

    /// How the last run ended; `None` while one lasts.
    pub fn ended(&self) -> Option<&Ended> {
        match self {
            State::Created(e)
            | State::Restarting(e)
            | State::Exited(e)
            | State::Removing(e)
            | State::Dead(e) => Some(e),
            State::Starting(origin) => Some(origin.ended()),
            State::Running(_) | State::Paused(_) => None,
        }
    }

    /// Whether a client that waits for the end has still to wait. A container between two of its restarts
    /// has not ended.
    pub fn is_live(&self) -> bool {
        matches!(
            self,
            State::Running(_)
                | State::Paused(_)
                | State::Restarting(_)
                | State::Starting(Origin::Restarting(_))
        )
    }
}

impl Origin {
    pub fn ended(&self) -> &Ended {
        match self {
            Origin::Created(e) | Origin::Exited(e) | Origin::Restarting(e) => e,
        }
    }
}

fn ended(
    started_at: i64,
    by_user: bool,
    exit_code: i32,
    oom_killed: bool,
    finished_at: i64,
    restart: bool,
) -> State {
    let ended = Ended {
        exit_code,
        error: String::new(),
        oom_killed,
        started_at,
        finished_at,
        by_user,
    };
    if restart {
        State::Restarting(ended)
    } else {
        State::Exited(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before() -> Ended {
        Ended {
            exit_code: 3,
            started_at: 10,
            finished_at: 20,
            ..Ended::default()
        }
    }

    fn run() -> Run {
        Run {
            pid: 7,
            started_at: 30,
            last_finished_at: 20,
            stopping: false,
        }
    }

    fn states() -> Vec<(&'static str, State)> {
        vec![
            ("created", State::Created(Ended::default())),
            (
                "starting",
                State::Starting(Origin::Created(Ended::default())),
            ),
            ("starting again", State::Starting(Origin::Exited(before()))),
            (
                "restart starting",
                State::Starting(Origin::Restarting(before())),
            ),
            ("running", State::Running(run())),
            (
                "stopping",
                State::Running(Run {
                    stopping: true,
                    ..run()
                }),
            ),
            ("paused", State::Paused(run())),
            ("restarting", State::Restarting(before())),
            ("exited", State::Exited(before())),
            ("removing", State::Removing(before())),
            ("dead", State::Dead(before())),
        ]
    }

    fn start_failed(restart: bool) -> Event {
        Event::StartFailed {
            exit_code: 127,
            error: "not found".into(),
            at: 40,
            restart,
        }
    }

    fn exit(restart: bool) -> Event {
        Event::Exit {
            exit_code: 5,
            oom_killed: false,
            at: 40,
            restart,
        }
    }

    fn events() -> Vec<(&'static str, Event)> {
        vec![
            ("start", Event::Start),
            ("started", Event::Started { pid: 7, at: 30 }),
            ("other started", Event::Started { pid: 8, at: 30 }),
            ("start failed", start_failed(false)),
            ("failed, again", start_failed(true)),
            ("stop", Event::Stop),
            ("exit", exit(false)),
            ("exit, restart", exit(true)),
            ("pause", Event::Pause),
            ("unpause", Event::Unpause),
            ("remove", Event::Remove),
            ("remove failed", Event::RemoveFailed),
        ]
    }

    /// The name of a state as the table has it: a few words of what is in it.
    fn shown(state: &State) -> String {
        match state {
            State::Created(e) => format!("created({})", e.exit_code),
            State::Starting(Origin::Created(_)) => "starting".into(),
            State::Starting(Origin::Exited(_)) => "starting again".into(),
            State::Starting(Origin::Restarting(_)) => "restart starting".into(),
            State::Running(r) if r.stopping => format!("stopping({})", r.pid),
            State::Running(r) => format!("running({})", r.pid),
            State::Paused(r) if r.stopping => format!("paused, stopping({})", r.pid),
            State::Paused(r) => format!("paused({})", r.pid),
            State::Restarting(e) => format!("restarting({})", e.exit_code),
            State::Exited(e) if e.by_user => format!("exited by user({})", e.exit_code),
            State::Exited(e) => format!("exited({})", e.exit_code),
            State::Removing(_) => "removing".into(),
            State::Dead(_) => "dead".into(),
        }
    }

    #[test]
    fn every_event_in_every_state() {
        let mut table = String::new();
        for (name, state) in states() {
            for (event_name, event) in events() {
                let after = match state.after(event) {
                    Ok(next) => shown(&next),
                    Err(refusal) => format!("refused: {refusal:?}"),
                };
                table += &format!("{name:<16} + {event_name:<13} -> {after}\n");
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn only_dockers_names_are_shown() {
        const DOCKERS: [&str; 7] = [
            "created",
            "running",
            "paused",
            "restarting",
            "removing",
            "exited",
            "dead",
        ];
        for (_, state) in states() {
            assert!(DOCKERS.contains(&state.status()));
        }
    }

    #[test]
    fn a_run_keeps_its_times_and_a_failed_start_its_reason() {
        let started = State::Starting(Origin::Exited(before()))
            .after(Event::Started { pid: 9, at: 50 })
            .unwrap();
        assert_eq!(started.run().unwrap().last_finished_at, 20);
        let ended = started.after(exit(false)).unwrap();
        let ended = ended.ended().unwrap();
        assert_eq!((ended.started_at, ended.finished_at), (50, 40));
        let failed = State::Starting(Origin::Created(Ended::default()))
            .after(start_failed(false))
            .unwrap();
        assert_eq!(failed.status(), "created");
        assert_eq!(failed.ended().unwrap().error, "not found");
    }
}
