//! The image tables, read as a whole. A row that can't be read is set aside with those that hang on it, and the
//! others are taken as if it were not there.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use dhow_oci::{Descriptor, Digest, Reference};
use dhow_store::rusqlite::types::ValueRef;
use dhow_store::rusqlite::{self, Connection, Row};
use dhow_store::{Durability, Store, Unreadable, count_aside, set_aside};

use crate::catalog::Layer;
use crate::error::Result;
use crate::schema::OWNER;
use crate::settle::Unsettled;

#[derive(Default)]
pub(crate) struct Records {
    /// By id, and when they were last tagged.
    pub images: Vec<(Digest, i64)>,
    /// Of images.
    pub documents: HashMap<Digest, Vec<Descriptor>>,
    pub names: Vec<(Reference, Digest)>,
    /// Images, and those that they were made of.
    pub parents: Vec<(Digest, Digest)>,
    /// Images, and the blobs that are kept with them.
    pub attached: Vec<(Digest, Digest)>,
    /// By chain id.
    pub layers: Vec<(Digest, Layer)>,
    /// Sizes in bytes.
    pub blobs: Vec<(Digest, u64)>,
    /// Blobs, and the repositories that have them.
    pub sources: Vec<(Digest, String)>,
    pub unsettled: Unsettled,
    /// Rows that could not be read this time.
    pub unreadable: usize,
    /// Rows that lie aside, from this time or an earlier one.
    pub aside: u64,
}

pub(crate) fn read(store: &Store) -> Result<Records> {
    Ok(store.write_blocking(Durability::Process, |c| {
        let mut records = Records::default();
        let broken = &mut records.unreadable;
        records.images = IMAGES.read(c, broken, |r| Ok((parsed(r, 0)?, number(r, 1)?)))?;
        let documents = DOCUMENTS.read(c, broken, |r| {
            let media_type: String = parsed(r, 2)?;
            let document = Descriptor::new(&media_type, parsed(r, 1)?, number(r, 3)? as u64);
            Ok((parsed(r, 0)?, document))
        })?;
        for (image, document) in documents {
            records.documents.entry(image).or_default().push(document);
        }
        records.names = NAMES.read(c, broken, |r| Ok((parsed(r, 0)?, parsed(r, 1)?)))?;
        records.parents = PARENTS.read(c, broken, |r| Ok((parsed(r, 0)?, parsed(r, 1)?)))?;
        records.attached = ATTACHED.read(c, broken, |r| Ok((parsed(r, 0)?, parsed(r, 1)?)))?;
        records.layers = LAYERS.read(c, broken, |r| Ok((parsed(r, 0)?, layer(r)?)))?;
        records.blobs = BLOBS.read(c, broken, |r| Ok((parsed(r, 0)?, number(r, 1)? as u64)))?;
        records.sources = SOURCES.read(c, broken, |r| Ok((parsed(r, 0)?, parsed(r, 1)?)))?;
        let unsettled = UNSETTLED.read(c, broken, |r| Ok((parsed(r, 0)?, parsed(r, 1)?)))?;
        records.unsettled = unsettled.into_iter().collect();
        records.aside = count_aside(c, OWNER)?;
        Ok(records)
    })?)
}

/// A table, and what to read of it.
struct Table {
    name: &'static str,
    key: &'static [&'static str],
    others: &'static [&'static str],
    /// Tables whose column `image` is the key of this one.
    below: &'static [&'static str],
}

const fn table(
    name: &'static str,
    key: &'static [&'static str],
    others: &'static [&'static str],
) -> Table {
    Table {
        name,
        key,
        others,
        below: &[],
    }
}

const IMAGES: Table = Table {
    below: &[
        "image_documents",
        "image_names",
        "image_parents",
        "image_attached",
    ],
    ..table("image_images", &["id"], &["last_tagged"])
};
const DOCUMENTS: Table = table(
    "image_documents",
    &["image", "digest"],
    &["media_type", "size"],
);
const NAMES: Table = table("image_names", &["name"], &["image"]);
const PARENTS: Table = table("image_parents", &["image"], &["parent"]);
const ATTACHED: Table = table("image_attached", &["image", "digest"], &[]);
const LAYERS: Table = table(
    "image_layers",
    &["chain"],
    &["diff_id", "parent", "size", "blob", "media_type"],
);
const BLOBS: Table = table("image_blobs", &["digest"], &["size"]);
const SOURCES: Table = table("image_sources", &["blob", "repository"], &[]);
const UNSETTLED: Table = table("image_unsettled", &["chain"], &["boot"]);

/// Why a row can't be read.
type Reason = String;

impl Table {
    fn read<T>(
        &self,
        c: &Connection,
        broken: &mut usize,
        parse: impl Fn(&Row<'_>) -> std::result::Result<T, Reason>,
    ) -> rusqlite::Result<Vec<T>> {
        let columns = [self.key, self.others].concat().join(", ");
        let mut query = c.prepare(&format!("SELECT {columns} FROM {}", self.name))?;
        let mut rows = query.query([])?;
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            match parse(row) {
                Ok(record) => good.push(record),
                Err(why) => {
                    let key =
                        (0..self.key.len()).map(|at| Ok(row.get_ref(at)?.as_bytes()?.to_vec()));
                    bad.push((key.collect::<rusqlite::Result<Vec<_>>>()?, why));
                }
            }
        }
        drop(rows);
        *broken += bad.len();
        for (key, why) in bad {
            for table in self.below {
                let row = Unreadable {
                    owner: OWNER,
                    table,
                    key: &[("image", &key[0])],
                    why: "it belongs to an image whose record can't be read",
                };
                set_aside(c, &row)?;
            }
            let key: Vec<_> = self
                .key
                .iter()
                .copied()
                .zip(key.iter().map(Vec::as_slice))
                .collect();
            let row = Unreadable {
                owner: OWNER,
                table: self.name,
                key: &key,
                why: &why,
            };
            set_aside(c, &row)?;
        }
        Ok(good)
    }
}

fn parsed<T: FromStr<Err: Display>>(row: &Row<'_>, at: usize) -> std::result::Result<T, Reason> {
    let text: String = row.get(at).map_err(|e| e.to_string())?;
    text.parse().map_err(|e: T::Err| e.to_string())
}

fn number(row: &Row<'_>, at: usize) -> std::result::Result<i64, Reason> {
    row.get(at).map_err(|e| e.to_string())
}

fn optional<T: FromStr<Err: Display>>(
    row: &Row<'_>,
    at: usize,
) -> std::result::Result<Option<T>, Reason> {
    match row.get_ref(at).map_err(|e| e.to_string())? {
        ValueRef::Null => Ok(None),
        _ => parsed(row, at).map(Some),
    }
}

fn layer(row: &Row<'_>) -> std::result::Result<Layer, Reason> {
    Ok(Layer {
        diff_id: parsed(row, 1)?,
        parent: optional(row, 2)?,
        size: number(row, 3)? as u64,
        blob: optional(row, 4)?.zip(optional(row, 5)?),
    })
}
