//! What others do to the bridges: one that they delete, or take an address from, is put back as it was.
//!
//! The kernel tells of links and addresses that are gone (rtnetlink(7), RTNLGRP_LINK and RTNLGRP_*_IFADDR), and a filter of the
//! socket drops what it tells of containers' links: nothing wakes this at rest, nor while containers come and go.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::bridge::Bridge;
use crate::config::NetConfig;
use crate::error::{Doing, Error, Result};
use crate::netlink::{Socket, messages};
use crate::repair::Repair;
use crate::warm::Sandboxes;

const GROUPS: libc::c_int = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;

/// Our bridges by their indexes, but for those that are somebody else's. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Watched {
    bridges: Arc<Mutex<HashMap<u32, (Bridge, NetConfig)>>>,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, (Bridge, NetConfig)>> {
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(&self, bridge: &Bridge, config: &NetConfig) {
        if !bridge.foreign {
            let entry = (bridge.clone(), config.clone());
            self.lock().insert(bridge.index, entry);
        }
    }

    /// It is about to be removed. What is given back can be entered again.
    pub fn leave(&self, index: u32) -> Option<(Bridge, NetConfig)> {
        self.lock().remove(&index)
    }
}

/// What the kernel tells in the namespace of the thread that opened it.
pub(crate) struct Watch {
    events: Socket,
}

impl Watch {
    pub fn open() -> Result<Watch> {
        let doing = || "cannot watch the host's links".to_owned();
        let socket = Socket::open(libc::NETLINK_ROUTE, GROUPS as u32).doing(doing)?;
        // Without it there is more to look at, and nothing else.
        if let Err(error) = drop_uninteresting(socket.as_fd()) {
            tracing::debug!(%error, "all that links do is looked at");
        }
        Ok(Watch { events: socket })
    }

    /// Puts back what others take from the bridges, until there is nobody who could.
    pub async fn run(self, watched: Watched, worker: Arc<Sandboxes>) {
        // SAFETY: the socket owns its descriptor, gives no other, and is not replaced in here.
        let registered =
            unsafe { AsyncFd::register_with_interest(self.events, Interest::READABLE) };
        let mut events = match registered {
            Ok(events) => events,
            Err(error) => return tracing::error!(%error, "the bridges are not watched"),
        };
        let mut repair = Repair::default();
        let mut touched = HashSet::new();
        loop {
            let ready = async {
                match repair.due {
                    None => events.readable_mut().await.map(Some),
                    Some(due) => tokio::time::timeout_at(due.into(), events.readable_mut())
                        .await
                        .map_or(Ok(None), |ready| ready.map(Some)),
                }
            };
            match ready.await {
                Ok(None) => {}
                Ok(Some(mut ready)) => {
                    if let Err(error) = read(ready.get_inner_mut(), &watched, &mut touched) {
                        return tracing::error!(%error, "the bridges are no longer watched");
                    }
                    ready.clear_ready();
                }
                Err(error) => return tracing::error!(%error, "the bridges are no longer watched"),
            }
            let now = Instant::now();
            if !touched.is_empty() {
                repair.ask(now);
            }
            if !repair.is_due(now) {
                continue;
            }
            repair.begin(now);
            let mut again = HashSet::new();
            for index in touched.drain() {
                match put_back(index, &watched, &worker).await {
                    Ok(()) => {}
                    Err(Error::Closed) => return,
                    Err(error @ Error::BridgeReplaced(_)) => tracing::error!("{error}"),
                    Err(error) => {
                        tracing::error!(%error, "a bridge that another program changed can't be put back");
                        again.insert(index);
                    }
                }
            }
            touched = again;
            if !touched.is_empty() {
                repair.ask(Instant::now());
            }
        }
    }
}

async fn put_back(index: u32, watched: &Watched, worker: &Sandboxes) -> Result<()> {
    let still = watched.clone();
    let put_back = worker
        .with_maker(move |maker| {
            // One that was removed before this had its turn is nobody's any more.
            let entry = still.lock().get(&index).cloned();
            let Some((bridge, config)) = entry else {
                return Ok(None);
            };
            let changed = maker.restore_bridge(&bridge, &config)?;
            Ok(changed.then_some(bridge.info.name))
        })
        .await?;
    if let Some(bridge) = put_back {
        tracing::warn!(
            bridge,
            "another program deleted this bridge or took its address: it is back in place"
        );
    }
    Ok(())
}

/// Reads what there is, and notes which of our bridges it is about.
fn read(socket: &mut Socket, watched: &Watched, touched: &mut HashSet<u32>) -> io::Result<()> {
    loop {
        match socket.receive(RecvFlags::DONTWAIT) {
            Ok(None) => return Ok(()),
            Ok(Some(datagram)) => {
                let bridges = watched.lock();
                touched.extend(
                    messages(datagram)
                        .filter(|message| {
                            matches!(message.kind, libc::RTM_DELLINK | libc::RTM_DELADDR)
                        })
                        .filter_map(|message| index(message.payload))
                        .filter(|index| bridges.contains_key(index)),
                );
            }
            // Some was not told: look at all.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                touched.extend(watched.lock().keys());
            }
            Err(error) => return Err(error),
        }
    }
}

/// The link of a message about one or about an address: both have it at the same place (struct ifinfomsg, struct ifaddrmsg).
fn index(payload: &[u8]) -> Option<u32> {
    let bytes = payload.get(4..8)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Drops, in the kernel, all but links and addresses that are gone, and of links those of containers (bpf(4), SKF_AD_NLATTR).
fn drop_uninteresting(socket: BorrowedFd<'_>) -> io::Result<()> {
    const fn op(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        }
    }
    use libc::{BPF_ABS, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    const LOAD: u32 = BPF_LD | BPF_ABS;
    const EQUAL: u32 = BPF_JMP | BPF_JEQ | BPF_K;
    const TAX: u32 = libc::BPF_MISC | libc::BPF_TAX;
    const NLATTR: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_NLATTR) as u32;
    /// Of struct nlmsghdr, and of that with struct ifinfomsg.
    const KIND: u32 = 4;
    const ATTRIBUTES: u32 = 32;
    // Numbers are loaded from the network's order.
    let kind = |kind: u16| u32::from(kind.to_be());
    let veth = u32::from_be_bytes(*b"veth");
    let mut program = [
        op(LOAD | BPF_H, 0, 0, KIND),
        op(EQUAL, 1, 0, kind(libc::RTM_DELLINK)),
        op(EQUAL, 6, 7, kind(libc::RTM_DELADDR)),
        // Where the attribute is that has the name.
        op(BPF_LD | libc::BPF_IMM, 0, 0, ATTRIBUTES),
        op(
            libc::BPF_LDX | libc::BPF_IMM,
            0,
            0,
            libc::IFLA_IFNAME.into(),
        ),
        op(LOAD | BPF_W, 0, 0, NLATTR),
        op(TAX, 0, 0, 0),
        op(BPF_LD | BPF_IND | BPF_W, 0, 0, 4),
        op(EQUAL, 1, 0, veth),
        op(BPF_RET, 0, 0, u32::MAX),
        op(BPF_RET, 0, 0, 0),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program is valid for its length, and the kernel copies it.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
