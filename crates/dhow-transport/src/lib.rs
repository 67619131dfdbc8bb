//! What connections have in common, whoever makes them and for what: TLS (RFC 8446, by rustls) and TCP's keepalive.
//!
//! Which files there are, and what a user is told of them, is for those who make the connection.

mod keepalive;
pub mod tls;

pub use keepalive::keep_alive;
