//! Containers: made of flags, started and ended, joined to the user's streams, listed and looked at.

pub mod attach;
mod attachment;
pub mod commit;
pub mod cp;
mod detach;
pub mod diff;
pub mod exec;
pub mod export;
pub mod lifecycle;
pub mod logs;
pub mod port;
pub mod prune;
pub mod ps;
pub mod run;
pub mod spec;
pub mod start;
pub mod stats;
pub mod top;
pub mod update;
