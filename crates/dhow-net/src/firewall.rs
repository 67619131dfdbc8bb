//! The thread that owns the rules: it publishes ports, and puts the table back when somebody flushes it.
//!
//! Invariant: the kernel's table says what `ports` says, after every job, and soon after another program changed it. The thread
//! sleeps in one poll(2) until there is a job or a change of rules.

mod flows;
mod published;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::oneshot;

use crate::endpoint::{Addresses, LiveEndpoint, PortBinding, PortChange, PortRequest, Published};
use crate::error::{Doing, Error, Result};
use crate::keeper::keep;
use crate::netlink::{Batch, Socket};
use crate::nft::ruleset::{self, BridgeRules, Forward, Known, Scheme};
use crate::nft::users;
use crate::nft::wire::{self, Family};
use crate::ports::Ports;
use crate::repair::Repair;

/// Room for the notifications of our own largest changes, which arrive before they can be read.
const MONITOR_BUFFER: i32 = 4 << 20;

pub(crate) enum Job {
    Publish {
        endpoint: Addresses,
        id: String,
        name: String,
        requests: Vec<PortRequest>,
        reply: oneshot::Sender<Result<Published>>,
    },
    Unpublish {
        endpoint: Ipv4Addr,
        /// All of the endpoint's without.
        bindings: Option<Vec<PortBinding>>,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Ports of an endpoint go and others come: all of them or none.
    Change {
        endpoint: Addresses,
        id: String,
        name: String,
        change: PortChange,
        reply: oneshot::Sender<Result<Published>>,
    },
    /// A change is taken back, while the sockets of what comes back are held.
    ChangeBack {
        endpoint: Addresses,
        name: String,
        gone: Vec<PortBinding>,
        back: Vec<PortBinding>,
        reply: oneshot::Sender<Result<()>>,
    },
    /// What one endpoint has published is another's from now on.
    Move {
        from: Ipv4Addr,
        to: Addresses,
        name: String,
        reply: oneshot::Sender<Result<Vec<PortBinding>>>,
    },
    /// The rules of a bridge that was added, in place of those of the same name.
    AddBridge {
        rules: BridgeRules,
        reply: oneshot::Sender<Result<()>>,
    },
    RemoveBridge {
        name: String,
    },
    /// Ends the thread.
    Stop {
        remove_table: bool,
    },
}

/// The way to the thread.
#[derive(Clone)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    jobs: Mutex<VecDeque<Job>>,
    wake: OwnedFd,
    /// Whether nothing is done any more.
    stopped: AtomicBool,
}

impl Handle {
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    pub fn submit(&self, job: Job) {
        if matches!(job, Job::Stop { .. }) {
            self.shared.stopped.store(true, Ordering::Release);
        }
        self.shared
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(job);
        // It can only fail when the counter is full, and then the thread is awake.
        let _ = rustix::io::write(&self.shared.wake, &1u64.to_ne_bytes());
    }
}

pub(crate) struct Firewall {
    scheme: Scheme,
    bridges: Vec<BridgeRules>,
    publish_ip: Ipv4Addr,
    ports: Ports,
    socket: Socket,
    /// The socket's address, by which our own changes are known.
    own_port: u32,
    monitor: Socket,
    repair: Repair,
    /// Whether there may be a table of IPv6.
    ipv6: bool,
}

impl Firewall {
    /// Opens the sockets in the calling thread's namespace and makes the table, with the live endpoints' ports.
    pub fn open(
        scheme: Scheme,
        bridges: Vec<BridgeRules>,
        publish_ip: Ipv4Addr,
        live: &[LiveEndpoint],
    ) -> Result<Self> {
        let (socket, own_port) = working_socket()?;
        let monitor = monitor()?;
        let mut ports = Ports::default();
        for endpoint in live {
            for binding in ports.adopt(endpoint.addresses(), &endpoint.name, &endpoint.bindings) {
                tracing::warn!(
                    container = endpoint.name,
                    port = binding.host_port,
                    protocol = binding.protocol.name(),
                    "two live containers claim one host port: the first keeps it"
                );
            }
        }
        let mut firewall = Firewall {
            scheme,
            bridges,
            publish_ip,
            ports,
            socket,
            own_port,
            monitor,
            repair: Repair::default(),
            ipv6: false,
        };
        firewall.make_users_chain();
        firewall.forget_ipv6();
        firewall.replace()?;
        firewall.warn_of_others();
        Ok(firewall)
    }

