//! Endpoints made ahead of time, and the thread that makes them.
//!
//! A start that asks for nothing special takes one that is ready, without a system call. The thread then makes another, after
//! the requests that can't be served so. It sleeps when all is done: at rest nothing wakes it.
//!
//! Invariant: every endpoint here has an address that is taken in the IPAM; whoever takes the endpoint takes over the address.

mod taken;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::driver::Driver;
use crate::endpoint::{Addresses, Endpoint, Place};
use crate::error::{Error, Result};
use crate::keeper::keep;
use crate::mac::MacAddr;
use crate::make::{Joining, Make};
use crate::pool::{Pool, Wish};
use crate::sandbox::{host_link_name, host_link_number};
use taken::Taken;

/// How long after one was taken the next is made, while enough are left: the start that took it needs the processors more.
const PAUSE: Duration = Duration::from_millis(10);

/// How many namespaces without a network are kept ready, where any are: few containers ask for one.
const SPARE: usize = 2;

enum Job {
    Endpoint {
        wish: Wish,
        reply: oneshot::Sender<Result<Lease>>,
    },
    Isolated {
        reply: oneshot::Sender<Result<OwnedFd>>,
    },
    /// Whatever else a maker is needed for.
    Do(Task),
}

type Task = Box<dyn FnOnce(&mut dyn Make) + Send>;

struct State {
    pool: Pool,
    warm: VecDeque<Endpoint>,
    /// Namespaces that are on no network, ready made.
    spare: VecDeque<OwnedFd>,
    jobs: VecDeque<Job>,
    /// Links of endpoints that have ended, by number: there are as many as the subnet has addresses. The kernel removes one with
    /// its namespace, unless something still holds this open: before the address is used again, the thread makes sure.
    retired: HashMap<IpAddr, u32>,
    /// When warm endpoints are to be made, if any are. After a failure none are, until somebody takes one.
    refill: Option<Instant>,
    closed: bool,
}

impl State {
    /// Has what was taken be made again: soon where few are left, else when the start that took it has had the processors.
    fn refill_after_one_of(&mut self, target: usize, left: usize) {
        let now = Instant::now();
        if left < target / 2 {
            self.refill = Some(now);
        } else {
            self.refill.get_or_insert(now + PAUSE);
        }
    }

    fn retire(&mut self, addresses: Addresses, host_link: &str) {
        self.pool.release(addresses);
        if let Some(number) = host_link_number(host_link) {
            for ip in addresses.each() {
                self.retired.insert(ip, number);
            }
        }
    }

    /// The links of those who had the addresses before.
    fn former(&mut self, addresses: Addresses) -> Vec<u32> {
        let former = addresses.each().filter_map(|ip| self.retired.remove(&ip));
        former.collect()
    }
}

/// What the thread and its clients share.
pub(crate) struct Sandboxes {
    driver: Driver,
    target: usize,
    state: Mutex<State>,
    work: Condvar,
}

/// An endpoint on its way to whoever asked for it. If they are gone, it goes back.
pub(crate) struct Lease {
    endpoint: Option<Endpoint>,
    home: Arc<Sandboxes>,
}

impl Lease {
    pub fn take(mut self) -> Option<Endpoint> {
        self.endpoint.take()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            self.home.give_back(endpoint);
        }
    }
}

enum Work {
    Job(Job),
    Warm(Addresses),
    Spare,
}

impl Sandboxes {
    pub fn new(driver: Driver, target: usize, pool: Pool) -> Arc<Self> {
        Arc::new(Sandboxes {
            driver,
            target,
            state: Mutex::new(State {
                pool,
                warm: VecDeque::new(),
                spare: VecDeque::new(),
                jobs: VecDeque::new(),
                retired: HashMap::new(),
                refill: Some(Instant::now()),
                closed: false,
            }),
            work: Condvar::new(),
        })
    }

    /// Starts the thread in the calling thread's namespace. It ends at `close`; if it dies before, another goes on with what
    /// is asked for, with a maker of its own.
    pub fn start<M: Make>(
        self: &Arc<Self>,
        maker: impl Fn() -> Result<M> + Send + 'static,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        let shared = Arc::clone(self);
        keep("dhow-sandbox", "sandbox-keeper", move || {
            if shared.lock().closed {
                return Ok(());
            }
            // Nobody waits for a maker that can't be had.
            let maker = maker().inspect_err(|_| shared.lock().jobs.clear())?;
            shared.run(maker);
            Ok(())
        })
    }

