//! Records that can't be read: they are moved to the table `set_aside`, whole, with the reason and the time, so
//! that nothing is lost and nothing else waits for them. Whoever understands them better can put them back.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};

/// A row that its owner can't read.
#[derive(Clone, Copy, Debug)]
pub struct Unreadable<'a> {
    pub owner: &'a str,
    pub table: &'a str,
    /// The columns that tell the row from all others, and what is in them. As bytes, for a text may be what
    /// can't be read.
    pub key: &'a [(&'a str, &'a [u8])],
    /// For people.
    pub why: &'a str,
}

/// Moves the row to where it is in nobody's way, in the transaction that `connection` is in, and says so in the
/// log. Rows that are to go with it are to be set aside before it.
pub fn set_aside(connection: &Connection, row: &Unreadable<'_>) -> rusqlite::Result<()> {
    let key = readable(
        row.key
            .iter()
            .map(|(name, value)| (*name, ValueRef::Text(value))),
    );
    tracing::error!(
        owner = row.owner,
        table = row.table,
        record = key,
        error = row.why,
        "a record can't be read; it was set aside in the metadata store's table set_aside, and the rest goes on"
    );
    let at = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let columns: Vec<_> = row
        .key
        .iter()
        .map(|(name, _)| format!("{name} IS ?"))
        .collect();
    let condition = format!("FROM {} WHERE {}", row.table, columns.join(" AND "));
    let values: Vec<_> = row.key.iter().map(|(_, value)| Text(value)).collect();
    let mut query = connection.prepare(&format!("SELECT * {condition}"))?;
    let names: Vec<String> = query
        .column_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut found = query.query(rusqlite::params_from_iter(&values))?;
    while let Some(r) = found.next()? {
        let columns = names.iter().enumerate();
        let columns: rusqlite::Result<Vec<_>> = columns
            .map(|(at, name)| Ok((name.as_str(), r.get_ref(at)?)))
            .collect();
        connection.execute(
            "INSERT INTO set_aside (at, owner, key, record, why) VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                at.as_nanos() as i64,
                row.owner,
                format!("{} {key}", row.table),
                readable(columns?.into_iter()),
                row.why,
            ),
        )?;
    }
    connection.execute(
        &format!("DELETE {condition}"),
        rusqlite::params_from_iter(&values),
    )?;
    Ok(())
}

/// Whether this row of the table lies aside.
pub fn is_aside(
    connection: &Connection,
    table: &str,
    key: &[(&str, &[u8])],
) -> rusqlite::Result<bool> {
    let key = readable(
        key.iter()
            .map(|(name, value)| (*name, ValueRef::Text(value))),
    );
    connection.query_row(
        "SELECT count(*) FROM set_aside WHERE key = ?1",
        [format!("{table} {key}")],
        |r| Ok(r.get::<_, u64>(0)? > 0),
    )
}

/// How many records of an owner lie aside.
pub fn count_aside(connection: &Connection, owner: &str) -> rusqlite::Result<u64> {
    connection.query_row(
        "SELECT count(*) FROM set_aside WHERE owner = ?1",
        [owner],
        |r| r.get(0),
    )
}

/// A text that may not be UTF-8.
struct Text<'a>(&'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// Columns as one text, in which each value is written as SQL would have it: so it can be put back by hand.
fn readable<'a>(columns: impl Iterator<Item = (&'a str, ValueRef<'a>)>) -> String {
    let value = |value: ValueRef<'_>| match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(n) => n.to_string(),
        ValueRef::Real(n) => n.to_string(),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => format!("'{}'", text.replace('\'', "''")),
            Err(_) => format!("CAST(x'{}' AS TEXT)", hex(bytes)),
        },
        ValueRef::Blob(bytes) => format!("x'{}'", hex(bytes)),
    };
    let columns: Vec<_> = columns
        .map(|(name, v)| format!("{name} = {}", value(v)))
        .collect();
    columns.join(", ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, Schema, Step, Store};

    #[test]
    fn a_row_moves_whole_with_its_reason() {
        const SCHEMA: Schema = Schema {
            owner: "test",
            steps: &[Step {
                brings: "records",
                sql: "CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER, v TEXT) STRICT",
                formerly: None,
            }],
        };
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("m.db"), &[SCHEMA]).unwrap();
        let (left, key, record, why): (i64, String, String, String) = store
            .write_blocking(Durability::Synced, |c| {
                c.execute(
                    "INSERT INTO t VALUES (CAST(x'61ff' AS TEXT), 7, 'it''s')",
                    [],
                )?;
                c.execute("INSERT INTO t VALUES ('b', 8, NULL)", [])?;
                let row = Unreadable {
                    owner: "test",
                    table: "t",
                    key: &[("k", b"a\xff")],
                    why: "not text",
                };
                set_aside(c, &row)?;
                let left = c.query_row("SELECT count(*) FROM t", [], |r| r.get(0))?;
                assert_eq!(count_aside(c, "test")?, 1);
                assert!(is_aside(c, "t", &[("k", b"a\xff")])?);
                assert!(!is_aside(c, "t", &[("k", b"b")])?);
                c.query_row("SELECT key, record, why FROM set_aside", [], |r| {
                    Ok((left, r.get(0)?, r.get(1)?, r.get(2)?))
                })
            })
            .unwrap();
        assert_eq!(left, 1);
        assert_eq!(key, "t k = CAST(x'61ff' AS TEXT)");
        assert_eq!(record, "k = CAST(x'61ff' AS TEXT), n = 7, v = 'it''s'");
        assert_eq!(why, "not text");
    }
}
