//! `--cap-add` and `--cap-drop` as Docker's client sends them: by the kernel's names, in order, each once, and
//! nothing dropped that is added.

use std::collections::BTreeSet;

const ALL: &str = "ALL";
/// What was named before does not count.
const RESET: &str = "RESET";

fn set(words: Option<Vec<String>>) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    for word in words.into_iter().flatten() {
        let name = word.trim().to_uppercase();
        match name.as_str() {
            "" => {}
            RESET => set.clear(),
            ALL => {
                set.insert(name);
            }
            _ if name.starts_with("CAP_") => {
                set.insert(name);
            }
            _ => {
                set.insert(format!("CAP_{name}"));
            }
        }
    }
    // Of all, each is one.
    match set.contains(ALL) {
        true => [ALL.to_owned()].into(),
        false => set,
    }
}

/// What is added and what is dropped.
pub fn effective(
    add: Option<Vec<String>>,
    drop: Option<Vec<String>>,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let (add, mut drop) = (set(add), set(drop));
    drop.retain(|name| !add.contains(name));
    let list = |set: BTreeSet<String>| Some(Vec::from_iter(set)).filter(|list| !list.is_empty());
    (list(add), list(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels() {
        let words = |words: &[&str]| Some(words.iter().map(|w| (*w).to_owned()).collect());
        let of = |add: &[&str], drop: &[&str]| effective(words(add), words(drop));
        assert_eq!(
            of(&["sys_ptrace", "CAP_NET_ADMIN", "SYS_PTRACE"], &["mknod"]),
            (
                words(&["CAP_NET_ADMIN", "CAP_SYS_PTRACE"]),
                words(&["CAP_MKNOD"])
            )
        );
        assert_eq!(
            of(&["all", "chown"], &["ALL", "chown"]),
            (words(&["ALL"]), None)
        );
        assert_eq!(
            of(&["chown"], &["chown", "mknod"]),
            (words(&["CAP_CHOWN"]), words(&["CAP_MKNOD"]))
        );
        assert_eq!(of(&["chown", "RESET"], &[]), (None, None));
        assert_eq!(effective(None, None), (None, None));
    }
}
