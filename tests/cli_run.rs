//! The command line of `bryo run`: what each flag asks for. What is wrong with one: `mistakes`.
#![expect(
    clippy::panic,
    reason = "the exceptions for tests do not reach helper functions of integration tests"
)]

#[path = "cli_run/mistakes.rs"]
mod mistakes;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use bryo::front::cli::run::{Input, Kind, Run, Show, parse};
use bryo::front::cli::surroundings::Surroundings;
use bryo::front::cli::usage::Asked;
use bryo::profile::value::LONGEST;
use bryo::report::Failure;
use bryo::spec::command::Keep;
use bryo::spec::limits::Resource;
use bryo::spec::rootfs::{Access, Base, HomeView, Origin, OverlayChoice, VolumeMode};
use bryo::spec::{IdMode, Need, Network, SeccompChoice, Spec, Terminal, User};

fn caller() -> Surroundings {
    let variables = [
        ("HOME", "/home/al"),
        ("PATH", "/usr/bin:/bin"),
        ("LC_ALL", "C.UTF-8"),
        ("AWS_SECRET", "x"),
        ("AWS_REGION", "eu"),
        ("SHELL", "/bin/zsh"),
    ];
    Surroundings {
        environment: variables.map(|(name, value)| (name.into(), value.into())).into(),
        workdir: Some(PathBuf::from("/home/al/project")),
    }
}

fn outcome(words: &[&str]) -> Result<Run, Failure> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    match parse(Kind::Run, &words, &caller()) {
        Ok(Asked::For(run)) => Ok(run),
        Ok(Asked::Help(text)) => panic!("{text}"),
        Err(error) => Err(Failure::new(&error)),
    }
}

fn run(words: &[&str]) -> Run {
    let mut all = words.to_vec();
    all.push("true");
    outcome(&all).unwrap_or_else(|failure| panic!("{words:?}: {}", failure.text))
}

fn spec(words: &[&str]) -> Spec {
    run(words).spec
}

fn requests(words: &[&str]) -> Vec<(String, Access)> {
    let requests = spec(words).rootfs.requests;
    let of_flags = requests.into_iter().filter(|request| request.origin == Origin::Flag);
    of_flags.map(|request| (request.path.to_string(), request.access)).collect()
}

fn variable(spec: &Spec, name: &str) -> Option<String> {
    let found = spec.command.environment.iter().find(|v| v.name.as_bytes() == name.as_bytes());
    found.map(|variable| variable.value.to_string())
}

#[test]
fn without_flags_the_default_profile_decides() {
    let Run { spec, show, input, apply_on_success } =
        outcome(&["make", "-j4", "--dry-run"]).unwrap();
    assert!(!apply_on_success && outcome(&["--apply-on-success", "x"]).unwrap().apply_on_success);
    assert_eq!(spec.profile, "default");
    assert_eq!(spec.command.argv, ["make", "-j4", "--dry-run"].map(Into::into));
    assert_eq!((show, input), (Show::Summary, Input::Connected));
    assert_eq!((&spec.rootfs.base, &spec.rootfs.home), (&Base::Host, &HomeView::Cow));
    assert_eq!(
        (spec.network, spec.ids.user, spec.ids.mode),
        (Network::None, User::Caller, IdMode::Single)
    );
    assert_eq!(
        (spec.limits.processes, spec.limits.processes_need),
        (Some(4096), Need::IfAvailable)
    );
    assert!(spec.confine.capabilities.is_empty() && spec.confine.notify && !spec.confine.nesting);
    assert!(spec.rootfs.secrets.len() > 100 && spec.rootfs.requests.len() > 50);
}

#[test]
fn flags_stand_before_the_command_and_a_double_dash_may_divide_them() {
    for words in
        [&["-q", "--", "ls", "--rm"][..], &["-q", "ls", "--rm"], &["--quiet", "--", "ls", "--rm"]]
    {
        let run = outcome(words).unwrap();
        assert_eq!(run.spec.command.argv, ["ls", "--rm"].map(Into::into));
        assert_eq!((run.show, run.spec.lifetime.keep), (Show::Nothing, Keep::IfWritten));
    }
    assert_eq!(spec(&["--rm"]).lifetime.keep, Keep::Nothing);
    assert_eq!(spec(&["--rm=false"]).lifetime.keep, Keep::IfWritten);
}

