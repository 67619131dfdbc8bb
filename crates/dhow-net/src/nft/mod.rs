//! nf_tables over netlink: how to say it (`wire`, `rule`), what to say (`ruleset`: `chains`, `bridges`, `forwards`), what there is
//! (`inspect`); and the administrator's own table (`users`).
//!
//! What the messages mean is in the kernel's `linux/netfilter/nf_tables.h` and nft(8); no nft program is run. Every change is
//! one batch, which the kernel applies wholly or not at all.

mod bridges;
mod chains;
mod forwards;
pub(crate) mod inspect;
pub(crate) mod rule;
pub(crate) mod ruleset;
pub(crate) mod users;
pub(crate) mod wire;
