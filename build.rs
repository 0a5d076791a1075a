//! Compiles the built-in seccomp policies for every common variant, and merges the built-in profiles.
//!
//! # Theory of operation
//! The pure modules are included by path, so that the build uses the same parser and compiler as a
//! run does. Their product in `OUT_DIR`: `seccomp.bin` with the programs, equal ones once, and
//! `seccomp.rs` with where each is and what is answered to the calls it notifies; `profile-NAME` with
//! each profile.
#![expect(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "the modules are written for the library"
)]
#![expect(clippy::print_stderr, reason = "cargo's protocol")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[path = "src/spec/mod.rs"]
mod spec;
#[path = "src/plan"]
mod plan {
    pub mod seccomp;
}

#[path = "src/profile"]
mod profile {
    pub mod builtin;
    pub mod error;
    mod fields;
    pub mod group;
    pub mod health;
    pub mod library;
    mod merge;
    pub mod moved;
    pub mod network;
    mod read;
    pub mod settings;
    pub mod stored;
    pub mod value;
    pub mod variable;

    pub use error::ProfileError;
    pub use read::{MAX_SIZE, parse_profile};
    pub use settings::{Settings, Wanted};

    /// What this script makes: there is none yet.
    mod embedded {
        pub(super) fn resolved(_name: &str) -> Option<super::library::Resolved> {
            None
        }
    }
}

use plan::seccomp::{
    Arch, Denial, SyscallTables, canonical, canonical_builtin, common_variants, emit, lower,
    to_bytes, verify,
};
use spec::seccomp::file::{self, FOR_PAYLOADS};
use spec::seccomp::{Policy, PolicyVariant};

/// What stands for each shared library that the compiler names.
const ARCHIVES: [(&str, &str); 7] = [
    ("gcc_s", "-l:libgcc_eh.a -l:libgcc.a"),
    ("c", "-l:libc.a -l:libgcc_eh.a -l:libgcc.a"),
    ("m", "-l:libm.a"),
    ("util", ""),
    ("rt", ""),
    ("pthread", ""),
    ("dl", ""),
];

/// A failure, said so that whoever builds knows what to do.
type Failure = Box<dyn std::error::Error>;

/// Compiled for every common variant. `default-32` is rare: it is compiled when it is asked for.
const COMPILED: [&str; 7] =
    ["default", "strict", "init", "fuse", "netstack", "holder", "attributes"];