    fn spare(&self) -> usize {
        SPARE.min(self.target)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A warm endpoint that is as wished, if there is one.
    pub fn take_warm(&self, wish: Wish) -> Option<Endpoint> {
        let mut state = self.lock();
        let at = state.warm.iter().position(|endpoint| {
            wish.ip.is_none_or(|ip| ip == endpoint.ip)
                && wish
                    .ipv6
                    .is_none_or(|ip| endpoint.ipv6.is_some_and(|own| own.ip == ip))
                && wish.mac.is_none_or(|mac| mac == endpoint.mac)
        })?;
        let endpoint = state.warm.remove(at);
        let left = state.warm.len();
        state.refill_after_one_of(self.target, left);
        drop(state);
        self.work.notify_one();
        endpoint
    }

    /// Makes an endpoint as wished.
    pub async fn make(&self, wish: Wish) -> Result<Lease> {
        self.ask(|reply| Job::Endpoint { wish, reply }).await
    }

    /// A namespace with nothing but its loopback link, which is up.
    pub async fn isolated(&self) -> Result<OwnedFd> {
        let spare = {
            let mut state = self.lock();
            let spare = state.spare.pop_front();
            if spare.is_some() {
                let left = state.spare.len();
                state.refill_after_one_of(self.spare(), left);
            }
            spare
        };
        if let Some(netns) = spare {
            self.work.notify_one();
            return Ok(netns);
        }
        self.ask(|reply| Job::Isolated { reply }).await
    }

    /// Has the thread do something, also if nobody waits for the answer any more.
    pub async fn with_maker<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Make) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask(|reply| {
            Job::Do(Box::new(move |maker| {
                // An answer that nobody takes is dropped, and undoes itself if it has to.
                let _ = reply.send(work(maker));
            }))
        })
        .await
    }

    /// As [`Sandboxes::with_maker`], for those who can't wait. Nothing happens when the thread has ended.
    pub fn have_done(&self, work: impl FnOnce(&mut dyn Make) + Send + 'static) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.jobs.push_back(Job::Do(Box::new(work)));
        drop(state);
        self.work.notify_one();
    }

    /// A link of this network in a namespace that is there, with an address as wished. `None` when the namespace has a link of
    /// that name.
    pub fn join(
        &self,
        maker: &mut dyn Make,
        netns: BorrowedFd<'_>,
        name: &str,
        wish: Wish,
    ) -> Result<Option<Place>> {
        let addresses = self.addresses(maker, wish)?;
        let taken = self.taken(addresses);
        self.remove_former(maker, addresses)?;
        let mac = wish.mac.unwrap_or_else(|| MacAddr::of_ipv4(addresses.ip));
        let link = Joining {
            name,
            addresses,
            mac,
            mac_chosen: wish.mac.is_some(),
        };
        let place = self.driver.join(maker, netns, link)?;
        if place.is_some() {
            taken.keep();
        }
        Ok(place)
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T>>) -> Job) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            if state.closed {
                return Err(Error::Closed);
            }
            state.jobs.push_back(job(reply));
        }
        self.work.notify_one();
        answer.await.map_err(|_| match self.lock().closed {
            true => Error::Closed,
            false => Error::Died,
        })?
    }

    pub fn keep(&self, ip: IpAddr, kept: bool) {
        self.lock().pool.keep(ip, kept);
    }

    /// The addresses of an endpoint that has ended are free again.
    pub fn release(&self, addresses: Addresses, host_link: &str) {
        let mut state = self.lock();
        self.driver.forget(host_link);
        state.retire(addresses, host_link);
        let wanted = state.warm.len() < self.target;
        if wanted {
            state.refill.get_or_insert(Instant::now() + PAUSE);
        }
        drop(state);
        if wanted {
            self.work.notify_one();
        }
    }

    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// How many are ready.
    pub fn ready(&self) -> usize {
        self.lock().warm.len()
    }

    /// Ends the thread; what is warm goes with it.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.jobs.clear();
        state.warm.clear();
        state.spare.clear();
        drop(state);
        self.work.notify_all();
    }

    fn give_back(&self, endpoint: Endpoint) {
        let mut state = self.lock();
        let ordinary = endpoint.mac == MacAddr::of_ipv4(endpoint.ip);
        if ordinary && !state.closed && state.warm.len() < self.target {
            state.warm.push_back(endpoint);
        } else {
            self.driver.forget(&endpoint.host_link);
            state.retire(endpoint.addresses(), &endpoint.host_link);
        }
    }

    fn run(self: &Arc<Self>, mut maker: impl Make) {
        while let Some(work) = self.next_work() {
            match work {
                Work::Job(Job::Endpoint { wish, reply }) => {
                    if reply.is_closed() {
                        continue;
                    }
                    let result = self.make_wished(&mut maker, wish).map(|endpoint| Lease {
                        endpoint: Some(endpoint),
                        home: Arc::clone(self),
                    });
                    // A lease that nobody takes gives itself back.
                    let _ = reply.send(result);
                }
                Work::Job(Job::Do(work)) => work(&mut maker),
                Work::Job(Job::Isolated { reply }) => {
                    // A namespace that nobody takes is closed.
                    let _ = reply.send(maker.isolated());
                }
                Work::Warm(addresses) => self.make_warm(&mut maker, addresses),
                Work::Spare => self.make_spare(&mut maker),
            }
        }
    }

    /// Waits for something to do. `None` when there is nothing any more.
    fn next_work(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(Work::Job(job));
            }
            let (warm, spare) = (
                state.warm.len() < self.target,
                state.spare.len() < self.spare(),
            );
            if !warm && !spare {
                state.refill = None;
            }
            let pause = state
                .refill
                .map(|due| due.saturating_duration_since(Instant::now()));
            state = match pause {
                None => self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) if !warm => return Some(Work::Spare),
                Some(Duration::ZERO) => {
                    match state.pool.take(Wish::default()) {
                        Ok(addresses) => return Some(Work::Warm(addresses)),
                        Err(_) => state.refill = None,
                    }
                    state
                }
                Some(pause) => {
                    self.work
                        .wait_timeout(state, pause)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    fn make_warm(&self, maker: &mut impl Make, addresses: Addresses) {
        match self.make_at(maker, addresses, MacAddr::of_ipv4(addresses.ip)) {
            Ok(endpoint) => self.lock().warm.push_back(endpoint),
            Err(error) => {
                tracing::warn!(%error, "cannot make a sandbox ahead of time");
                self.lock().refill = None;
            }
        }
    }

    fn make_spare(&self, maker: &mut impl Make) {
        match maker.isolated() {
            Ok(netns) => self.lock().spare.push_back(netns),
            Err(error) => {
                tracing::warn!(%error, "cannot make a namespace ahead of time");
                self.lock().refill = None;
            }
        }
    }

    fn make_wished(&self, maker: &mut impl Make, wish: Wish) -> Result<Endpoint> {
        // One may have become ready since the request was queued.
        if let Some(endpoint) = self.take_warm(wish) {
            return Ok(endpoint);
        }
        let addresses = self.addresses(maker, wish)?;
        let mac = wish.mac.unwrap_or_else(|| MacAddr::of_ipv4(addresses.ip));
        self.make_at(maker, addresses, mac)
    }

    /// Addresses as wished. What is warm makes room.
    fn addresses(&self, maker: &mut dyn Make, wish: Wish) -> Result<Addresses> {
        loop {
            let mut state = self.lock();
            let refused = match state.pool.take(wish) {
                Ok(addresses) => return Ok(addresses),
                Err(error) => error,
            };
            let in_the_way = state.warm.iter().position(|warm| {
                let same6 = wish.ipv6.is_some() && warm.ipv6.map(|own| own.ip) == wish.ipv6;
                wish.ip == Some(warm.ip) || same6
            });
            let at = match refused {
                Error::AddressInUse(_) => in_the_way,
                Error::Exhausted { .. } if !state.warm.is_empty() => Some(0),
                _ => None,
            };
            let Some(endpoint) = at.and_then(|at| state.warm.remove(at)) else {
                return Err(refused);
            };
            drop(state);
            let _free_again = self.taken(endpoint.addresses());
            self.driver.forget(&endpoint.host_link);
            maker.remove_link(&endpoint.host_link)?;
        }
    }

    /// Makes an endpoint with addresses that are taken for it already.
    fn make_at(
        &self,
        maker: &mut impl Make,
        addresses: Addresses,
        mac: MacAddr,
    ) -> Result<Endpoint> {
        let taken = self.taken(addresses);
        self.remove_former(maker, addresses)?;
        let endpoint = self.driver.endpoint(maker, addresses, mac)?;
        taken.keep();
        Ok(endpoint)
    }

    fn remove_former(&self, maker: &mut dyn Make, addresses: Addresses) -> Result<()> {
        let former = self.lock().former(addresses);
        for number in former {
            maker.remove_link(&host_link_name(number))?;
        }
        Ok(())
    }

    fn taken(&self, addresses: Addresses) -> Taken<'_> {
        Taken {
            home: self,
            addresses,
            kept: false,
        }
    }
}
