//! What the build compiled.

use std::borrow::Cow;

use super::{Program, SeccompError};
use crate::plan::seccomp::{Arch, Denial, canonical_builtin, common_variants, find_name};
use crate::spec::seccomp::{Errno, Policy, PolicyVariant, file};

#[expect(clippy::unreadable_literal, reason = "written by the build")]
mod generated {
    use super::{Arch, Denial, Place, denial};

    include!(concat!(env!("OUT_DIR"), "/seccomp.rs"));
}

use generated::{DENIALS, PLACES};

/// What this program was built for.
pub(super) const NATIVE: Arch = generated::NATIVE;

static PROGRAMS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/seccomp.bin"));

/// For the generated file: first and last byte in [`PROGRAMS`], index in [`DENIALS`].
type Place = (usize, usize, usize);

/// For the generated file: an entry of [`DENIALS`].
const fn denial(arch: Arch, number: u32, errno: u64) -> Denial {
    let errno = match Errno::new(errno) {
        Some(errno) => errno,
        None => Errno::EPERM,
    };
    Denial { arch, number, errno }
}

/// The built-in program for a variant; `None` when the build compiled none for it: see
/// [`super::program`].
pub fn builtin(name: &str, variant: PolicyVariant) -> Option<Program> {
    let wanted = canonical_builtin(variant);
    let index = common_variants().iter().position(|variant| *variant == wanted)?;
    let (_, places) = PLACES.iter().find(|(known, _)| *known == name)?;
    let (start, end, denials) = *places.get(index)?;
    Some(Program {
        bytes: Cow::Borrowed(PROGRAMS.get(start..end)?),
        denials: Cow::Borrowed(DENIALS.get(denials)?),
        unknown_names: Vec::new(),
    })
}

/// What holds before a policy of somebody else.
pub(super) fn floor() -> Result<Policy, SeccompError> {
    builtin_policy("floor")
}

/// A built-in policy as data.
pub(super) fn builtin_policy(name: &str) -> Result<Policy, SeccompError> {
    let policy = file::builtin(name).map_err(SeccompError::Builtin)?;
    policy.ok_or_else(|| SeccompError::NotBuiltin { name: name.to_owned() })
}

/// The name of a call, for reports. `arch` is `seccomp_data.arch`.
pub fn syscall_name(arch: u32, number: u32) -> Option<&'static str> {
    find_name(Arch::from_token(arch)?, number)
}
