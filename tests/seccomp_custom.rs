//! Policies that somebody else wrote: the floor before them, and the cache of compiled ones.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "seccomp/mod.rs"]
mod common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bryo::confine::seccomp::{Program, compile, compile_cached, program};
use bryo::plan::seccomp::Arch;
use bryo::plan::step::FilterProgram;
use bryo::spec::seccomp::{
    Nesting, Notifications, OpenAt2, Policy, PolicyVariant, UnixSockets, docker, file,
};

use common::{Data, code_of, interpret, tables};

const NATIVE: Arch = if cfg!(target_arch = "x86_64") { Arch::X86_64 } else { Arch::Aarch64 };
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const EAFNOSUPPORT: u32 = 0x0005_0061;
const NOTIFY: u32 = 0x7fc0_0000;

fn docker_policy(entries: &str) -> Policy {
    let text = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{entries}]}}"#);
    docker::parse(&text, "test.json").unwrap()
}

/// Everything is allowed by the file: what is refused is the floor's.
fn everything() -> Policy {
    docker::parse(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#, "everything.json").unwrap()
}

fn answer(program: &Program, arch: Arch, name: &str, args: [u64; 6]) -> u32 {
    let number = tables().of(arch).unwrap().number(name).unwrap();
    interpret(&code_of(program), &Data { arch: arch.token(), number, args }).0
}

#[test]
fn names_that_nobody_knows_are_left_out_and_told() {
    let policy =
        docker_policy(r#"{"names":["read","nonsense","bogus","read"],"action":"SCMP_ACT_ALLOW"}"#);
    let compiled = compile(&policy, PolicyVariant::default()).unwrap();
    assert_eq!(compiled.unknown_names(), ["bogus", "nonsense"]);
    assert_eq!(answer(&compiled, NATIVE, "read", [0; 6]), ALLOW);
    assert_eq!(answer(&compiled, NATIVE, "write", [0; 6]), EPERM);
    let unknown = "name = 'p'\nextends = 'default'\n[[rule]]\ncalls = ['nonsense']\naction = 'allow'\nreason = 'r'";
    let error = compile(&file::parse(unknown, "p").unwrap(), PolicyVariant::default()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "cannot find a system call named `nonsense`");
    assert!(error.hint().is_some());
    let by_number = unknown.replace("'nonsense'", "462, 999");
    let compiled =
        compile(&file::parse(&by_number, "p").unwrap(), PolicyVariant::default()).unwrap();
    let code = code_of(&compiled);
    let at = |number| interpret(&code, &Data { arch: NATIVE.token(), number, args: [0; 6] }).0;
    assert_eq!((at(999), at(1000)), (ALLOW, ENOSYS));
}

#[test]
fn calls_that_libseccomp_has_no_name_for_are_decided_as_the_file_says() {
    let allowed =
        docker_policy(r#"{"names":["mseal","statmount","read"],"action":"SCMP_ACT_ALLOW"}"#);
    let compiled = compile(&allowed, PolicyVariant::default()).unwrap();
    assert_eq!(compiled.unknown_names(), [""; 0]);
    for (name, wanted) in
        [("mseal", ALLOW), ("statmount", ALLOW), ("listmount", EPERM), ("read", ALLOW)]
    {
        assert_eq!(answer(&compiled, NATIVE, name, [0; 6]), wanted, "{name}");
    }
    let refused = docker::parse(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mseal"],"action":"SCMP_ACT_ERRNO","errnoRet":1},
            {"names":["mseal"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#,
        "test.json",
    );
    let compiled = compile(&refused.unwrap(), PolicyVariant::default()).unwrap();
    assert_eq!(answer(&compiled, NATIVE, "mseal", [0; 6]), EPERM);
    assert_eq!(answer(&compiled, NATIVE, "statmount", [0; 6]), ALLOW);
}

#[test]
fn the_floor_holds_whatever_a_file_allows() {
    let compiled = compile(&everything(), PolicyVariant::default()).unwrap();
    let high = 1 << 40;
    for (name, args, wanted) in [
        ("ioctl", [0, 0x5412 | high, 0, 0, 0, 0], EPERM),
        ("ioctl", [0, 0x541c, 0, 0, 0, 0], EPERM),
        ("ioctl", [0, 0x5413, 0, 0, 0, 0], ALLOW),
        ("fchmod", [0, 0o4755 | high, 0, 0, 0, 0], EPERM),
        ("fchmod", [0, 0o755, 0, 0, 0, 0], ALLOW),
        ("openat", [0, 0, 0o100, 0o2755, 0, 0], EPERM),
        ("openat", [0, 0, 0, 0o2755, 0, 0], ALLOW),
        ("openat2", [0; 6], ALLOW),
        ("io_uring_setup", [0; 6], ALLOW),
        ("socket", [40, 0, 0, 0, 0, 0], ALLOW),
        ("mount", [0; 6], ALLOW),
    ] {
        assert_eq!(answer(&compiled, NATIVE, name, args), wanted, "{name} {args:x?}");
    }
    let code = code_of(&compiled);
    for (arch, number, wanted) in [
        (NATIVE, 1000, ENOSYS),
        (NATIVE, 0x4000_0000, ENOSYS),
        (NATIVE.compat().unwrap(), 20, NOTIFY),
    ] {
        let data = Data { arch: arch.token(), number, args: [0; 6] };
        assert_eq!(interpret(&code, &data).0, wanted, "{data:x?}");
    }
}

#[test]
fn what_a_run_needs_refused_is_refused_before_a_file_of_dockers() {
    let writing = PolicyVariant { openat2: OpenAt2::Hide, ..PolicyVariant::default() };
    let compiled = compile(&everything(), writing).unwrap();
    // io_uring would open past the filter.
    for name in ["openat2", "io_uring_setup", "io_uring_enter"] {
        assert_eq!(answer(&compiled, NATIVE, name, [0; 6]), ENOSYS, "{name}");
    }
    let host_network =
        PolicyVariant { unix_sockets: UnixSockets::Refuse, ..PolicyVariant::default() };
    let compiled = compile(&everything(), host_network).unwrap();
    for (name, args, wanted) in [
        ("socket", [1, 1, 0, 0, 0, 0], EAFNOSUPPORT),
        ("socket", [2, 1, 0, 0, 0, 0], ALLOW),
        ("socketpair", [1, 2, 0, 0, 0, 0], EAFNOSUPPORT),
        ("socketpair", [1, 3, 0, 0, 0, 0], EAFNOSUPPORT),
        ("socketpair", [1, 1 | 0o2_000_000, 0, 0, 0, 0], ALLOW),
    ] {
        assert_eq!(answer(&compiled, NATIVE, name, args), wanted, "{name} {args:x?}");
    }
}

#[test]
fn notifications_of_a_file_are_answered_by_their_errno() {
    let policy = docker::parse(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mount"],"action":"SCMP_ACT_NOTIFY"},
            {"names":["bpf"],"action":"SCMP_ACT_NOTIFY","errnoRet":22}]}"#,
        "test.json",
    )
    .unwrap();
    let compiled = compile(&policy, PolicyVariant::default()).unwrap();
    let table = tables();
    let number = |name: &str| table.of(NATIVE).unwrap().number(name).unwrap();
    for (name, errno) in [("mount", 1), ("bpf", 22)] {
        assert_eq!(answer(&compiled, NATIVE, name, [0; 6]), NOTIFY, "{name}");
        assert_eq!(compiled.errno_for(NATIVE.token(), number(name)).number(), errno, "{name}");
    }
    // With nobody to listen, and with nesting, where the listener is the payload's.
    for (notify, nesting) in
        [(Notifications::Off, Nesting::Refuse), (Notifications::On, Nesting::Allow)]
    {
        let variant = PolicyVariant { notify, nesting, ..PolicyVariant::default() };
        let compiled = compile(&policy, variant).unwrap();
        assert_eq!(answer(&compiled, NATIVE, "mount", [0; 6]), EPERM);
        assert_eq!(compiled.denials(), []);
    }
}

#[test]
fn a_32_bit_architecture_in_the_file_allows_its_calls() {
    let text = r#"{"defaultAction":"SCMP_ACT_ERRNO",
        "architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_AARCH64","SCMP_ARCH_ARM"],
        "syscalls":[{"names":["getpid","mseal"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let compiled = compile(&docker::parse(text, "t").unwrap(), PolicyVariant::default()).unwrap();
    let compat = NATIVE.compat().unwrap();
    for (name, wanted) in [("getpid", ALLOW), ("mseal", ALLOW), ("mount", EPERM)] {
        assert_eq!(answer(&compiled, compat, name, [0; 6]), wanted, "{name}");
        assert_eq!(answer(&compiled, NATIVE, name, [0; 6]), wanted, "{name}");
    }
    assert_eq!(answer(&compiled, compat, "ioctl", [0, 0x5412, 0, 0, 0, 0]), EPERM);
}

#[test]
fn a_policy_that_is_too_long_for_the_kernel_is_an_error_with_a_hint() {
    let mut text = "name = 'p'\nextends = 'default'\n".to_owned();
    for value in 0..1500_u64 {
        let value = value << 32 | value;
        writeln!(text, "[[rule]]\ncalls = ['prctl']\nargs = ['arg1 == {value}', 'arg2 == {value}']\naction = 'log'\nreason = 'r'").unwrap();
    }
    let error = compile(&file::parse(&text, "p").unwrap(), PolicyVariant::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot use the program of seccomp policy `p`");
    assert!(error.hint().is_some_and(|hint| hint.contains("4,096")));
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_compiled_policy_is_kept_by_its_content_and_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let variant = PolicyVariant::default();
    let first = compile_cached(&everything(), variant, Some(folder.path())).unwrap();
    let [path] = files_in(folder.path()).try_into().unwrap();
    let written = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(compile_cached(&everything(), variant, Some(folder.path())).unwrap(), first);
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written);
    // Another variant or another policy is another file; one that makes no difference is not.
    let kernel = bryo::spec::seccomp::KernelVersion::new(9, 9);
    compile_cached(&everything(), PolicyVariant { kernel, ..variant }, Some(folder.path()))
        .unwrap();
    assert_eq!(files_in(folder.path()).len(), 1);
    let hiding = PolicyVariant { openat2: OpenAt2::Hide, ..variant };
    let other = compile_cached(&everything(), hiding, Some(folder.path())).unwrap();
    assert_ne!(other, first);
    compile_cached(&docker_policy(""), variant, Some(folder.path())).unwrap();
    assert_eq!(files_in(folder.path()).len(), 3);
    assert_eq!(compile_cached(&everything(), variant, None).unwrap(), first);
}

#[test]
fn a_file_in_the_cache_that_is_not_what_was_written_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let variant = PolicyVariant::default();
    let first = compile_cached(&everything(), variant, Some(folder.path())).unwrap();
    let [path] = files_in(folder.path()).try_into().unwrap();
    let good = std::fs::read(&path).unwrap();
    let mut flipped = good.clone();
    let at = flipped.len() / 2;
    flipped[at] ^= 1;
    let truncated = good[..good.len() - 8].to_vec();
    for bad in [flipped, truncated, Vec::new(), vec![b'x'; 1 << 20], good[64..].to_vec()] {
        std::fs::write(&path, &bad).unwrap();
        assert_eq!(compile_cached(&everything(), variant, Some(folder.path())).unwrap(), first);
        assert_eq!(std::fs::read(&path).unwrap(), good);
    }
    // Whatever else has its name is no policy either, and is not followed.
    std::fs::remove_file(&path).unwrap();
    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, &good).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(compile_cached(&everything(), variant, Some(folder.path())).unwrap(), first);
    assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
    std::fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(compile_cached(&everything(), variant, Some(folder.path())).unwrap(), first);
    assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
    let missing = folder.path().join("missing");
    let error = compile_cached(&everything(), variant, Some(&missing)).unwrap_err();
    assert!(error.to_string().starts_with("cannot write the compiled policy"), "{error}");
}

#[test]
fn the_program_of_a_step_is_found_or_made() {
    let variant = PolicyVariant::default();
    let builtin = |name: &str| FilterProgram::Builtin { name: name.to_owned(), variant };
    for name in ["default", "default-32", "strict", "init"] {
        let found = program(&builtin(name), None).unwrap();
        assert_eq!(
            found,
            compile(&file::builtin(name).unwrap().unwrap(), variant).unwrap(),
            "{name}"
        );
        assert_eq!(found.instructions().len() * 8, found.bytes().len(), "{name}");
    }
    let custom = FilterProgram::Custom { policy: Box::new(everything()), variant };
    assert_eq!(program(&custom, None).unwrap(), compile(&everything(), variant).unwrap());
    let error = program(&builtin("moon"), None).unwrap_err();
    assert_eq!(error.to_string(), "cannot find a built-in seccomp policy named `moon`");
}
