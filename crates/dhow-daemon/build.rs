//! Tells the build which commit it is of, where that is known: `DHOW_GIT_COMMIT`, else git. A build outside
//! of a repository, or without git, is as good as any other.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DHOW_GIT_COMMIT");
    if std::env::var_os("DHOW_GIT_COMMIT").is_some() {
        return;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return;
    };
    println!("cargo::rustc-env=DHOW_GIT_COMMIT={commit}");
    // Every commit and checkout writes to it.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && std::path::Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
}
