//! dockerode, through which most JavaScript speaks to an engine.

use std::time::Duration;

use dhow_tests::TestHost;

#[test]
fn drives_a_whole_life() {
    let host = TestHost::start();
    let line = super::script(&host, "life.js", include_str!("scripts/dockerode.js"));
    host.sh_within(Duration::from_secs(180), &line).ok();
}
