//! The registry as its clients meet it: real connections to a server on a port of its own.

mod discovery;
mod durability;
mod hostile;
mod management;
mod manifests;
mod pull;
mod push;
mod serving;
mod support;
