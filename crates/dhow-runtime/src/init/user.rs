//! Whom a process runs as: numbers, or names that the container's own passwd and group files explain.
//!
//! `process.user.username` of the specification, if it is set, is Docker's `USER[:GROUP]`, each a name or a
//! number, and takes the place of `uid` and `gid`.

use std::io;

use oci_spec::runtime::User;

use crate::protocol::StartError;

/// Numbers above are refused, as Docker does.
const MAX_ID: u32 = i32::MAX as u32;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

/// Resolves a user with the files of the root that this process has.
pub(crate) fn resolve(user: &User) -> Result<Identity, StartError> {
    let read = |path: &str| match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(String::new())
        }
        Err(error) => Err(StartError::Other(format!(
            "reading the container's {path}: {error}"
        ))),
    };
    let passwd = read("/etc/passwd")?;
    let group = match user.username().as_deref() {
        Some(name) if !name.is_empty() => read("/etc/group")?,
        _ => String::new(),
    };
    identity(user, &passwd, &group).map_err(StartError::Other)
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd_entries(passwd: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(PasswdEntry {
            name,
            uid,
            gid,
            home: fields.nth(1).unwrap_or_default(),
        })
    })
}

/// Name, number and members of each group.
fn group_entries(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        Some((
            name,
            fields.next()?.parse().ok()?,
            fields.next().unwrap_or_default(),
        ))
    })
}

fn identity(user: &User, passwd: &str, group: &str) -> Result<Identity, String> {
    let mut identity = Identity {
        uid: user.uid(),
        gid: user.gid(),
        groups: Vec::new(),
        home: "/".into(),
    };
    let asked = user.username().as_deref().unwrap_or_default();
    if !asked.is_empty() {
        let (name, group_name) = asked.split_once(':').unwrap_or((asked, ""));
        let number = name.parse::<u32>().ok();
        // An empty user is root, with the groups that root has there.
        let entry = passwd_entries(passwd).find(|entry| {
            if name.is_empty() {
                entry.uid == 0
            } else {
                entry.name == name || number == Some(entry.uid)
            }
        });
        match &entry {
            Some(entry) => (identity.uid, identity.gid) = (entry.uid, entry.gid),
            None if name.is_empty() => (identity.uid, identity.gid) = (0, 0),
            None => match number {
                Some(number) if number <= MAX_ID => (identity.uid, identity.gid) = (number, 0),
                Some(_) => return Err(format!("uids and gids must be in range 0-{MAX_ID}")),
                None => {
                    return Err(format!(
                        "unable to find user {name}: no matching entries in passwd file"
                    ));
                }
            },
        }
        if group_name.is_empty() {
            if let Some(entry) = &entry {
                identity.groups = group_entries(group)
                    .filter(|(_, _, members)| members.split(',').any(|member| member == entry.name))
                    .map(|(_, gid, _)| gid)
                    .collect();
            }
        } else {
            let number = group_name.parse::<u32>().ok();
            let found = group_entries(group)
                .find(|(name, gid, _)| *name == group_name || number == Some(*gid));
            identity.gid = match (found, number) {
                (Some((_, gid, _)), _) => gid,
                (None, Some(number)) if number <= MAX_ID => number,
                (None, Some(_)) => {
                    return Err(format!("uids and gids must be in range 0-{MAX_ID}"));
                }
                (None, None) => {
                    return Err(format!(
                        "unable to find group {group_name}: no matching entries in group file"
                    ));
                }
            };
        }
    }
    for gid in user.additional_gids().iter().flatten() {
        if !identity.groups.contains(gid) {
            identity.groups.push(*gid);
        }
    }
    if let Some(entry) =
        passwd_entries(passwd).find(|entry| entry.uid == identity.uid && !entry.home.is_empty())
    {
        identity.home = entry.home.to_owned();
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::UserBuilder;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\nanna:x:1000:100::/home/anna:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\naudio:x:29:bert,anna\nwheel:x:10:anna\n";

    fn of(name: &str) -> Result<Identity, String> {
        let user = UserBuilder::default()
            .uid(7u32)
            .gid(8u32)
            .username(name)
            .build()
            .unwrap();
        identity(&user, PASSWD, GROUP)
    }

    #[test]
    fn names_and_numbers_are_found() {
        let anna = Identity {
            uid: 1000,
            gid: 100,
            groups: vec![29, 10],
            home: "/home/anna".into(),
        };
        assert_eq!(of("anna").unwrap(), anna);
        assert_eq!(of("1000").unwrap(), anna);
        assert_eq!(
            of("anna:wheel").unwrap(),
            Identity {
                gid: 10,
                groups: vec![],
                ..anna
            }
        );
        assert_eq!(
            of("4242").unwrap(),
            Identity {
                uid: 4242,
                gid: 0,
                groups: vec![],
                home: "/".into()
            }
        );
        assert_eq!(of("4242:77").unwrap().gid, 77);
        assert_eq!(
            of(":wheel").unwrap(),
            Identity {
                uid: 0,
                gid: 10,
                groups: vec![],
                home: "/root".into()
            }
        );
        assert_eq!(of("").unwrap().uid, 7);
    }

    #[test]
    fn unknown_names_are_errors_in_dockers_words() {
        assert_eq!(
            of("nobody").unwrap_err(),
            "unable to find user nobody: no matching entries in passwd file"
        );
        assert_eq!(
            of("anna:none").unwrap_err(),
            "unable to find group none: no matching entries in group file"
        );
        assert_eq!(
            of("4294967295").unwrap_err(),
            "uids and gids must be in range 0-2147483647"
        );
    }

    #[test]
    fn additional_groups_come_once() {
        let user = UserBuilder::default()
            .uid(0u32)
            .gid(0u32)
            .username("anna")
            .additional_gids(vec![10u32, 5])
            .build()
            .unwrap();
        assert_eq!(identity(&user, PASSWD, GROUP).unwrap().groups, [29, 10, 5]);
    }
}
