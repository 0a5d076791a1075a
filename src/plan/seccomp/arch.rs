//! The calling conventions a filter tells apart.

use serde::{Deserialize, Serialize};

/// One of the kernel's `AUDIT_ARCH` values. x32 is not one: its calls arrive as `X86_64` with bit 30
/// of the number set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86: `int 0x80`, `sysenter` and 32-bit programs.
    X86,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm.
    Arm,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::X86_64, Self::X86, Self::Aarch64, Self::Arm];

    /// The value in `seccomp_data.arch` (`linux/audit.h`).
    pub const fn token(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// From `seccomp_data.arch`.
    pub fn from_token(token: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.token() == token)
    }

    /// The 32-bit convention that the same machine may offer.
    pub const fn compat(self) -> Option<Self> {
        match self {
            Self::X86_64 => Some(Self::X86),
            Self::Aarch64 => Some(Self::Arm),
            Self::X86 | Self::Arm => None,
        }
    }

    /// By the compiler's `target_arch`; only 64-bit machines are supported.
    pub fn from_target(target_arch: &str) -> Option<Self> {
        match target_arch {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// Docker's word, as in `includes.arches`.
    pub const fn docker_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// The name of its table: `calls-NAME.txt`.
    pub const fn table_name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::X86 => "x86",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
        }
    }
}
