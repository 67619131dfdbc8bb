//! The image tables of the metadata store.

use dhow_store::{Schema, Step};

/// Under this name the store keeps the version of these tables.
pub(crate) const OWNER: &str = "image";

/// `image_images` has an image by its id, the digest of its configuration; `image_documents` the
/// manifests and indexes that it came by; `image_names` its tags (`name:tag`) and the digests that it
/// was pulled by (`name@digest`); `image_layers` the unpacked layers by chain id; `image_blobs` the files
/// of the content store; `image_sources` the repositories that are known to have a layer's blob;
/// `image_parents` the images that others were
/// made of here; `image_attached` the blobs that are kept as long as an image, and are not of it: what others state
/// about it; `image_unsettled` the layers whose trees no flush has yet put on the disk, and the boot they are of.
pub(crate) const SCHEMA: Schema = Schema {
    owner: OWNER,
    steps: &[
        Step {
            brings: "images, their names, layers and blobs",
            formerly: Some(1),
            sql: "
CREATE TABLE image_images (
    id TEXT PRIMARY KEY,
    last_tagged INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE image_documents (
    image TEXT NOT NULL REFERENCES image_images ON DELETE CASCADE,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (image, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE image_names (
    name TEXT PRIMARY KEY,
    image TEXT NOT NULL REFERENCES image_images ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX image_names_by_image ON image_names (image);
CREATE TABLE image_layers (
    chain TEXT PRIMARY KEY,
    diff_id TEXT NOT NULL,
    parent TEXT,
    size INTEGER NOT NULL,
    blob TEXT,
    media_type TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE image_blobs (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE image_sources (
    blob TEXT NOT NULL,
    repository TEXT NOT NULL,
    PRIMARY KEY (blob, repository)
) STRICT, WITHOUT ROWID;
",
        },
        Step {
            brings: "which layers' trees are not yet on the disk",
            formerly: Some(3),
            sql: "
CREATE TABLE image_unsettled (
    chain TEXT PRIMARY KEY,
    boot TEXT NOT NULL
) STRICT, WITHOUT ROWID;
",
        },
        Step {
            brings: "which image another was made of",
            formerly: None,
            sql: "
CREATE TABLE image_parents (
    image TEXT PRIMARY KEY REFERENCES image_images ON DELETE CASCADE,
    parent TEXT NOT NULL
) STRICT, WITHOUT ROWID;
",
        },
        Step {
            brings: "what is stated about an image",
            formerly: None,
            sql: "
CREATE TABLE image_attached (
    image TEXT NOT NULL REFERENCES image_images ON DELETE CASCADE,
    digest TEXT NOT NULL,
    PRIMARY KEY (image, digest)
) STRICT, WITHOUT ROWID;
",
        },
    ],
};
