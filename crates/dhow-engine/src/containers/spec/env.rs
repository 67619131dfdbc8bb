//! The environment of a container's process: Docker's defaults, in its order.

pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of a container. `own` is `NAME=value`, or `NAME` alone to take a default away.
pub fn of_container(hostname: &str, tty: bool, own: &[String]) -> Vec<String> {
    let mut env = vec![
        format!("PATH={DEFAULT_PATH}"),
        format!("HOSTNAME={hostname}"),
    ];
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    merge(&mut env, own);
    env
}

/// Puts `own` over `env`: in place where the name is there already, at the end where not.
pub fn merge(env: &mut Vec<String>, own: &[String]) {
    for entry in own {
        let Some((name, _)) = entry.split_once('=') else {
            env.retain(|e| name_of(e) != entry);
            continue;
        };
        match env.iter_mut().find(|e| name_of(e) == name) {
            Some(there) => entry.clone_into(there),
            None => env.push(entry.clone()),
        }
    }
}

/// Adds what a login would set.
pub fn add_home(env: &mut Vec<String>, home: &str) {
    if !env
        .iter()
        .any(|e| name_of(e) == "HOME" && e.len() > "HOME=".len())
    {
        env.retain(|e| name_of(e) != "HOME");
        env.push(format!("HOME={home}"));
    }
}

fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| s.to_string()).collect()
    }

    #[test]
    fn defaults_are_replaced_in_place_or_taken_away() {
        let env = of_container("h", true, &own(&["A=1", "PATH=/x", "TERM", "A=2"]));
        assert_eq!(env, ["PATH=/x", "HOSTNAME=h", "A=2"]);
    }

    #[test]
    fn home_is_the_users_unless_set() {
        let mut env = own(&["HOME="]);
        add_home(&mut env, "/root");
        assert_eq!(env, ["HOME=/root"]);
        add_home(&mut env, "/other");
        assert_eq!(env, ["HOME=/root"]);
    }
}
