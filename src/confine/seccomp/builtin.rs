//! What the build compiled, and the tables it made.

use std::borrow::Cow;

use super::{Program, SeccompError};
use crate::plan::seccomp::{
    Arch, Denial, SyscallTable, SyscallTables, canonical_builtin, common_variants, find_name,
};
use crate::spec::seccomp::{Abi32, Errno, Policy, PolicyVariant, file};

#[expect(clippy::unreadable_literal, reason = "written by the build")]
mod generated {
    use super::{Abi32, Arch, Builtin, Denial, denial};

    include!(concat!(env!("OUT_DIR"), "/seccomp.rs"));
}

use generated::{BUILTIN, DENIALS};

/// What this program was built for.
pub(super) const NATIVE: Arch = generated::NATIVE;

static PROGRAMS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/seccomp.bin"));

const FLOOR: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/seccomp/floor.toml"));

/// Text without relocations: nothing is paid where nothing is looked up.
const TABLES: [(Arch, &str); 4] = [
    (Arch::X86_64, include_str!(concat!(env!("OUT_DIR"), "/syscalls-x86_64.txt"))),
    (Arch::X86, include_str!(concat!(env!("OUT_DIR"), "/syscalls-x86.txt"))),
    (Arch::Aarch64, include_str!(concat!(env!("OUT_DIR"), "/syscalls-aarch64.txt"))),
    (Arch::Arm, include_str!(concat!(env!("OUT_DIR"), "/syscalls-arm.txt"))),
];

/// A policy that is part of bryo.
pub(super) struct Builtin {
    name: &'static str,
    /// What differs from the text.
    abi32: Option<Abi32>,
    text: &'static str,
    /// For each of [`common_variants`]: first and last byte in [`PROGRAMS`], index in [`DENIALS`].
    places: &'static [(usize, usize, usize)],
}

/// For the generated file: an entry of [`DENIALS`].
const fn denial(arch: Arch, number: u32, errno: u64) -> Denial {
    let errno = match Errno::new(errno) {
        Some(errno) => errno,
        None => Errno::EPERM,
    };
    Denial { arch, number, errno }
}

fn find(name: &str) -> Option<&'static Builtin> {
    BUILTIN.iter().find(|builtin| builtin.name == name)
}

/// Names of the built-in policies.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|builtin| builtin.name)
}

/// The built-in program for a variant; `None` when there is no policy of this name, or when the
/// variant is one that [`super::compile`] must make of [`builtin_policy`].
pub fn builtin(name: &str, variant: PolicyVariant) -> Option<Program> {
    let wanted = canonical_builtin(variant);
    let index = common_variants().iter().position(|variant| *variant == wanted)?;
    let (start, end, denials) = *find(name)?.places.get(index)?;
    Some(Program {
        bytes: Cow::Borrowed(PROGRAMS.get(start..end)?),
        denials: Cow::Borrowed(DENIALS.get(denials)?),
        unknown_names: Vec::new(),
    })
}

/// A built-in policy as data; `None` when there is none of this name.
pub fn builtin_policy(name: &str) -> Result<Option<Policy>, SeccompError> {
    let Some(builtin) = find(name) else { return Ok(None) };
    let policy = file::parse(builtin.text, name).map_err(SeccompError::Builtin)?;
    let abi32 = builtin.abi32.unwrap_or(policy.abi32);
    Ok(Some(Policy { name: name.to_owned(), abi32, ..policy }))
}

/// What holds before a policy of somebody else.
pub(super) fn floor() -> Result<Policy, SeccompError> {
    file::parse(FLOOR, "floor").map_err(SeccompError::Builtin)
}

/// All tables, parsed.
pub(super) fn tables() -> Result<SyscallTables, SeccompError> {
    let parse = |(arch, text): &(Arch, &str)| SyscallTable::parse(*arch, text);
    let tables: Result<_, _> = TABLES.iter().map(parse).collect();
    Ok(SyscallTables::new(tables.map_err(SeccompError::Tables)?))
}

/// The name of a call, for reports. `arch` is `seccomp_data.arch`.
pub fn syscall_name(arch: u32, number: u32) -> Option<&'static str> {
    let arch = Arch::from_token(arch)?;
    let (_, text) = TABLES.iter().find(|(known, _)| *known == arch)?;
    find_name(text, number)
}
