//! AppArmor's profile for containers, loaded where nobody has (apparmor(7); the kernel's
//! Documentation/admin-guide/LSM/apparmor.rst and security/apparmor/apparmorfs.c).
//!
//! The profile is compiled beforehand, so that no parser is needed where containers run: `docker-default` beside
//! this is its source, and `cargo xtask apparmor` makes `docker-default.bin` of it. One that is there already,
//! Docker's or an administrator's, is never replaced, and none is ever taken away.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// The name of the profile of containers that ask for no other.
pub const DEFAULT_PROFILE: &str = "docker-default";

const COMPILED: &[u8] = include_bytes!("docker-default.bin");
const INTERFACE: &str = "/sys/kernel/security/apparmor";

/// Whether the kernel has AppArmor and uses it.
pub fn is_enabled() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|enabled| enabled.starts_with('Y'))
}

/// Whether a profile of this name is loaded.
pub fn is_loaded(profile: &str) -> bool {
    fs::read_to_string(Path::new(INTERFACE).join("profiles"))
        .is_ok_and(|list| lists(&list, profile))
}

/// Loads the profile of containers unless one of its name is loaded. Blocks for a few milliseconds.
///
/// # Errors
/// In sentences that say what to do: where the kernel's interface is not mounted, where this process may not
/// load policy, and where the kernel does not take the profile.
pub fn load_default() -> io::Result<()> {
    if is_loaded(DEFAULT_PROFILE) {
        return Ok(());
    }
    load(&Path::new(INTERFACE).join(".load"))
}

/// One write has the whole of it: each is a policy of its own to the kernel.
fn load(interface: &Path) -> io::Result<()> {
    let loaded = fs::OpenOptions::new()
        .write(true)
        .open(interface)
        .and_then(|mut file| match file.write(COMPILED)? {
            written if written == COMPILED.len() => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::WriteZero)),
        });
    let Err(error) = loaded else { return Ok(()) };
    let advice = match error.kind() {
        // Somebody was quicker.
        io::ErrorKind::AlreadyExists => return Ok(()),
        io::ErrorKind::NotFound => {
            "the kernel's security filesystem is not there; mount it with `mount -t securityfs securityfs /sys/kernel/security`"
        }
        io::ErrorKind::PermissionDenied => {
            "loading policy needs CAP_MAC_ADMIN; load a profile of that name before the daemon starts, or give it the capability"
        }
        _ => {
            "load a profile of that name with apparmor_parser, or run containers with `--security-opt apparmor=unconfined`"
        }
    };
    Err(io::Error::new(
        error.kind(),
        format!("loading the AppArmor profile {DEFAULT_PROFILE}: {error}; {advice}"),
    ))
}

/// The list has a line "name (mode)" for each profile.
fn lists(list: &str, profile: &str) -> bool {
    list.lines()
        .filter_map(|line| line.rsplit_once(" ("))
        .any(|(name, _mode)| name == profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_found_by_their_whole_name() {
        let list =
            "docker-default-not (enforce)\ndocker-default (enforce)\nodd (name) (complain)\n";
        assert!(lists(list, "docker-default"));
        assert!(lists(list, "odd (name)"));
        assert!(!lists(list, "docker"));
        assert!(!lists("", "docker-default"));
    }

    /// A string is a tag, its length with the NUL behind it, and itself; a number is a tag and itself, all of
    /// them little-endian (the kernel's security/apparmor/policy_unpack.c).
    #[test]
    fn what_was_compiled_is_the_profile_of_that_name() {
        let name = |name: &str| {
            let mut bytes = vec![4];
            bytes.extend((name.len() as u16 + 1).to_le_bytes());
            bytes.extend(name.bytes());
            bytes.push(0);
            bytes
        };
        let rest = COMPILED.strip_prefix(&*name("version")).unwrap();
        let (version, rest) = rest.split_at(5);
        assert_eq!(version[0], 2);
        let version = u32::from_le_bytes(version[1..].try_into().unwrap());
        // Linux 5.10 takes versions 5 to 8; the bit above them is complain mode.
        assert!((5..=8).contains(&(version & 0x7ff)), "{version:#x}");
        let rest = rest.strip_prefix(&*name("profile")).unwrap();
        let rest = rest.strip_prefix(&[7]).unwrap();
        let mut own = name(DEFAULT_PROFILE);
        own[0] = 5;
        assert!(rest.starts_with(&own));
    }

    #[test]
    fn errors_say_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let missing = load(&dir.path().join(".load")).unwrap_err();
        assert!(
            missing.to_string().contains("mount -t securityfs"),
            "{missing}"
        );
        let whole = dir.path().join("loaded");
        fs::write(&whole, "").unwrap();
        load(&whole).unwrap();
        assert_eq!(fs::read(&whole).unwrap(), COMPILED);
    }
}