#[test]
fn places_are_asked_for_one_by_one() {
    let asked = requests(&[
        "--cow",
        "/c",
        "--write=out",
        "--read",
        "~/r",
        "--hide",
        "/h",
        "--socket",
        "/s",
        "--device",
        "/dev/kvm",
    ]);
    let wanted = [
        ("/c", Access::Cow),
        ("/home/al/project/out", Access::Write),
        ("/home/al/r", Access::Read),
        ("/h", Access::Hide),
        ("/s", Access::Socket),
        ("/dev/kvm", Access::Device),
    ];
    assert_eq!(asked, wanted.map(|(path, access)| (path.to_owned(), access)));
}

#[test]
fn a_private_place_may_have_a_size() {
    let tmpfs = |text| requests(&["--tmpfs", text]);
    assert_eq!(tmpfs("/t"), [("/t".to_owned(), Access::Tmpfs { size: None })]);
    for text in ["/t:64m", "/t:size=64m", "/t:rw,size=64m,nosuid"] {
        assert_eq!(tmpfs(text), [("/t".to_owned(), Access::Tmpfs { size: Some(64 << 20) })]);
    }
}

#[test]
fn a_volume_is_writable_without_a_mode() {
    let volume = |text| spec(&["-v", text]).rootfs.volumes.remove(0);
    let (plain, cow) = (volume("./a:/b"), volume("/a:/b:cow"));
    assert_eq!(
        (plain.source.to_string(), plain.mode),
        ("/home/al/project/a".to_owned(), VolumeMode::Rw)
    );
    assert_eq!((cow.target.to_string(), cow.mode), ("/b".to_owned(), VolumeMode::Cow));
    assert_eq!(volume("/a:/b:ro").mode, VolumeMode::Ro);
}

#[test]
fn the_root_the_ids_and_the_network_are_chosen() {
    let root =
        spec(&["--rootfs", "tree", "--overlay", "fuse", "--read-only", "--shm-size=1g", "-u", "0"]);
    assert_eq!(
        root.rootfs.base,
        Base::Directory(bryo::spec::HostPath::new("/home/al/project/tree").unwrap())
    );
    assert_eq!((root.rootfs.overlay, root.rootfs.read_only), (OverlayChoice::Fuse, true));
    assert_eq!((root.rootfs.shm_size, root.ids.user), (Some(1 << 30), User::Root));
    assert_eq!(
        variable(&root, "HOME").as_deref(),
        Some("/root"),
        "the host's home means nothing there"
    );
    let other = spec(&[
        "--root",
        "empty",
        "--ids",
        "subid",
        "--user=7:8",
        "--net",
        "host",
        "--hostname",
        "box",
    ]);
    assert_eq!((other.rootfs.base, other.ids.mode), (Base::Empty, IdMode::Subid));
    assert_eq!(other.ids.user, User::Numeric { uid: 7, gid: 8 });
    assert_eq!((other.network, other.hostname.as_deref()), (Network::Host, Some("box")));
}

#[test]
fn confinement_follows_dockers_words() {
    let caps = |words: &[&str]| -> Vec<String> {
        spec(words).confine.capabilities.iter().map(ToString::to_string).collect()
    };
    assert_eq!(caps(&["--cap-add", "net_raw,CHOWN"]), ["CAP_CHOWN", "CAP_NET_RAW"]);
    assert_eq!(caps(&["--cap-drop", "all", "--cap-add=KILL"]), ["CAP_KILL"]);
    assert_eq!(caps(&["--cap-add=ALL", "--cap-drop=KILL"]).len(), 40);
    let all = spec(&[
        "--seccomp",
        "unconfined",
        "--landlock",
        "required",
        "--no-notify",
        "--security-opt",
        "no-new-privileges",
    ]);
    assert_eq!(
        (all.confine.seccomp, all.confine.landlock),
        (SeccompChoice::Unconfined, Need::Required)
    );
    assert!(!all.confine.notify);
    let named = spec(&["--security-opt", "seccomp=default-32"]);
    assert_eq!(named.confine.seccomp, SeccompChoice::Builtin("default-32".to_owned()));
}

