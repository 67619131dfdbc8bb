//! What follows when a process ends: it is reaped, its exit goes on record and is told, and what was kept
//! for it goes. The record is on disk before anyone is told.

use std::io;

use super::{MAX_UNTOLD, Shim, now, socket, start};
use crate::hooks::Moment;
use crate::protocol::{Event, ExitRecord};
use crate::{record, sys};

impl Shim {
    pub(super) fn reap(&mut self) -> io::Result<()> {
        let mut info = [0u8; 128 * 8];
        while matches!(rustix::io::read(&self.signals, &mut info), Ok(count) if count > 0) {}
        let mut init = None;
        while let Ok(Some((pid, code))) = sys::reap(-1, false) {
            let found = self
                .processes
                .iter()
                .find(|(_, process)| process.pid == pid && process.ended.is_none());
            match found.map(|(number, _)| *number) {
                Some(0) => init = Some(code),
                Some(number) => self.exec_ended(number, code),
                None => self.other_ended(pid, code),
            }
        }
        if let Some(code) = init {
            self.init_exited(code);
        }
        Ok(())
    }

    /// Not one of the container's programs: one on its way to it, one that compresses its log, or an orphan that
    /// was left to this process.
    fn other_ended(&mut self, pid: i32, code: i32) {
        if let Some(number) = self.launches.of_child(pid) {
            return self.launch_reaped(number, code);
        }
        if let Some(process) = self.processes.get_mut(&0) {
            process.streams.child_ended(pid, code);
        }
    }

    fn end(&mut self, number: u64, code: i32, oom_killed: bool) -> Option<ExitRecord> {
        let mut record = None;
        self.with(number, |process, poller, piece| {
            process.streams.process_exited(poller, piece);
            let started_at = process.started.started_at;
            process.ended = Some(ExitRecord {
                code,
                oom_killed,
                started_at,
                finished_at: now().max(started_at),
            });
            record = process.ended.clone();
        });
        record
    }

    pub(super) fn exec_ended(&mut self, number: u64, code: i32) {
        if let Some(record) = self.end(number, code, false) {
            self.tell_exit(number, record);
        }
    }

    fn init_exited(&mut self, code: i32) {
        // What it ended of is told before its end.
        self.memory_ready();
        self.forget_memory();
        let oom_killed = self
            .cgroup
            .as_ref()
            .is_some_and(|cgroup| cgroup.oom_kills() > 0);
        if !self.own_pids {
            if let Some(cgroup) = &self.cgroup {
                // What does not end within its time stays, and the cgroup with it, for the daemon to find.
                let _ = cgroup.kill();
            }
            while let Ok(Some((pid, code))) = sys::reap(-1, false) {
                let found = self
                    .processes
                    .iter()
                    .find(|(_, process)| process.pid == pid && process.ended.is_none());
                match found.map(|(number, _)| *number) {
                    // It is what this is about.
                    Some(0) => {}
                    Some(number) => self.exec_ended(number, code),
                    None => self.other_ended(pid, code),
                }
            }
        }
        self.fail_launches();
        self.held.clear();
        let Some(record) = self.end(0, code, oom_killed) else {
            return;
        };
        self.recorded = record::write_exit_record(&self.bundle, &record, self.sync_exit).is_ok();
        self.tell_exit(0, record);
        // Without a record on disk, a later daemon still finds the exit here.
        if self.recorded {
            self.listener = None;
            socket::remove(&self.runtime_dir, &self.id);
        }
    }

    /// Lets go of what was kept of the container: once it was released, or there is nobody to do that. Who waits for
    /// its end needs the processors first. Works twice.
    pub(super) fn clear_away(&mut self) {
        self.mount_namespace = None;
        if let Some(request) = self.poststop.take() {
            // What one of them can't do keeps neither the others nor the end (runtime.md, "Lifecycle").
            let _ = start::run_hooks(&request, Moment::Poststop, None);
        }
        if let Some(cgroup) = self.cgroup.take() {
            // What does not end within its time stays, and the cgroup with it, for the daemon to find.
            let _ = cgroup.remove();
        }
    }

    fn tell_exit(&mut self, number: u64, record: ExitRecord) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let event = Event::Exited {
            target: process.target.clone(),
            record,
        };
        process.told = !self.connections.is_empty();
        let tokens: Vec<u64> = self.connections.keys().copied().collect();
        for token in tokens {
            self.use_connection(token, |connection| connection.send(&event));
        }
        // Whoever sees the end of the output can already learn how it ended.
        self.with(number, |process, poller, _| process.streams.let_go(poller));
    }

    /// Execs that have ended, been told of, and given all of their output are of no more interest.
    pub(super) fn forget_execs(&mut self) {
        let untold = self
            .processes
            .values()
            .filter(|process| process.ended.is_some() && !process.told)
            .count();
        let mut excess = untold.saturating_sub(MAX_UNTOLD);
        self.processes.retain(|number, process| {
            if *number == 0 || process.ended.is_none() || !process.streams.is_done() {
                return true;
            }
            if process.told {
                return false;
            }
            let forgotten = excess > 0;
            excess = excess.saturating_sub(1);
            !forgotten
        });
    }
}
