//! The Engine API's server.
