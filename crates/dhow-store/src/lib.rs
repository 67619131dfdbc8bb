//! The metadata store: one transactional file under the data-root that holds the records of images,
//! layers, containers, networks and volumes.
//!
//! It keeps three promises. A write is either whole or absent. A write that was acknowledged survives
//! `kill -9` of the daemon at that instant, and with [`Durability::Synced`] also power loss. Writers that
//! arrive together share one commit, and so one flush.
//!
//! It must never know what a record means: the tables belong to the crates that keep records in them, and
//! that hand in the [`Schema`] of each. The file is SQLite in write-ahead mode; [`Store::open`] brings an
//! older one up to date in place and refuses one that a newer daemon wrote. A record that can't be read is
//! [`set_aside`], and keeps nothing else from working.

mod aside;
mod error;
mod reserve;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags};

pub use aside::{Unreadable, count_aside, is_aside, set_aside};
pub use error::{Result, StoreError};
pub use rusqlite;
pub use schema::{Schema, Step};

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The end of the daemon, however it comes. Costs no flush.
    Process,
    /// The end of the daemon, and power loss.
    Synced,
}

/// Runs in the batch's transaction, or learns why that could not begin.
type Job = Box<dyn FnOnce(std::result::Result<&Connection, &rusqlite::Error>) -> Outcome + Send>;
/// Reports the job's own result once the commit's result is known.
type Outcome = Box<dyn FnOnce(std::result::Result<(), &rusqlite::Error>) + Send>;

struct Queued {
    durability: Durability,
    job: Job,
}

struct Shared {
    /// `None` once closed.
    queue: Mutex<Option<mpsc::Sender<Queued>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let queue = self.queue.get_mut().unwrap_or_else(|e| e.into_inner());
        drop(queue.take());
        let writer = self.writer.get_mut().unwrap_or_else(|e| e.into_inner());
        if let Some(writer) = writer.take() {
            // The writer has nothing to report that its callers have not been told.
            let _ = writer.join();
        }
    }
}

