//! Set-id modes behind the default filter, through each call that takes a mode, with its control.
#![expect(
    clippy::unwrap_used,
    unsafe_code,
    reason = "a test fails by panicking; raw calls are what is tested"
)]

#[path = "seccomp/mod.rs"]
mod common;
#[path = "seccomp/kernel.rs"]
mod kernel;

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bryo::spec::seccomp::{Notifications, OpenAt2, PolicyVariant, SetIdModes};
use bryo::sys::seccomp::Instruction;

use common::compiled;
use kernel::{HIGH, behind, call, close, marked, number, refused};

fn filter(change: impl FnOnce(&mut PolicyVariant)) -> Vec<Instruction> {
    let mut variant = PolicyVariant { notify: Notifications::Off, ..PolicyVariant::default() };
    change(&mut variant);
    marked(&compiled("default", variant))
}

/// Sets, or tries to make a file with, a mode through one call.
struct ModeCall {
    name: &'static str,
    args: fn(&CString, u64, u64) -> [u64; 6],
}

const CREATE: u64 = 0o102; // O_CREAT | O_RDWR
const AT_FDCWD: u64 = (-100_i64).cast_unsigned();

fn on_files() -> [ModeCall; 4] {
    [
        ModeCall { name: "chmod", args: |path, _, mode| [path.as_ptr() as u64, mode, 0, 0, 0, 0] },
        ModeCall { name: "fchmod", args: |_, fd, mode| [fd, mode, 0, 0, 0, 0] },
        ModeCall {
            name: "fchmodat",
            args: |path, _, mode| [AT_FDCWD, path.as_ptr() as u64, mode, 0, 0, 0],
        },
        ModeCall {
            name: "fchmodat2",
            args: |path, _, mode| [AT_FDCWD, path.as_ptr() as u64, mode, 0, 0, 0],
        },
    ]
}