#[test]
fn what_is_asked_to_end_may_take_a_part_of_a_second_or_for_ever() {
    let patience = |time| spec(&["--stop-timeout", time]).lifetime.stop.timeout;
    assert_eq!(patience("0"), Some(Duration::ZERO));
    assert_eq!(patience("0.5s"), Some(Duration::from_millis(500)));
    assert_eq!(patience("-1"), Some(LONGEST));
    assert!(outcome(&["--stop-timeout", "-2", "--", "true"]).is_err());
}

#[test]
fn limits_and_lifetime_are_taken() {
    let spec = spec(&[
        "--pids-limit",
        "-1",
        "--ulimit",
        "nofile=10:20",
        "--ulimit=core=0",
        "--timeout",
        "1h30m",
        "--name",
        "a.b",
        "--report",
        "r.json",
        "--pass-fd",
        "9",
        "--pass-fd=3",
        "-w",
        "sub",
        "--tty=false",
        "--interactive=false",
    ]);
    assert_eq!((spec.limits.processes, spec.limits.processes_need), (None, Need::Required));
    let limits: Vec<_> = spec.limits.rlimits.iter().map(|l| (l.resource, l.soft, l.hard)).collect();
    assert_eq!(
        limits,
        [(Resource::Nofile, Some(10), Some(20)), (Resource::Core, Some(0), Some(0))]
    );
    assert_eq!(spec.lifetime.timeout, Some(Duration::from_mins(90)));
    assert_eq!(spec.name.as_deref(), Some("a.b"));
    assert_eq!(spec.lifetime.report.unwrap().to_string(), "/home/al/project/r.json");
    assert_eq!(spec.command.descriptors.pass, [3, 9]);
    assert_eq!(spec.command.workdir.unwrap().to_string(), "/home/al/project/sub");
    assert_eq!(spec.command.terminal, Terminal::Never);
    assert_eq!(run(&["-it"]).spec.command.terminal, Terminal::Always);
}

#[test]
fn limits_of_a_group_are_required_by_flags() {
    use bryo::spec::group::Bound;
    let group = |flags: &[&str]| spec(flags).limits.group;
    assert!(group(&[]).is_empty());
    let all = group(&["-m", "64m", "--cpus", "1.5", "--cpu-weight=200", "--cpuset-cpus=3,0-1"]);
    assert_eq!(all.memory, Some(Bound::required(64 << 20)));
    // As Docker: as much swap space as memory. A kernel that does not count it is no reason to refuse.
    assert_eq!(all.swap, Some(Bound { at: 64 << 20, need: Need::IfAvailable }));
    assert_eq!(all.cpu_time, Some(Bound::required(150_000)));
    assert_eq!(all.cpu_weight, Some(Bound::required(200)));
    assert_eq!(all.cpus.unwrap().at.to_string(), "0-1,3");
    let swapless = group(&["--memory=64m", "--memory-swap=64m", "--memory-high=32m"]);
    assert_eq!(swapless.swap, Some(Bound::required(0)));
    assert_eq!(swapless.memory_high, Some(Bound::required(32 << 20)));
    assert_eq!(group(&["--memory=64m", "--memory-swap=-1"]).swap, None);
    assert_eq!(group(&["--io-weight=10000"]).io_weight, Some(Bound::required(10_000)));
    assert_eq!(group(&["--cgroup", "private"]).private, Some(Need::Required));
    assert!(group(&["--memory=-1", "--cpus=-1", "--cgroup=none"]).is_empty());
}

