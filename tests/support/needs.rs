//! What a test may need of the host, and which pass of the integration tests this is.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::program;

/// Something a host may lack. The names are the ones in `tests/README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Landlock of at least this ABI.
    Landlock(u32),
    /// `/dev/fuse` can be opened, and `fuse-overlayfs` is installed.
    FuseOverlayfs,
    /// A tmpfs that can hold layers: Linux 6.6.
    HeldLayers,
    /// Subordinate ids, and the helpers that map them.
    Subids,
    /// A program in `PATH`.
    Program(&'static str),
    /// A program that connects networks: `pasta`, `slirp4netns`.
    NetworkTool(&'static str),
    /// A second group for the user, which `chgrp` can give to a directory.
    SupplementaryGroup,
}

/// What may be missing: a test that needs it is skipped, and says so. Everything else fails.
/// Kept equal to the table in `tests/README.md` by a test.
pub(crate) const MAY_BE_MISSING: &[&str] =
    &["HeldLayers", "Landlock", "NetworkTool", "SupplementaryGroup"];

/// Who serves copy-on-write trees in this pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlay {
    /// The kernel.
    Kernel,
    /// fuse-overlayfs.
    Fuse,
    /// Nobody: no place is copy-on-write.
    None,
}

/// The pass: `$BRYO_TEST_OVERLAY`; the kernel without it.
pub(crate) fn overlay() -> Overlay {
    match std::env::var("BRYO_TEST_OVERLAY").as_deref() {
        Ok("kernel") | Err(_) => Overlay::Kernel,
        Ok("fuse") => Overlay::Fuse,
        Ok("none") => Overlay::None,
        Ok(other) => panic!("BRYO_TEST_OVERLAY={other}: kernel, fuse or none"),
    }
}

/// Whether a test that says something about these passes only applies to this one. The others are not
/// skipped: there is nothing to test in them.
pub(crate) fn overlay_is_one_of(passes: &[Overlay]) -> bool {
    passes.contains(&overlay())
}

/// Whether the host has `need`. When not: skips the test loudly if that is allowed, else fails it.
///
/// ```ignore
/// if !has(Need::Landlock(6)) { return; }
/// ```
pub(crate) fn has(need: Need) -> bool {
    match verdict(need) {
        Verdict::There => true,
        Verdict::Skips(name) => {
            if let Some(list) = std::env::var_os("BRYO_TEST_SKIPS") {
                let test = std::thread::current().name().unwrap_or("?").to_owned();
                let mut list = OpenOptions::new().append(true).open(list).unwrap();
                writeln!(list, "{test}: this host lacks {name}").unwrap();
            }
            false
        }
        Verdict::Fails(name) => {
            panic!("this host lacks {name}, and tests/README.md does not allow to skip for that")
        }
    }
}

/// What becomes of a test that needs something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It runs.
    There,
    /// It is skipped for the lack of this.
    Skips(String),
    /// It fails for the lack of this.
    Fails(String),
}

/// Looks at the host and at the list.
pub(crate) fn verdict(need: Need) -> Verdict {
    let name = format!("{need:?}");
    let kind = name.split('(').next().unwrap_or_default();
    if is_there(need) {
        Verdict::There
    } else if MAY_BE_MISSING.contains(&kind) {
        Verdict::Skips(name)
    } else {
        Verdict::Fails(name)
    }
}

fn is_there(need: Need) -> bool {
    match need {
        Need::Landlock(abi) => landlock_abi() >= abi,
        Need::FuseOverlayfs => {
            OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok()
                && program::in_path("fuse-overlayfs")
        }
        Need::Subids => {
            program::in_path("newuidmap")
                && succeeds(Command::new("unshare").args(["--map-auto", "--user", "true"]))
        }
        Need::HeldLayers => {
            let uname = rustix::system::uname();
            let mut numbers = uname.release().to_str().unwrap_or_default().split(['.', '-']);
            let mut number = || numbers.next().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
            let (major, minor) = (number(), number());
            (major, minor) >= (6, 6)
        }
        Need::Program(name) | Need::NetworkTool(name) => program::in_path(name),
        Need::SupplementaryGroup => rustix::process::getgroups()
            .is_ok_and(|groups| groups.iter().any(|group| *group != rustix::process::getgid())),
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// What the kernel answers; 0 without Landlock. Asked by a C program, as tests have no unsafe code.
fn landlock_abi() -> u32 {
    const ASK: &str = r#"
        #include <stdio.h>
        #include <unistd.h>
        int main(void) {
            long abi = syscall(444, NULL, 0, 1);
            printf("%ld", abi < 0 ? 0 : abi);
        }
    "#;
    let program = program::compile(ASK);
    let output = Command::new(program).output().unwrap();
    String::from_utf8_lossy(&output.stdout).parse().unwrap()
}
