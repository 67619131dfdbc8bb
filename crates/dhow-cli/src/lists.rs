//! How lists are chosen from and shown: the flags that many commands have, and what becomes of them.

use dhow_api::Filters;

use crate::flags::{Args, Flag, Kind};

pub const FILTER: Flag =
    Flag::new("filter", Kind::Filter, "Choose by a condition (name=value)").short('f');

/// Where `-f` is another flag.
pub const FORMAT: Flag = Flag::new(
    "format",
    Kind::String,
    "Show by a Go template, as 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'",
);
pub const FORMAT_SHORT: Flag = FORMAT.short('f');

/// Flags of Docker's that have lost their meaning, but which scripts still give.
pub const TRUST: &[Flag] = &[Flag::new(
    "disable-content-trust",
    Kind::Bool,
    "Taken, and without effect: no signatures are checked",
)
.default("true")];
pub const OBSOLETE: &[Flag] = &[Flag::new(
    "kernel-memory",
    Kind::Bytes,
    "Taken, and without effect: kernels limit it no more",
)];

/// The conditions of `--filter`.
pub fn filters(args: &Args) -> Filters {
    let mut filters = Filters::default();
    for text in args.list("filter") {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        filters.add(name.trim().to_lowercase(), value.trim());
    }
    filters
}