fn main() {
    for path in [
        "build.rs",
        "profiles",
        "src/profile",
        "src/spec",
        "src/plan/seccomp.rs",
        "src/plan/seccomp",
    ] {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rustc-check-cfg=cfg(no_backtrace)");
    println!("cargo:rerun-if-env-changed=LIBSECCOMP_LIB_PATH");
    if let Err(failure) = build() {
        eprintln!("cannot compile what is built in: {failure}");
        let mut source = failure.source();
        while let Some(cause) = source {
            eprintln!("  because: {cause}");
            source = cause.source();
        }
        std::process::exit(1);
    }
}

fn build() -> Result<(), Failure> {
    check_archive()?;
    link_statically()?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let target = std::env::var("CARGO_CFG_TARGET_ARCH")?;
    let native = Arch::from_target(&target)
        .ok_or_else(|| format!("`{target}` is not supported: x86_64 and aarch64 are"))?;
    let tables = SyscallTables::known()?;
    let mut programs = Programs::default();
    for name in COMPILED {
        let policy = builtin(name)?;
        let mut places = Vec::new();
        for variant in common_variants() {
            // The index is by canonical variants: no policy may ask for more than they tell apart.
            if canonical(&policy, variant) != canonical(&policy, canonical_builtin(variant)) {
                return Err(format!("`{name}` asks for what `canonical_builtin` leaves out").into());
            }
            places.push(programs.add(&policy, variant, &tables, native)?);
        }
        programs.builtin.push((name, places));
    }
    // The others are not compiled here: a mistake in them is to be found now, not in a run.
    for name in FOR_PAYLOADS.into_iter().chain(["floor"]) {
        for variant in common_variants() {
            verify(&emit(&lower(&builtin(name)?, &variant, &tables, native)?))?;
        }
    }
    programs.write(&out, native)?;
    write_profiles(&out)
}

/// A built-in profile is read at every start: merged here, it takes a tenth of the time.
fn write_profiles(out: &Path) -> Result<(), Failure> {
    let mut default = String::new();
    for name in profile::builtin::NAMES {
        let resolved = profile::library::resolve_builtin(name)?;
        let text = profile::stored::encode(&resolved, &default)?;
        std::fs::write(out.join(format!("profile-{name}")), &text)?;
        if name == "default" {
            default = text;
        }
    }
    Ok(())
}

/// The compiler would say only that a library is missing.
fn check_archive() -> Result<(), Failure> {
    // Without it, whoever builds has chosen the shared library.
    if let Ok(folder) = std::env::var("LIBSECCOMP_LIB_PATH") {
        let archive = Path::new(&folder).join("libseccomp.a");
        if !archive.is_file() {
            let archive = archive.display();
            return Err(format!("`{archive}` is missing; `make setup` puts it there").into());
        }
    }
    Ok(())
}

/// Links the binary, and only it, without shared libraries: the dynamic loader would take more than a
/// twentieth of the time of a whole run.
///
/// `-C target-feature=+crt-static` would do it too, but with `--target` alone, or else procedural macros
/// cannot be built; and then the binary is not where everybody looks for it. The compiler asks for the
/// shared glibc by name: linker scripts of these names, found first, hand the linker the archives.
fn link_statically() -> Result<(), Failure> {
    if std::env::var("CARGO_CFG_TARGET_ENV")? != "gnu" {
        return Ok(());
    }
    let folder =
        PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("static");
    std::fs::create_dir_all(&folder)?;
    for (library, archives) in ARCHIVES {
        std::fs::write(folder.join(format!("lib{library}.so")), format!("GROUP ( {archives} )\n"))?;
    }
    // Not `rustc-link-search`, which would change the library's tests too.
    println!("cargo:rustc-link-arg-bins=-L{}", folder.display());
    // Position-independent: relocating itself costs it little, and its addresses stay hard to guess.
    println!("cargo:rustc-link-arg-bins=-static-pie");
    link_small(&folder)
}

/// Leaves out what a released binary has no use for.
///
/// Tables for unwinding: a panic aborts, and without symbols a trace of it would name nothing. The compiler
/// cannot be told for one profile alone, and the archives bring theirs. And relocations take a bit instead of
/// 24 bytes each, where the C library that applies them at the start knows how.
fn link_small(folder: &Path) -> Result<(), Failure> {
    // Whoever chose a linker may have one that reads no scripts.
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if std::env::var("PROFILE")? != "release" || flags.contains("link") {
        return Ok(());
    }
    let script = folder.join("discard.ld");
    std::fs::write(
        &script,
        "SECTIONS { /DISCARD/ : { *(.eh_frame .gcc_except_table*) } }\nINSERT AFTER .text;\n",
    )?;
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
    // Nor can anything walk a stack then: see `src/sys/backtrace.rs`. Its function comes before the C compiler's.
    println!("cargo:rustc-cfg=no_backtrace");
    println!("cargo:rustc-link-arg-bins=-Wl,-z,muldefs");
    if std::env::var("HOST")? == std::env::var("TARGET")? && applies_packed_relocations() {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // For `scripts/start-order.py`.
    println!("cargo:rerun-if-env-changed=BRYO_LINK_MAP");
    if let Ok(map) = std::env::var("BRYO_LINK_MAP") {
        println!("cargo:rustc-link-arg-bins=-Wl,-Map={map}");
    }
    order_functions()
}

/// Puts the functions that a start runs side by side: fewer pages are read, mapped and unmapped.
///
/// The compiler's own linker can do it; where the toolchain has none, or the names in the list are those of
/// another compiler, the binary is merely slower. `scripts/start-order.py` makes the list.
fn order_functions() -> Result<(), Failure> {
    println!("cargo:rerun-if-changed=scripts/start.order");
    let target = std::env::var("TARGET")?;
    let rustc = std::env::var_os("RUSTC").ok_or("RUSTC is not set")?;
    let asked = std::process::Command::new(rustc).args(["--print", "sysroot"]).output()?;
    let sysroot = PathBuf::from(String::from_utf8(asked.stdout)?.trim());
    let linkers = sysroot.join("lib/rustlib").join(&target).join("bin/gcc-ld");
    let is_there = linkers.join("ld.lld").is_file();
    let (Ok(list), true) = (Path::new("scripts/start.order").canonicalize(), is_there) else {
        return Ok(());
    };
    for argument in [
        format!("-B{}", linkers.display()),
        "-fuse-ld=lld".to_owned(),
        format!("-Wl,--symbol-ordering-file={}", list.display()),
        "-Wl,--no-warn-symbol-ordering".to_owned(),
        // Functions of the same code, which types of the same shape have, are one.
        "-Wl,--icf=all".to_owned(),
        "-Wl,-O2".to_owned(),
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    Ok(())
}

/// Whether this machine's C library, which becomes part of the binary, is glibc 2.36 or later.
fn applies_packed_relocations() -> bool {
    let Ok(said) = std::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output() else {
        return false;
    };
    let said = String::from_utf8_lossy(&said.stdout);
    let mut numbers = said.trim().trim_start_matches("glibc ").split('.').map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (2, 36))
}

fn builtin(name: &str) -> Result<Policy, Failure> {
    Ok(file::builtin(name)?.ok_or_else(|| format!("there is no policy `{name}`"))?)
}

/// Where a program is in `seccomp.bin`, in bytes, and which denials belong to it.
type Place = (usize, usize, usize);

/// What goes into the binary.
#[derive(Default)]
struct Programs {
    bytes: Vec<u8>,
    /// Where equal programs are.
    places: BTreeMap<Vec<u8>, usize>,
    denials: Vec<Vec<Denial>>,
    builtin: Vec<(&'static str, Vec<Place>)>,
}

impl Programs {
    fn add(
        &mut self,
        policy: &Policy,
        variant: PolicyVariant,
        tables: &SyscallTables,
        native: Arch,
    ) -> Result<Place, Failure> {
        let lowered = lower(policy, &variant, tables, native)?;
        let code = emit(&lowered);
        verify(&code)?;
        let program = to_bytes(&code);
        let length = program.len();
        let bytes = &mut self.bytes;
        let place = *self.places.entry(program).or_insert_with_key(|program| {
            let place = bytes.len();
            bytes.extend(program);
            place
        });
        let known = self.denials.iter().position(|denials| *denials == lowered.denials);
        let denials = known.unwrap_or_else(|| {
            self.denials.push(lowered.denials);
            self.denials.len() - 1
        });
        Ok((place, place + length, denials))
    }

    fn write(self, out: &Path, native: Arch) -> Result<(), Failure> {
        std::fs::write(out.join("seccomp.bin"), &self.bytes)?;
        let mut text = format!("pub(super) const NATIVE: Arch = Arch::{native:?};\n");
        writeln!(text, "pub(super) static PLACES: &[(&str, &[Place])] = &[")?;
        for (name, places) in &self.builtin {
            writeln!(text, "    ({name:?}, &{places:?}),")?;
        }
        text.push_str("];\npub(super) static DENIALS: &[&[Denial]] = &[\n");
        for denials in &self.denials {
            text.push_str("    &[\n");
            for Denial { arch, number, errno } in denials {
                let errno = errno.number();
                writeln!(text, "        denial(Arch::{arch:?}, {number}, {errno}),")?;
            }
            text.push_str("    ],\n");
        }
        text.push_str("];\n");
        std::fs::write(out.join("seccomp.rs"), text)?;
        Ok(())
    }
}
