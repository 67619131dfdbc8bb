//! One program for all targets: `DHOW_FUZZ_TARGET` names the one, and libFuzzer's options follow.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<&dhow_fuzz::Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("DHOW_FUZZ_TARGET").unwrap_or_default();
        let Some(target) = dhow_fuzz::find(&name) else {
            eprintln!("DHOW_FUZZ_TARGET names no target: {name:?}");
            std::process::exit(2);
        };
        TARGET.get_or_init(|| target);
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(data);
        }
    }
);
