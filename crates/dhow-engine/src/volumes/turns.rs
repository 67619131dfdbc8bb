//! One change after another for what has the same name, while others go on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::OwnedMutexGuard;

/// So many names are kept before those that nobody waits for are cleared away.
const TIDY: usize = 64;

#[derive(Default)]
pub struct Turns {
    names: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    /// Waits until it is the caller's turn with `name`; the turn ends when the guard is dropped.
    pub async fn take(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut names = self.names.lock().unwrap_or_else(|e| e.into_inner());
            if names.len() >= TIDY {
                names.retain(|_, turn| turn.strong_count() > 0);
            }
            let known = names.get(name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::new(tokio::sync::Mutex::new(()));
                names.insert(name.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_name_waits_and_another_does_not() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        let _other = turns.take("b").await;
        let second = turns.take("a");
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        let _second = second.await;
        for n in 0..10 * TIDY {
            let _turn = turns.take(&n.to_string()).await;
        }
        assert!(turns.names.lock().unwrap().len() <= TIDY);
    }
}
