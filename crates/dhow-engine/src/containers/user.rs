//! Who a process runs as: Docker's `User` (`name`, `uid`, either with `:group` or `:gid`) looked up in the
//! container's own `/etc/passwd` and `/etc/group` (passwd(5), group(5)).

use crate::error::{EngineError, Result};

/// The user of a process, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedUser {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, sorted.
    pub groups: Vec<u32>,
    pub home: String,
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Resolves `user` and adds the groups of Docker's `GroupAdd`. `passwd` and `group` are the files'
/// contents, empty where there are none.
pub fn resolve(
    user: &str,
    group_add: &[String],
    passwd: &str,
    group: &str,
) -> Result<ResolvedUser> {
    let (user_part, group_part) = match user.split_once(':') {
        Some((u, g)) => (u, Some(g).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    let numeric = number(user_part)?;
    let entry = passwd_entries(passwd).find(|e| match (user_part, numeric) {
        ("", _) => e.uid == 0,
        (name, Some(uid)) => e.uid == uid || e.name == name,
        (name, None) => e.name == name,
    });
    let (uid, mut gid, home, name) = match (&entry, numeric) {
        (Some(e), _) => (e.uid, e.gid, e.home, Some(e.name)),
        (None, _) if user_part.is_empty() => (0, 0, "", None),
        (None, Some(uid)) => (uid, 0, "", None),
        (None, None) => {
            return Err(EngineError::invalid(format!(
                "unable to find user {user_part}: no matching entries in passwd file"
            )));
        }
    };
    let mut groups = Vec::new();
    if let Some(wanted) = group_part {
        gid = find_group(wanted, group)?;
    } else if let Some(name) = name {
        groups.extend(
            group_entries(group)
                .filter(|g| g.members.split(',').any(|m| m.trim() == name))
                .map(|g| g.gid),
        );
    }
    for wanted in group_add {
        groups.push(find_group(wanted, group)?);
    }
    // The primary group counts as well: without it a process could regain by set-group-id programs what
    // its group is denied (CVE-2022-36109).
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(ResolvedUser {
        uid,
        gid,
        groups,
        home: if home.is_empty() {
            "/".into()
        } else {
            home.to_owned()
        },
    })
}

fn find_group(wanted: &str, group: &str) -> Result<u32> {
    let numeric = number(wanted)?;
    group_entries(group)
        .find(|g| g.name == wanted || Some(g.gid) == numeric)
        .map(|g| g.gid)
        .or(numeric)
        .ok_or_else(|| {
            EngineError::invalid(format!(
                "unable to find group {wanted}: no matching entries in group file"
            ))
        })
}

/// A number within the range of ids, or `None` for a name.
fn number(text: &str) -> Result<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(n) if n <= i32::MAX as u32 => Ok(Some(n)),
        _ => Err(EngineError::invalid(format!(
            "uids and gids must be in range 0-2147483647: {text}"
        ))),
    }
}

fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields
            .next()
            .filter(|n| !n.is_empty() && !n.starts_with('#'))?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        Some(PasswdEntry {
            name,
            uid,
            gid,
            home,
        })
    })
}

fn group_entries(text: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields
            .next()
            .filter(|n| !n.is_empty() && !n.starts_with('#'))?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(GroupEntry {
            name,
            gid,
            members: fields.next().unwrap_or(""),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# a comment\nweb:x:33:33:web:/var/www:/bin/false\nbad line\n1000:x:5:5::/five:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root\nwww:x:33:\naudio:x:63:web,root\n";

    fn user(user: &str) -> (u32, u32, Vec<u32>, String) {
        let u = resolve(user, &[], PASSWD, GROUP).unwrap();
        (u.uid, u.gid, u.groups, u.home)
    }

    #[test]
    fn every_form_of_a_user() {
        assert_eq!(user(""), (0, 0, vec![0, 10, 63], "/root".into()));
        assert_eq!(user("web"), (33, 33, vec![33, 63], "/var/www".into()));
        assert_eq!(user("33"), (33, 33, vec![33, 63], "/var/www".into()));
        assert_eq!(user("web:wheel"), (33, 10, vec![10], "/var/www".into()));
        assert_eq!(user("4242"), (4242, 0, vec![0], "/".into()));
        assert_eq!(user("4242:4343"), (4242, 4343, vec![4343], "/".into()));
        assert_eq!(user(":33"), (0, 33, vec![33], "/root".into()));
    }

    #[test]
    fn added_groups() {
        let u = resolve("web", &["wheel".into(), "777".into()], PASSWD, GROUP).unwrap();
        assert_eq!(u.groups, [10, 33, 63, 777]);
    }

    #[test]
    fn unknown_names_are_named() {
        let e = resolve("nobody", &[], PASSWD, GROUP)
            .unwrap_err()
            .to_string();
        assert_eq!(
            e,
            "unable to find user nobody: no matching entries in passwd file"
        );
        let e = resolve("web:none", &[], PASSWD, GROUP)
            .unwrap_err()
            .to_string();
        assert_eq!(
            e,
            "unable to find group none: no matching entries in group file"
        );
        assert!(resolve("4294967296", &[], "", "").is_err());
    }

    #[test]
    fn an_image_without_files_is_roots() {
        let u = resolve("", &[], "", "").unwrap();
        assert_eq!((u.uid, u.gid, u.home.as_str()), (0, 0, "/"));
    }
}
