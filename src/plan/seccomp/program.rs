//! A compiled program and what belongs to it.

use serde::{Deserialize, Serialize};

use super::Arch;
use super::emit::{
    AND, IF_ANY, IF_AT_LEAST, IF_EQUAL, IF_GREATER, Instruction, JUMP, LOAD, RETURN,
};
use crate::spec::Capability;
use crate::spec::seccomp::{
    CapabilitySet, Errno, KernelVersion, Nesting, Notifications, OpenAt2, Policy, PolicyVariant,
    SetIdModes, UnixSockets,
};

/// `BPF_MAXINSNS`.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Size of `struct seccomp_data`.
const DATA_BYTES: u32 = 64;

/// What the supervisor answers to a notified call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Denial {
    /// Of the call.
    pub arch: Arch,
    /// Its number.
    pub number: u32,
    /// The answer.
    #[serde(with = "errno_number")]
    pub errno: Errno,
}

mod errno_number {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::spec::seccomp::Errno;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(errno: &Errno, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u16(errno.number())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Errno, D::Error> {
        let number = u64::deserialize(from)?;
        Errno::new(number).ok_or_else(|| D::Error::custom("not an errno"))
    }
}

/// Answers to every notified call, sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denials<'a>(pub &'a [Denial]);

impl Denials<'_> {
    /// The answer to a notified call. A call that is not in the table came through the 32-bit or a
    /// foreign entry, which only `abi32 = "refuse"` notifies.
    pub fn errno_for(&self, arch: Arch, number: u32) -> Errno {
        let key = (arch, number);
        match self.0.binary_search_by_key(&key, |denial| (denial.arch, denial.number)) {
            Ok(index) => self.0[index].errno,
            Err(_) => Errno::ENOSYS,
        }
    }
}

/// A program that the kernel would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// Not a multiple of eight bytes.
    #[error("cannot read a program of {0} bytes")]
    Length(usize),
    /// None, or more than [`MAX_INSTRUCTIONS`].
    #[error("cannot use a program of {0} instructions")]
    Size(usize),
    /// An operation that no filter of ours has, or one out of bounds.
    #[error("cannot use instruction {0} of a program")]
    Instruction(usize),
}

/// As the kernel takes them: `struct sock_filter`, native byte order.
pub fn to_bytes(code: &[Instruction]) -> Vec<u8> {
    code.iter()
        .flat_map(|one| {
            let [code0, code1] = one.code.to_ne_bytes();
            let [k0, k1, k2, k3] = one.k.to_ne_bytes();
            [code0, code1, one.jt, one.jf, k0, k1, k2, k3]
        })
        .collect()
}

/// The reverse of [`to_bytes`], verified.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<Instruction>, ProgramError> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(ProgramError::Length(bytes.len()));
    }
    let instruction = |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]| Instruction {
        code: u16::from_ne_bytes([c0, c1]),
        jt,
        jf,
        k: u32::from_ne_bytes([k0, k1, k2, k3]),
    };
    let code: Vec<Instruction> = chunks.iter().map(instruction).collect();
    verify(&code)?;
    Ok(code)
}

/// Whether every instruction is one that a filter has, and no jump leaves the program.
pub fn verify(code: &[Instruction]) -> Result<(), ProgramError> {
    if code.is_empty() || code.len() > MAX_INSTRUCTIONS {
        return Err(ProgramError::Size(code.len()));
    }
    for (index, one) in code.iter().enumerate() {
        let rest = code.len() - index - 1;
        let lands = |skipped: usize| skipped < rest;
        let good = match one.code {
            LOAD => one.k % 4 == 0 && one.k < DATA_BYTES && rest > 0,
            AND => rest > 0,
            JUMP => lands(one.k as usize),
            IF_EQUAL | IF_GREATER | IF_AT_LEAST | IF_ANY => {
                lands(one.jt.into()) && lands(one.jf.into())
            }
            RETURN => true,
            _ => false,
        };
        if !good {
            return Err(ProgramError::Instruction(index));
        }
    }
    Ok(())
}

/// The variant without what makes no difference to a policy: two variants that are the same here
/// give the same program.
pub fn canonical(policy: &Policy, variant: PolicyVariant) -> PolicyVariant {
    let conditions = || policy.rules.iter().map(|rule| &rule.only);
    let asked = conditions()
        .map(|only| only.capabilities.union(only.without_capabilities))
        .fold(CapabilitySet::EMPTY, CapabilitySet::union);
    let kernel = conditions().any(|only| only.min_kernel.or(only.before_kernel).is_some());
    PolicyVariant {
        capabilities: variant.capabilities.intersection(asked),
        kernel: if kernel { variant.kernel } else { KernelVersion::OLDEST },
        notify: match variant.nesting {
            Nesting::Allow => Notifications::Off,
            Nesting::Refuse => variant.notify,
        },
        ..variant
    }
}

/// As [`canonical`], for every built-in policy, which the build makes sure of: they ask for two
/// capabilities and no kernel.
pub fn canonical_builtin(variant: PolicyVariant) -> PolicyVariant {
    PolicyVariant {
        capabilities: variant.capabilities.intersection(asked_by_builtin()),
        kernel: KernelVersion::OLDEST,
        notify: match variant.nesting {
            Nesting::Allow => Notifications::Off,
            Nesting::Refuse => variant.notify,
        },
        ..variant
    }
}

fn asked_by_builtin() -> CapabilitySet {
    let names = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"];
    names.into_iter().filter_map(|name| Capability::from_name(name).ok()).collect()
}

/// The variants that the build compiles, canonical and each once. Others are compiled when they are
/// asked for.
pub fn common_variants() -> Vec<PolicyVariant> {
    let chroot = Capability::from_name("CAP_SYS_CHROOT").ok().into_iter().collect();
    let mut variants = Vec::new();
    for capabilities in [CapabilitySet::EMPTY, chroot, asked_by_builtin()] {
        for (nesting, notify) in [
            (Nesting::Refuse, Notifications::On),
            (Nesting::Refuse, Notifications::Off),
            (Nesting::Allow, Notifications::Off),
        ] {
            let kernel = KernelVersion::OLDEST;
            let base =
                PolicyVariant { nesting, notify, capabilities, kernel, ..PolicyVariant::default() };
            variants.extend(files_and_sockets(base));
        }
    }
    variants
}

fn files_and_sockets(base: PolicyVariant) -> Vec<PolicyVariant> {
    let mut variants = Vec::new();
    for set_id_modes in [SetIdModes::Refuse, SetIdModes::Allow] {
        for openat2 in [OpenAt2::Allow, OpenAt2::Hide] {
            for unix_sockets in [UnixSockets::Allow, UnixSockets::Refuse] {
                variants.push(PolicyVariant { set_id_modes, openat2, unix_sockets, ..base });
            }
        }
    }
    variants
}
