//! A thread that must not be missing: when it dies, that is noticed, said, and another takes its place.
//!
//! Another thread waits for its end and starts the next. It stays in the network namespace that it was started in, and
//! with it each thread that it starts, wherever the one before died.

use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::Result;

/// The pause before the first replacement; each next is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// One that has lived for so long is replaced as if it were the first.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// Keeps a thread that does `work`, until that ends well. `name` has at most 15 bytes, and so has `keeper`.
pub(crate) fn keep(
    name: &'static str,
    keeper: &'static str,
    work: impl FnMut() -> Result<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Builder::new()
        .name(keeper.to_owned())
        .spawn(move || run(name, work))
}

fn run(name: &'static str, mut work: impl FnMut() -> Result<()> + Send) {
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        let ended = std::thread::scope(|scope| {
            let thread = Builder::new().name(name.to_owned());
            let thread = thread.spawn_scoped(scope, &mut work);
            thread.map(|thread| thread.join())
        });
        let why = match ended {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(panic)) => format!("it panicked: {}", words(&*panic)),
            Err(error) => format!("it can't be started: {error}"),
        };
        if begun.elapsed() > LONG_LIFE {
            pause = FIRST_PAUSE;
        }
        tracing::error!(
            thread = name,
            error = why,
            pause_ms = pause.as_millis() as u64,
            "a thread of the network died; another takes its place"
        );
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(words), _) => words,
        (None, Some(words)) => words,
        (None, None) => "without a word",
    }
}
