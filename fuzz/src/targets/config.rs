//! Files of settings: the daemon's, the client's, and contexts that are imported.

use dhow_daemon::config::Config;

use crate::{scratch, tars};

pub fn daemon(data: &[u8]) {
    let dir = scratch();
    let path = dir.path().join("daemon.json");
    std::fs::write(&path, data).expect("a file can be written");
    let mut argument = std::ffi::OsString::from("--config-file=");
    argument.push(&path);
    let _ = Config::load([argument]);
}

pub fn client(data: &[u8]) {
    let dir = scratch();
    std::fs::write(dir.path().join("config.json"), data).expect("a file can be written");
    dhow_cli::untrusted::config(dir.path());
}

pub fn context(data: &[u8]) {
    dhow_cli::untrusted::context(&tars::mended(data));
}
