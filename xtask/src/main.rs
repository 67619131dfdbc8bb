//! The developers' commands, `cargo xtask COMMAND`: each sets up what it needs by itself, on a Debian machine
//! with nothing but the Rust toolchain and a C compiler, and is quick when it is there already.

mod apparmor;
mod bench;
mod command;
mod cross;
mod fuzz;
mod node;
mod packages;
mod peers;
mod python;
mod test;
mod vm;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup                 install the Debian packages and build the peers that the tests use
  test [ARGUMENT...]    set up, build the release binary and run every test; arguments go to cargo test
  ci                    what .ci/run does: test, formatting, lints
  bench NAME [OPTION]   run|density|pull|idle|exec|network|registry|api, beside the newest peers
  vm [-p PACKAGE] [ARGUMENT...]
                        run the end-to-end suite, or a package's tests, in a virtual machine with cgroup v2 and
                        AppArmor; arguments go to the tests: names, or parts of names, of those to run
  fuzz [TARGET...] [--seconds N]
                        throw hostile input at what reads it, each of all targets for a minute; `list` names them,
                        and `api` is the Engine API, from its description
  apparmor              compile the AppArmor profile of containers, after a change of its source
  cross                 build for aarch64 and run the unit tests under qemu-user
  peers [NAME...]       build the newest peers (all, or those named) and print where they are";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    match args.first().map(String::as_str) {
        Some("setup") => test::set_up().map(drop),
        Some("test") => test::run(rest),
        Some("ci") => test::ci(),
        Some("bench") => bench::run(rest),
        Some("vm") => vm::run(rest),
        Some("fuzz") => fuzz::run(rest),
        Some("apparmor") => apparmor::run(),
        Some("cross") => cross::run(rest),
        Some("peers") => {
            peers::set_up_go()?;
            println!("{}", peers::build(rest)?.display());
            Ok(())
        }
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            Ok(())
        }
        Some(other) => bail!("there is no command `{other}`\n{USAGE}"),
        None => bail!("{USAGE}"),
    }
}