    /// Starts the thread. It ends at `Job::Stop`; if it dies before, another goes on with what this one knew.
    pub fn start(self) -> Result<(Handle, std::thread::JoinHandle<()>)> {
        self.start_with(Firewall::work)
    }

    fn start_with(
        mut self,
        work: fn(&mut Firewall, Job),
    ) -> Result<(Handle, std::thread::JoinHandle<()>)> {
        let start = || "cannot start the firewall's thread".to_owned();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).doing(start)?;
        let handle = Handle {
            shared: Arc::new(Shared {
                jobs: Mutex::default(),
                wake,
                stopped: AtomicBool::new(false),
            }),
        };
        let shared = Arc::clone(&handle.shared);
        let mut first = true;
        let thread = keep("dhow-firewall", "firewall-keeper", move || {
            if !std::mem::take(&mut first) {
                // The kernel may have half of what the one before was at.
                if let Err(error) = self.replace() {
                    tracing::error!(%error, "cannot put the nf_tables table in order");
                    self.repair.ask(Instant::now());
                }
            }
            self.run(&shared, work);
            Ok(())
        })
        .doing(start)?;
        Ok((handle, thread))
    }

    fn run(&mut self, shared: &Shared, work: fn(&mut Firewall, Job)) {
        loop {
            loop {
                let job = shared
                    .jobs
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop_front();
                match job {
                    None => break,
                    Some(Job::Stop { remove_table }) => return self.stop(remove_table),
                    Some(job) => work(self, job),
                }
            }
            self.watch();
            let now = Instant::now();
            if self.repair.is_due(now) {
                self.put_back(now);
            }
            if let Err(error) = self.sleep(shared, now) {
                // Only a lack of memory is left as a cause. Without a sleep the thread would be busy for ever.
                tracing::error!(%error, "the firewall's thread can't wait for work");
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }

    fn sleep(&self, shared: &Shared, now: Instant) -> io::Result<()> {
        let timeout = self
            .repair
            .due
            .map(|due| due.saturating_duration_since(now));
        let timeout = timeout.map(|timeout| Timespec {
            // At most a minute.
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let mut fds = [
            PollFd::from_borrowed_fd(shared.wake.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.monitor.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if fds[0].revents().contains(PollFlags::IN) {
            let mut count = [0; 8];
            // It only says that there are jobs, which the queue says too.
            let _ = rustix::io::read(&shared.wake, &mut count);
        }
        Ok(())
    }

    fn stop(&mut self, remove_table: bool) {
        if remove_table
            && let Err(error) = self.commit(&ruleset::remove(&self.scheme.table, self.families()))
        {
            tracing::warn!(table = self.scheme.table, %error, "cannot remove the table");
        }
        if remove_table && let Err(error) = self.commit(&users::remove()) {
            tracing::debug!(%error, "the administrator's table stays");
        }
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Publish {
                endpoint,
                id,
                name,
                requests,
                reply,
            } => {
                let result =
                    self.publish(endpoint, &name, &requests)
                        .map_err(|cause| Error::Publish {
                            endpoint: name,
                            id,
                            cause,
                        });
                if let Err(Ok(published)) = reply.send(result) {
                    // Nobody waits any more. Nobody could say when the ports are free again, either.
                    let endpoint = endpoint.ip;
                    if let Err(error) = self.unpublish(endpoint, Some(&published.bindings)) {
                        tracing::warn!(%endpoint, %error, "cannot take back published ports");
                    }
                }
            }
            Job::Unpublish {
                endpoint,
                bindings,
                reply,
            } => {
                let result = self.unpublish(endpoint, bindings.as_deref());
                if let Err(Err(error)) = reply.send(result) {
                    tracing::warn!(%endpoint, %error, "cannot take back published ports");
                }
            }
            Job::Change {
                endpoint,
                id,
                name,
                mut change,
                reply,
            } => {
                let result = self
                    .change_ports(endpoint, &name, &mut change)
                    .map_err(|cause| Error::Publish {
                        endpoint: name.clone(),
                        id,
                        cause,
                    });
                if let Err(Ok(published)) = reply.send(result) {
                    // As with those that nobody waits for any more when they are published.
                    let (gone, back) = (&published.bindings, &change.gone);
                    if let Err(error) = self.exchange(endpoint, &name, gone, back) {
                        tracing::warn!(ip = %endpoint.ip, %error, "cannot take back a change of ports");
                    }
                }
            }
            Job::ChangeBack {
                endpoint,
                name,
                gone,
                back,
                reply,
            } => {
                let result = self.exchange(endpoint, &name, &gone, &back);
                if let Err(Err(error)) = reply.send(result) {
                    tracing::warn!(ip = %endpoint.ip, %error, "cannot take back a change of ports");
                }
            }
            Job::Move {
                from,
                to,
                name,
                reply,
            } => {
                // Nobody who waits no more has to know.
                let _ = reply.send(self.move_ports(from, to, &name));
            }
            Job::AddBridge { rules, reply } => {
                // If nobody waits any more, the bridge's removal is behind this in the queue.
                let name = rules.name.clone();
                let _ = reply.send(self.change_bridge(&name, Some(rules)));
            }
            Job::RemoveBridge { name } => {
                if let Err(error) = self.change_bridge(&name, None) {
                    tracing::warn!(%error, "rules of a network that is gone stay");
                }
            }
            Job::Stop { .. } => {}
        }
    }

    /// Puts a bridge in place of the one that has its name, or takes that away.
    fn change_bridge(&mut self, name: &str, new: Option<BridgeRules>) -> Result<()> {
        let families = self.families();
        let at = self.bridges.iter().position(|bridge| bridge.name == name);
        let old = at.map(|at| self.bridges.swap_remove(at));
        self.bridges.extend(new.clone());
        // The first with IPv6 needs a table, and the last leaves one.
        if families != self.families() {
            return self.replace();
        }
        let side = |bridge: &Option<BridgeRules>| bridge.clone().into_iter().collect::<Vec<_>>();
        let known = |bridges| Known {
            bridges,
            forwards: &[],
        };
        let (old, new) = (side(&old), side(&new));
        let batch = ruleset::change(
            &self.scheme.table,
            families,
            &self.bridges,
            known(&old),
            known(&new),
        );
        self.commit_or_replace(batch)
    }

    fn families(&self) -> &'static [Family] {
        ruleset::families(&self.bridges)
    }

    /// Removes the table of IPv6 that an earlier daemon may have left, unless it is wanted. A kernel without that family has none.
    fn forget_ipv6(&mut self) {
        if self.families().contains(&Family::Ip6) {
            return;
        }
        if let Err(error) = self.commit(&ruleset::remove(&self.scheme.table, &[Family::Ip6])) {
            tracing::debug!(%error, "no tables of IPv6");
        }
    }

    /// Changes an endpoint's entries. Where that fails, as when somebody flushed the table just now, the whole is put in place.
    fn change(&mut self, before: &[Forward], after: &[Forward]) -> Result<()> {
        let side = |forwards| Known {
            bridges: &[],
            forwards,
        };
        let batch = ruleset::change(
            &self.scheme.table,
            self.families(),
            &self.bridges,
            side(before),
            side(after),
        );
        self.commit_or_replace(batch)
    }

    fn commit_or_replace(&mut self, batch: Option<Batch>) -> Result<()> {
        let Some(batch) = batch else {
            return Ok(());
        };
        match self.commit(&batch) {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, table = self.scheme.table, "replacing the whole table");
                self.replace()
            }
        }
    }

    fn replace(&mut self) -> Result<()> {
        let forwards = self.ports.forwards();
        let batch = ruleset::replace(&self.scheme, &self.bridges, &forwards, self.ipv6);
        self.commit(&batch)?;
        self.ipv6 = self.families().contains(&Family::Ip6);
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        if self.socket.is_broken() {
            tracing::warn!("the firewall's netlink socket broke; opening another");
            (self.socket, self.own_port) = working_socket()?;
        }
        self.socket
            .transact(batch, |_| {})
            .map_err(io::Error::from)
            .doing(|| format!("cannot change the nf_tables table {}", self.scheme.table))
    }
}

/// A socket for changes, and its address.
fn working_socket() -> Result<(Socket, u32)> {
    let socket = open(0)?;
    let port = socket
        .port()
        .doing(|| "cannot get a netlink socket's address".to_owned())?;
    Ok((socket, port))
}

/// A socket that is told of changes.
fn monitor() -> Result<Socket> {
    let monitor = open(wire::CHANGES_GROUP)?;
    monitor
        .set_option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, MONITOR_BUFFER)
        .doing(|| "cannot enlarge a netlink socket's buffer".to_owned())?;
    Ok(monitor)
}

fn open(groups: u32) -> Result<Socket> {
    Socket::open(libc::NETLINK_NETFILTER, groups)
        .doing(|| "cannot open a netfilter netlink socket".to_owned())
}
