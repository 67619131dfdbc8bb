//! The architectures whose calls a filter can tell apart.

use oci_spec::runtime::Arch;

use super::SeccompError;
use super::table::{NONE, ROWS, Row};

/// x32 calls arrive with x86_64's audit token and this bit in their number (`__X32_SYSCALL_BIT`).
const X32_BIT: u32 = 0x4000_0000;

/// One calling convention, its audit token (`include/uapi/linux/audit.h`) and its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    X86_64,
    X32,
    X86,
    Aarch64,
    Arm,
}

impl Architecture {
    /// What this binary runs on.
    pub const HOST: Architecture = if cfg!(target_arch = "aarch64") {
        Architecture::Aarch64
    } else {
        Architecture::X86_64
    };

    /// The value that the kernel puts into `seccomp_data.arch`.
    pub fn audit_token(self) -> u32 {
        match self {
            Architecture::X86_64 | Architecture::X32 => 0xc000_003e,
            Architecture::X86 => 0x4000_0003,
            Architecture::Aarch64 => 0xc000_00b7,
            Architecture::Arm => 0x4000_0028,
        }
    }

    /// The others whose programs this one's kernel can run.
    pub fn compatible(self) -> &'static [Architecture] {
        match self {
            Architecture::X86_64 => &[Architecture::X86, Architecture::X32],
            Architecture::Aarch64 => &[Architecture::Arm],
            Architecture::X32 | Architecture::X86 | Architecture::Arm => &[],
        }
    }

    /// The number as it arrives in `seccomp_data.nr`; `None` where the architecture lacks the call.
    pub fn number(self, name: &str) -> Option<u32> {
        let index = ROWS.binary_search_by_key(&name, |row| row.name).ok()?;
        self.column(&ROWS[index])
    }

    fn column(self, row: &Row) -> Option<u32> {
        let (number, marker) = match self {
            Architecture::X86_64 => (row.x86_64, 0),
            Architecture::X32 => (row.x32, X32_BIT),
            Architecture::X86 => (row.x86, 0),
            Architecture::Aarch64 => (row.aarch64, 0),
            Architecture::Arm => (row.arm, 0),
        };
        (number != NONE).then_some(number | marker)
    }

    /// The first number of this convention's range.
    pub fn first_number(self) -> u32 {
        match self {
            Architecture::X32 => X32_BIT,
            _ => 0,
        }
    }

    /// The one after the last number that can be this convention's, where another shares its token.
    pub fn end_number(self) -> Option<u32> {
        match self {
            Architecture::X86_64 => Some(X32_BIT),
            _ => None,
        }
    }

    pub fn oci(self) -> Arch {
        match self {
            Architecture::X86_64 => Arch::ScmpArchX86_64,
            Architecture::X32 => Arch::ScmpArchX32,
            Architecture::X86 => Arch::ScmpArchX86,
            Architecture::Aarch64 => Arch::ScmpArchAarch64,
            Architecture::Arm => Arch::ScmpArchArm,
        }
    }
}

impl TryFrom<Arch> for Architecture {
    type Error = SeccompError;

    fn try_from(arch: Arch) -> Result<Self, SeccompError> {
        match arch {
            Arch::ScmpArchNative => Ok(Architecture::HOST),
            Arch::ScmpArchX86_64 => Ok(Architecture::X86_64),
            Arch::ScmpArchX32 => Ok(Architecture::X32),
            Arch::ScmpArchX86 => Ok(Architecture::X86),
            Arch::ScmpArchAarch64 => Ok(Architecture::Aarch64),
            Arch::ScmpArchArm => Ok(Architecture::Arm),
            other => Err(SeccompError::UnsupportedArchitecture(other.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_agrees_with_this_machine() {
        assert!(ROWS.windows(2).all(|w| w[0].name < w[1].name));
        for (name, number) in [
            ("read", libc::SYS_read),
            ("clone3", libc::SYS_clone3),
            ("seccomp", libc::SYS_seccomp),
            ("openat2", libc::SYS_openat2),
            ("execve", libc::SYS_execve),
            ("mount", libc::SYS_mount),
        ] {
            assert_eq!(
                Architecture::HOST.number(name),
                Some(number as u32),
                "{name}"
            );
        }
    }

    #[test]
    fn every_architecture_has_its_own_numbers() {
        let of = |name| {
            [
                Architecture::X86_64,
                Architecture::X32,
                Architecture::X86,
                Architecture::Aarch64,
                Architecture::Arm,
            ]
            .map(|a| a.number(name))
        };
        assert_eq!(
            of("execve"),
            [Some(59), Some(X32_BIT | 520), Some(11), Some(221), Some(11)]
        );
        assert_eq!(
            of("fork"),
            [Some(57), Some(X32_BIT | 57), Some(2), None, Some(2)]
        );
        assert_eq!(of("no_such_call"), [None; 5]);
    }
}