#[test]
fn variables_come_from_the_profile_the_file_and_the_flag() {
    let plain = spec(&[]);
    assert_eq!(variable(&plain, "LC_ALL").as_deref(), Some("C.UTF-8"));
    assert_eq!(variable(&plain, "AWS_SECRET"), None);
    assert_eq!(plain.command.not_passed, ["AWS_REGION", "AWS_SECRET"].map(Into::into));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# comment\n\nA=1 # not one\r\n AWS_REGION\nB=\nGONE\nPATH=/x\n")
        .unwrap();
    let file = file.path().to_str().unwrap();
    let spec =
        spec(&["--env-file", file, "-e", "A=2", "-e", "AWS_S*", "-e", "UNSET", "-e", "X=a=b"]);
    let value = |name| variable(&spec, name);
    assert_eq!(value("A").as_deref(), Some("2"), "the flag beats the file");
    assert_eq!((value("B").as_deref(), value("X").as_deref()), (Some(""), Some("a=b")));
    assert_eq!(
        (value("AWS_SECRET").as_deref(), value("AWS_REGION").as_deref()),
        (Some("x"), Some("eu"))
    );
    assert_eq!((value("GONE"), value("UNSET")), (None, None));
    assert_eq!(value("PATH").as_deref(), Some("/x"), "the file beats the profile");
}

#[test]
fn a_shell_is_the_callers_own() {
    let parsed = parse(Kind::Shell, &["--rm".into()], &caller());
    let Ok(Asked::For(run)) = parsed else { panic!("{parsed:?}") };
    assert_eq!(run.spec.command.argv, ["/bin/zsh"].map(Into::into));
    let parsed = parse(Kind::Shell, &["-c".into(), "echo a b".into()], &caller());
    let Ok(Asked::For(run)) = parsed else { panic!("{parsed:?}") };
    assert_eq!(run.spec.command.argv, ["/bin/zsh", "-c", "echo a b"].map(Into::into));
}

#[test]
fn a_policy_of_system_calls_may_be_a_file_of_either_kind() {
    let directory = tempfile::tempdir().unwrap();
    let choice = |content: &[u8]| {
        let path = directory.path().join("policy");
        std::fs::write(&path, content).unwrap();
        outcome(&["--seccomp", path.to_str().unwrap(), "true"]).map(|run| run.spec.confine.seccomp)
    };
    let docker = br#" {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}"#;
    let own = std::fs::read("profiles/seccomp/default.toml").unwrap();
    for content in [&docker[..], &own] {
        assert!(matches!(choice(content), Ok(SeccompChoice::File { .. })));
    }
    for content in [&b""[..], b"{}", b"{", b"x = 1", b"\xff", &vec![b' '; 10 << 20]] {
        let failure = choice(content).unwrap_err();
        assert!(!failure.text.is_empty() && failure.exit_code == 125, "{}", failure.text);
    }
    assert!(outcome(&["--seccomp", "/nonexistent/p", "true"]).is_err());
    assert!(
        outcome(&["--seccomp", "/dev/zero", "true"]).unwrap_err().text.ends_with("it is a device")
    );
}

#[test]
fn the_network_of_another_sandbox_is_named_in_both_ways() {
    for mode in ["sandbox:db", "container:db"] {
        assert_eq!(spec(&["--network", mode]).network, Network::Sandbox("db".into()));
    }
}

#[test]
fn who_may_be_talked_to_is_network_user() {
    let spec = spec(&[
        "--allow",
        "X.org:443",
        "--allow",
        "x.org:443",
        "--deny",
        "10.0.0.0/8",
        "--dns",
        "192.0.2.53",
    ]);
    assert_eq!(spec.network, Network::User);
    let allowed: Vec<String> = spec.egress.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["x.org:443"]);
    assert_eq!(spec.egress.deny.len(), 1);
    assert_eq!(spec.egress.dns, ["192.0.2.53:53".parse().unwrap()]);
    assert!(!spec.egress.everything);
}

#[test]
fn a_published_port_is_network_user() {
    let spec = spec(&[
        "-p",
        "8080:80",
        "-p8080:80/tcp",
        "--publish=[::1]::53/udp",
        "-p",
        "9000-9002:90-92",
    ]);
    assert_eq!(spec.network, Network::User);
    let published: Vec<String> = spec.publish.iter().map(ToString::to_string).collect();
    assert_eq!(published, ["8080:80/tcp", "[::1]:0:53/udp", "9000-9002:90-92/tcp"]);
}
