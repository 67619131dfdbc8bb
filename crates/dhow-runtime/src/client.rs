//! The daemon's side: handles to the spawner and to the shims.