fn creating() -> [ModeCall; 5] {
    [
        ModeCall {
            name: "open",
            args: |path, _, mode| [path.as_ptr() as u64, CREATE, mode, 0, 0, 0],
        },
        ModeCall {
            name: "openat",
            args: |path, _, mode| [AT_FDCWD, path.as_ptr() as u64, CREATE, mode, 0, 0],
        },
        ModeCall { name: "creat", args: |path, _, mode| [path.as_ptr() as u64, mode, 0, 0, 0, 0] },
        ModeCall {
            name: "mknod",
            args: |path, _, mode| [path.as_ptr() as u64, 0o100_000 | mode, 0, 0, 0, 0],
        },
        ModeCall {
            name: "mknodat",
            args: |path, _, mode| [AT_FDCWD, path.as_ptr() as u64, 0o100_000 | mode, 0, 0, 0],
        },
    ]
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn set_id(path: &Path) -> u32 {
    std::fs::metadata(path).map_or(0, |found| found.permissions().mode() & 0o6000)
}

#[test]
fn no_call_gives_an_existing_file_a_set_id_mode() {
    let filter = filter(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let name_of_file = c_path(&path);
    for ModeCall { name, args } in on_files() {
        let Some(number) = number(name) else { continue };
        for mode in [0o4755, 0o2755, 0o6755, 0o4000] {
            for high in [0, HIGH] {
                let file = std::fs::File::create(&path).unwrap();
                let fd = u64::try_from(file.as_raw_fd()).unwrap();
                let args = args(&name_of_file, fd, mode | high);
                assert_eq!(behind(&filter, || call(number, args)), refused(libc::EPERM), "{name}");
                assert_eq!(set_id(&path), 0, "{name}");
                assert_eq!(call(number, args), 0, "{name}, the control");
                assert_eq!(u64::from(set_id(&path)), mode & 0o6000, "{name}, the control");
                std::fs::remove_file(&path).unwrap();
            }
        }
        let file = std::fs::File::create(&path).unwrap();
        let args = args(&name_of_file, u64::try_from(file.as_raw_fd()).unwrap(), 0o1755);
        assert_eq!(behind(&filter, || call(number, args)), 0, "{name} 1755");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn no_call_makes_a_file_with_a_set_id_mode() {
    let filter = filter(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let name_of_file = c_path(&path);
    for ModeCall { name, args } in creating() {
        let Some(number) = number(name) else { continue };
        for mode in [0o4755, 0o2755, 0o6755] {
            let args = args(&name_of_file, 0, mode | HIGH);
            assert_eq!(behind(&filter, || call(number, args)), refused(libc::EPERM), "{name}");
            assert!(!path.exists(), "{name}");
            close(call(number, args).max(0));
            assert_eq!(u64::from(set_id(&path)), mode & 0o6000, "{name}, the control");
            std::fs::remove_file(&path).unwrap();
        }
        let args = args(&name_of_file, 0, 0o755);
        let made = behind(&filter, || call(number, args));
        assert!(made >= 0, "{name} 755: {made}");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_mode_without_a_file_to_make_is_not_looked_at() {
    let filter = filter(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "").unwrap();
    let name_of_file = c_path(&path);
    let at = name_of_file.as_ptr() as u64;
    // A program that calls without libc may leave anything in the register.
    for flags in [0, libc::O_RDWR, libc::O_RDWR | libc::O_TRUNC | libc::O_CLOEXEC] {
        let flags = u64::try_from(flags).unwrap();
        for (name, args) in [
            ("open", [at, flags, u64::MAX, 0, 0, 0]),
            ("openat", [AT_FDCWD, at, flags, u64::MAX, 0, 0]),
        ] {
            let Some(number) = number(name) else { continue };
            let opened = behind(&filter, || call(number, args));
            assert!(opened >= 0, "{name} {flags:#o}: {opened}");
            close(opened);
        }
    }
}

#[test]
fn a_file_without_a_name_gets_no_set_id_mode_either() {
    let filter = filter(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let name_of_folder = c_path(folder.path());
    let flags = u64::try_from(libc::O_TMPFILE | libc::O_RDWR).unwrap();
    let open = |mode| [AT_FDCWD, name_of_folder.as_ptr() as u64, flags, mode, 0, 0];
    let openat = number("openat").unwrap();
    assert_eq!(behind(&filter, || call(openat, open(0o4755))), refused(libc::EPERM));
    let control = call(openat, open(0o4755));
    let allowed = behind(&filter, || call(openat, open(0o755)));
    assert!(control >= 0 && allowed >= 0, "{control} {allowed}");
    [control, allowed].into_iter().for_each(close);
}

/// Why mkdir is not in the list of refused calls.
#[test]
fn the_kernel_itself_drops_set_id_bits_of_a_new_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folder");
    let name_of_file = c_path(&path);
    for mode in [0o4755, 0o2755, 0o6755] {
        let args = [AT_FDCWD, name_of_file.as_ptr() as u64, mode, 0, 0, 0];
        assert_eq!(call(number("mkdirat").unwrap(), args), 0);
        assert_eq!(set_id(&path), 0);
        std::fs::remove_dir(&path).unwrap();
    }
}

/// `struct open_how`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

#[test]
fn openat2_is_there_unless_something_of_the_host_is_writable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let name_of_file = c_path(&path);
    let how = OpenHow { flags: CREATE, mode: 0o4755, resolve: 0 };
    let args = [AT_FDCWD, name_of_file.as_ptr() as u64, (&raw const how) as u64, 24, 0, 0];
    let openat2 = number("openat2").unwrap();
    // The control, and why it is hidden: the filter cannot see the mode.
    let opened = behind(&filter(|_| ()), || call(openat2, args));
    assert!(opened >= 0, "{opened}");
    close(opened);
    assert_eq!(set_id(&path), 0o4000);
    let hiding = filter(|variant| variant.openat2 = OpenAt2::Hide);
    assert_eq!(behind(&hiding, || call(openat2, args)), refused(libc::ENOSYS));
}

#[test]
fn root_inside_an_image_may_set_set_id_modes() {
    let allowing = filter(|variant| variant.set_id_modes = SetIdModes::Allow);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let name_of_file = c_path(&path);
    for ModeCall { name, args } in creating() {
        let Some(number) = number(name) else { continue };
        close(behind(&allowing, || call(number, args(&name_of_file, 0, 0o4755))));
        assert_eq!(set_id(&path), 0o4000, "{name}");
        std::fs::remove_file(&path).unwrap();
    }
}