/// A handle to the store; clones share one writer.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// Opens the file at `path`, making it if it is not there, and takes each owner's tables through the steps
    /// that they lack: all of them, or with an error none. `schemas` has every owner that keeps records in this
    /// store. Blocks. The caller holds the data-root's lock: one process at a time opens a store.
    pub fn open(path: &Path, schemas: &[Schema]) -> Result<Store> {
        let open = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        let mut connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(open)?;
        configure(&connection).map_err(open)?;
        schema::upgrade(&mut connection, schemas, path)?;
        reserve::set_aside(path);
        let (sender, receiver) = mpsc::channel();
        let writer = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || write_batches(connection, receiver))
            .map_err(|e| open(rusqlite::Error::ToSqlConversionFailure(Box::new(e))))?;
        Ok(Store {
            shared: Arc::new(Shared {
                queue: Mutex::new(Some(sender)),
                writer: Mutex::new(Some(writer)),
                path: path.to_owned(),
            }),
        })
    }

    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Runs `work` in a transaction and returns once it is committed as durably as asked. An error from
    /// `work` undoes what it did, and only that.
    pub async fn write<T, F>(&self, durability: Durability, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.enqueue(durability, work, move |r| {
            // A caller that was cancelled does not want the answer.
            let _ = reply.send(r);
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// As [`Store::write`], for threads that may block.
    pub fn write_blocking<T, F>(&self, durability: Durability, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = mpsc::channel();
        self.enqueue(durability, work, move |r| {
            let _ = reply.send(r);
        })?;
        answer.recv().map_err(|_| StoreError::Closed)?
    }

    fn enqueue<T, F, R>(&self, durability: Durability, work: F, reply: R) -> Result<()>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        R: FnOnce(Result<T>) + Send + 'static,
    {
        let job: Job = Box::new(move |transaction| {
            let result = transaction
                .map_err(copy_error)
                .and_then(|connection| in_savepoint(connection, work));
            Box::new(move |committed| {
                reply(match (result, committed) {
                    (Ok(value), Ok(())) => Ok(value),
                    (Err(e), _) => Err(e.into()),
                    (Ok(_), Err(e)) => Err(copy_error(e).into()),
                })
            })
        });
        let queue = self.shared.queue.lock().unwrap_or_else(|e| e.into_inner());
        let sender = queue.as_ref().ok_or(StoreError::Closed)?;
        sender
            .send(Queued { durability, job })
            .map_err(|_| StoreError::Closed)
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Before the journal is first looked at: what others would want is then not made beside it, for which a full disk
    // has no room.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Pages, of 4 KiB each: the records themselves are held in memory by their owners.
    connection.pragma_update(None, "cache_size", 128)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// How many writes may share one commit.
const BATCH: usize = 256;

fn write_batches(connection: Connection, queue: mpsc::Receiver<Queued>) {
    let mut synchronous = None;
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match queue.try_recv() {
                Ok(next) => batch.push(next),
                Err(_) => break,
            }
        }
        let durability = batch
            .iter()
            .map(|q| q.durability)
            .max()
            .unwrap_or(Durability::Synced);
        let (outcomes, committed) = commit_batch(&connection, &mut synchronous, durability, batch);
        for outcome in outcomes {
            outcome(committed.as_ref().map(|_| ()));
        }
    }
}

fn commit_batch(
    connection: &Connection,
    synchronous: &mut Option<Durability>,
    durability: Durability,
    batch: Vec<Queued>,
) -> (Vec<Outcome>, rusqlite::Result<()>) {
    let begun = (|| {
        if *synchronous != Some(durability) {
            let level = match durability {
                // Flushes before a checkpoint only, so that the file is never torn.
                Durability::Process => "NORMAL",
                Durability::Synced => "FULL",
            };
            connection.pragma_update(None, "synchronous", level)?;
            *synchronous = Some(durability);
        }
        connection.execute_batch("BEGIN IMMEDIATE")
    })();
    let transaction = begun.as_ref().map(|()| connection);
    let outcomes = batch.into_iter().map(|q| (q.job)(transaction)).collect();
    let committed = begun.and_then(|()| connection.execute_batch("COMMIT"));
    if committed.is_err() && !connection.is_autocommit() {
        // Nothing of this batch was acknowledged; if even this fails, the next BEGIN says so.
        let _ = connection.execute_batch("ROLLBACK");
    }
    (outcomes, committed)
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.execute_batch("SAVEPOINT job")?;
    match work(connection) {
        Ok(value) => {
            connection.execute_batch("RELEASE job")?;
            Ok(value)
        }
        Err(e) => {
            connection.execute_batch("ROLLBACK TO job; RELEASE job")?;
            Err(e)
        }
    }
}

/// One failed commit is reported to each of its writers, and rusqlite's errors can't be cloned.
fn copy_error(e: &rusqlite::Error) -> rusqlite::Error {
    match e {
        rusqlite::Error::SqliteFailure(code, message) => {
            rusqlite::Error::SqliteFailure(*code, message.clone())
        }
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &[Schema] = &[Schema {
        owner: "test",
        steps: &[Step {
            brings: "records",
            sql: "CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT)",
            formerly: None,
        }],
    }];

    fn insert(store: &Store, k: &'static str) -> Result<usize> {
        store.write_blocking(Durability::Synced, move |c| {
            c.execute("INSERT INTO t VALUES (?1, 'x')", [k])
        })
    }

    fn count(store: &Store) -> i64 {
        store
            .write_blocking(Durability::Process, |c| {
                c.query_row("SELECT count(*) FROM t", [], |r| r.get(0))
            })
            .unwrap()
    }

    #[test]
    fn a_failed_write_undoes_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("m.db"), SCHEMA).unwrap();
        insert(&store, "a").unwrap();
        let failed = store.write_blocking(Durability::Synced, |c| {
            c.execute("INSERT INTO t VALUES ('b', 'x')", [])?;
            c.execute("INSERT INTO t VALUES ('a', 'x')", [])
        });
        assert!(failed.is_err());
        assert_eq!(count(&store), 1);
    }

    #[test]
    fn room_is_set_aside_for_the_journal() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.db");
        let store = Store::open(&path, SCHEMA).unwrap();
        let journal = dir.path().join("m.db-wal").metadata().unwrap();
        assert!(journal.blocks() * 512 >= 5 << 20, "{journal:?}");
        assert!(journal.len() < 1 << 20, "{journal:?}");
        insert(&store, "a").unwrap();
        assert_eq!(count(&store), 1);
    }

    #[test]
    fn many_writers_each_get_their_own_answer() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("m.db"), SCHEMA).unwrap();
        std::thread::scope(|s| {
            for t in 0..8 {
                let store = &store;
                s.spawn(move || {
                    for i in 0..100 {
                        let key = format!("{}", (t * 50 + i) % 400);
                        let _ = store.write_blocking(Durability::Process, move |c| {
                            c.execute("INSERT INTO t VALUES (?1, 'x')", [key])
                        });
                    }
                });
            }
        });
        assert_eq!(count(&store), 400);
    }
}
