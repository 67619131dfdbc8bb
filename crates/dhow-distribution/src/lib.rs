//! The registry's client: resolve, pull, push.
