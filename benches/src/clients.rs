//! Several clients at once, each with its share of the containers.

use std::time::Duration;

use dhow_tests::TestHost;

use crate::measure::time;

pub const CLIENTS: usize = 8;

/// Does something for each of so many numbers; how long until the last is done.
pub fn share(count: usize, each: impl Fn(usize) + Sync) -> Duration {
    let (elapsed, ()) = time(|| {
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let each = &each;
                scope.spawn(move || (client..count).step_by(CLIENTS).for_each(each));
            }
        });
    });
    elapsed
}

/// Removes all containers; how long that takes.
pub fn remove_all(host: &TestHost) -> Duration {
    let (elapsed, ()) = time(|| {
        host.sh_within(
            Duration::from_secs(600),
            &format!("dhow ps -aq | xargs -P {CLIENTS} -n 10 dhow rm -f >/dev/null"),
        )
        .ok();
    });
    elapsed
}
