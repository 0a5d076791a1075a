//! Compiled custom policies, kept by the hash of everything that went into them.
//!
//! # Theory of operation
//! The key is the SHA-256 of the policy and the variant as JSON, the architecture, libseccomp's
//! version and ours. The file is a header with the hash of the rest, then the rest as JSON with the
//! program in hexadecimal. What cannot be read, is of another length, or does not have its hash
//! is compiled again; what was compiled is written beside the target and renamed over it.
//!
//! # Decisions
//! The hash in the header finds torn and rotten files, not forged ones: whoever may write to the
//! folder may write any program. The caller gives a folder that the payload cannot see.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use libseccomp::ScmpVersion;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::builtin::NATIVE;
use super::{Program, SeccompError, compile};
use crate::plan::seccomp::{Denial, MAX_INSTRUCTIONS, canonical, from_bytes};
use crate::spec::seccomp::{Policy, PolicyVariant};

/// Changes when the same policy would give another program, or the file another form.
const CACHE_VERSION: u32 = 1;

/// Longer files are not read: a program in hexadecimal, denials for every call of two architectures.
const MAX_CACHE_BYTES: u64 = (MAX_INSTRUCTIONS * 8 * 2 + 1024 * 128) as u64;

#[derive(Serialize)]
struct Key<'a> {
    version: u32,
    bryo: &'static str,
    library: String,
    arch: crate::plan::seccomp::Arch,
    variant: &'a PolicyVariant,
    policy: &'a Policy,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    program: String,
    denials: Vec<Denial>,
    unknown_names: Vec<String>,
}

/// As [`compile`], keeping the result in a folder; without one nothing is kept. The folder must
/// exist and be out of the payload's reach.
pub fn compile_cached(
    policy: &Policy,
    variant: PolicyVariant,
    folder: Option<&Path>,
) -> Result<Program, SeccompError> {
    let variant = canonical(policy, variant);
    let Some(folder) = folder else { return compile(policy, variant) };
    let path = folder.join(format!("{}.seccomp", key(policy, &variant)?));
    if let Some(program) = read(&path) {
        return Ok(program);
    }
    let program = compile(policy, variant)?;
    write(&path, &program)?;
    Ok(program)
}

fn key(policy: &Policy, variant: &PolicyVariant) -> Result<String, SeccompError> {
    let library = ScmpVersion::current()
        .map_err(|source| SeccompError::Library { name: policy.name.clone(), source })?;
    let key = Key {
        version: CACHE_VERSION,
        bryo: env!("CARGO_PKG_VERSION"),
        library: library.to_string(),
        arch: NATIVE,
        variant,
        policy,
    };
    let json = serde_json::to_vec(&key)
        .map_err(|source| SeccompError::Canonical { name: policy.name.clone(), source })?;
    Ok(to_hex(&Sha256::digest(json)))
}

/// `None` for whatever is not exactly what [`write`] writes.
fn read(path: &Path) -> Option<Program> {
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_CACHE_BYTES + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > MAX_CACHE_BYTES {
        return None;
    }
    let text = std::str::from_utf8(&bytes).ok()?;
    let (header, body) = text.split_once('\n')?;
    if header != header_of(body) {
        return None;
    }
    let kept: Kept = serde_json::from_slice(body.as_bytes()).ok()?;
    let program = from_hex(&kept.program)?;
    from_bytes(&program).ok()?;
    Some(Program {
        bytes: Cow::Owned(program),
        denials: Cow::Owned(kept.denials),
        unknown_names: kept.unknown_names,
    })
}

fn write(path: &Path, program: &Program) -> Result<(), SeccompError> {
    let failed = |source| SeccompError::Cache { path: path.to_owned(), source };
    let kept = Kept {
        program: to_hex(program.bytes()),
        denials: program.denials().to_vec(),
        unknown_names: program.unknown_names().to_vec(),
    };
    let body = serde_json::to_string(&kept).map_err(|error| failed(error.into()))?;
    let (mut file, beside) = create_beside(path).map_err(failed)?;
    let written = file
        .write_all(format!("{}\n{body}", header_of(&body)).as_bytes())
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| match fs::remove_file(&beside) {
        Ok(()) => failed(source),
        Err(_) => SeccompError::CacheLeftover { path: beside, source },
    })
}

/// A new file of the caller's own in the target's folder.
fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let beside = path.with_extension(to_hex(&random));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    Ok((file, beside))
}

fn header_of(body: &str) -> String {
    format!("bryo-seccomp {CACHE_VERSION} {}", to_hex(&Sha256::digest(body.as_bytes())))
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
