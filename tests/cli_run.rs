//! The command line of `bryo run`: what each flag asks for, and one clear error for each mistake.
#![expect(
    clippy::panic,
    reason = "the exceptions for tests do not reach helper functions of integration tests"
)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use bryo::front::cli::run::{Input, Kind, Run, Show, parse};
use bryo::front::cli::surroundings::Surroundings;
use bryo::front::cli::usage::Asked;
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

/// Words before the command, and what the error has to say.
const MISTAKES: &[(&[&str], &str)] = &[
    (&["--profile", "nope"], "cannot find a profile named `nope`"),
    (&["--profile", "../x/../y.toml"], "cannot read profile `../x/../y.toml`"),
    (&["--profile", "a b"], "cannot take `a b` as the name of a profile"),
    (&["--profile="], "cannot take `` as the name of a profile"),
    (&["--cow", ""], "cannot take `` for `--cow`: it is empty"),
    (&["--timeout", "-1"], "cannot take `-1` for `--timeout`: it is not a duration"),
    (
        &["--write", "gone/../x"],
        "cannot resolve `gone/../x` for `--write`: no such file or directory",
    ),
    (&["--read", "/x", "--hide", "/x/"], "cannot take both `--read /x` and `--hide /x`"),
    (&["--read", "/x", "--read", "/x"], "cannot take `--read /x` twice"),
    (&["--tmpfs", "/x", "-v", "/a:/x"], "cannot take both `--tmpfs /x` and `--volume /x`"),
    (
        &["--tmpfs", "/x:big"],
        "cannot take `/x:big` for `--tmpfs`: after the path there can only be a size",
    ),
    (&["--tmpfs", "/x:0"], "cannot take `/x:0` for `--tmpfs`: it must be more than 0"),
    (&["--device", "/dev/a:/dev/b"], "cannot take `/dev/a:/dev/b` for `--device`"),
    (&["-v", "/a"], "cannot take `/a` for `--volume`: there is no `:`"),
    (&["-v", "data:/b"], "cannot take `data:/b` for `--volume`: there are no named volumes yet"),
    (&["-v", "/a:b"], "cannot take `/a:b` for `--volume`: the place inside has to begin"),
    (&["-v", "/a:/b/../c"], "for `--volume`: the place inside has to begin"),
    (&["-v", "/a:/b:rx"], "cannot take `/a:/b:rx` for `--volume`: there is no such mode"),
    (&["-v", "/a:/b:z"], "files of the host are not relabelled"),
    (&["-v", ":/b"], "cannot take `` for `--volume`: it is empty"),
    (&["--rootfs", "/x", "--root", "empty"], "cannot take both `--rootfs` and `--root`"),
    (&["--root", "full"], "cannot take `full` for `--root`: it is none of `host`, `empty`"),
    (&["--overlay", "kernal"], "cannot take `kernal` for `--overlay`"),
    (&["--read-only=maybe"], "cannot take `maybe` for `--read-only`"),
    (&["--shm-size", "1x"], "cannot take `1x` for `--shm-size`: it is not a size"),
    (
        &["--user", "alice"],
        "cannot take `alice` for `--user`: it is neither `root` nor a numeric id",
    ),
    (&["--ids", "many"], "cannot take `many` for `--ids`"),
    (&["--hostname", "a_b"], "cannot take `a_b` for `--hostname`: it is not a host name"),
    (&["--network", "sandbox:"], "cannot take `sandbox:` for `--network`: there are"),
    (
        &["--network", "bridge:../x"],
        "cannot take `bridge:../x` for `--network`: it is not the name",
    ),
    (&["--network", "macvlan"], "cannot take `macvlan` for `--network`: it is none of"),
    (&["--network", "nnoe"], "cannot take `nnoe` for `--network`: it is none of"),
    (
        &["--profile", "agent", "--net=host"],
        "cannot take `--network host` with the profile `agent`",
    ),
    (&["--seccomp", "defaullt"], "cannot take `defaullt` for `--seccomp`: it is none of"),
    (
        &["--seccomp", "default", "--security-opt", "seccomp=default"],
        "cannot take `--seccomp` twice",
    ),
    (&["--security-opt", "no-new-privileges=false"], "a payload never gains privileges"),
    (
        &["--security-opt", "nothing"],
        "cannot take `nothing` for `--security-opt`: there is no such option",
    ),
    (&["--landlock", "yes"], "cannot take `yes` for `--landlock`"),
    (&["--cap-add", "ROOT"], "there is no capability `ROOT`"),
    (
        &["--cap-add", "KILL", "--cap-drop", "kill"],
        "cannot take both `--cap-add CAP_KILL` and `--cap-drop CAP_KILL`",
    ),
    (
        &["--cap-add", "all", "--cap-drop", "all"],
        "cannot take both `--cap-add all` and `--cap-drop all`",
    ),
    (&["--pids-limit", "0"], "cannot take `0` for `--pids-limit`: it must be more than 0"),
    (&["--pids-limit", "ten"], "cannot take `ten` for `--pids-limit`: it is not a whole number"),
    (&["--ulimit", "nofile"], "cannot take `nofile` for `--ulimit`: it is not a limit"),
    (&["--ulimit", "files=1"], "cannot take `files=1` for `--ulimit`: there is no such limit"),
    (&["--ulimit", "core=0", "--ulimit", "core=1"], "cannot take `--ulimit core` twice"),
    (&["--ulimit", "nproc=5"], "processes are counted by `--pids-limit`"),
    (&["--timeout", "5x"], "cannot take `5x` for `--timeout`: it is not a duration"),
    (&["--timeout", "5", "--timeout", "6"], "cannot take `--timeout` twice"),
    (&["--name", "-x"], "cannot find a flag `-x` of `bryo run`"),
    (&["--name="], "cannot take `` for `--name`: it is empty"),
    (&["--name=-x"], "cannot take `-x` for `--name`: it is not a name"),
    (&["--pass-fd", "1"], "cannot take `1` for `--pass-fd`: it is not a descriptor above 2"),
    (&["--pass-fd=3", "--pass-fd=3"], "cannot take `--pass-fd 3` twice"),
    (&["-e", "=x"], "cannot take `=x` for `--env`: there is no name before the `=`"),
    (
        &["--env-file", "/nonexistent/e"],
        "cannot read `/nonexistent/e` for `--env-file`: no such file",
    ),
    (&["--init=false"], "cannot take `--init=false`: processes that outlive"),
    (&["--interactive=false", "-t"], "cannot take both `--interactive=false` and `--tty`"),
    (&["--json"], "cannot take `--json` without `--dry-run`"),
    (&["-q", "--verbose"], "cannot take both `--quiet` and `--verbose`"),
    (&["-q", "-q"], "cannot take `--quiet` twice"),
    (&["--rm", "--rm=false"], "cannot take `--rm` twice"),
    (&["--quiet=yes"], "cannot take a value for `--quiet`"),
    (&["--raed", "/x"], "cannot find a flag `--raed` of `bryo run`"),
    (&["--privileged"], "cannot take `--privileged`: a sandbox without walls is none"),
    (&["--pid=host"], "cannot take `--pid`: with the host's processes in sight"),
    (&["--ipc", "host"], "cannot take `--ipc`"),
    (&["--userns=host"], "cannot take `--userns`"),
    (&["--image", "alpine"], "cannot take `--image`: images are not there yet"),
    (&["--memory", "much"], "cannot take `much` for `--memory`: it is not a size"),
    (&["-m", "1m"], "cannot take `1m` for `--memory`: it is less than 6 MiB"),
    (&["--memory-swap", "1g"], "cannot take `--memory-swap` without `--memory`"),
    (
        &["--memory=1g", "--memory-swap=10m"],
        "cannot take `10m` for `--memory-swap`: it is less than the memory that `--memory` allows",
    ),
    (&["--memory-reservation=1g"], "cannot take `--memory-reservation`: memory is reserved only"),
    (&["--cpus=x"], "cannot take `x` for `--cpus`: it is not a number of processors"),
    (&["--cpus=0.001"], "cannot take `0.001` for `--cpus`: it is less than 0.01"),
    (&["--cpu-weight=0"], "cannot take `0` for `--cpu-weight`: it is not between 1 and 10000"),
    (&["--io-max", "5"], "cannot take `5` for `--io-max`: it is not a list of rates"),
    (&["--io-max", "/x:bps=5"], "cannot take `bps=5` for `--io-max`: it is not a list of rates"),
    (&["--io-max", "/:rbps=5", "--io-max=/:wbps=5"], "cannot take `--io-max /` twice"),
    (&["--cgroup=host"], "cannot take `host` for `--cgroup`"),
    (&["--io-weight=0"], "cannot take `0` for `--io-weight`: it is not between 1 and 10000"),
    (&["--blkio-weight=500"], "cannot take `--blkio-weight`: its weights were those of the old"),
    (&["--device-read-bps=/dev/sda:1m"], "cannot take `--device-read-bps`: the four are one flag"),
    (&["--cpuset-cpus=2-1"], "cannot take `2-1` for `--cpuset-cpus`: it is not a list"),
    (&["--cpu-shares=512"], "cannot take `--cpu-shares`: shares were those of the old"),
    (&["--ro-bind", "/", "/"], "cannot take `--ro-bind`: the host's tree is there"),
    (&["--unshare-all"], "cannot take `--unshare-all`: it is always so"),
    (&["--report", "-"], "cannot take `-` for `--report`: standard output"),
    (&["-c", "512"], "cannot take `-c`: shares were those of the old"),
    (&["--cpu-quota=5"], "cannot take `--cpu-quota`: the two say together"),
    (&["--disk", "x"], "cannot take `x` for `--disk`: it is not a size"),
    (&["--disk=0"], "cannot take `0` for `--disk`: it must be more than 0"),
    (&["--storage-opt", "size=5g"], "cannot take `--storage-opt`: there is no storage driver"),
    (
        &["--network", "user", "--net-rate", "0"],
        "cannot take `0` for `--net-rate`: it lets nothing through",
    ),
    (
        &["--on-network-loss", "end"],
        "cannot take `end` for `--on-network-loss`: there is no network that could be lost",
    ),
    (
        &["--network", "user", "--on-network-loss", "die"],
        "cannot take `die` for `--on-network-loss`: it is none of",
    ),
    (
        &["--network", "user", "--net-rate", "5"],
        "cannot take `5` for `--net-rate`: it does not say whether it counts bits or bytes",
    ),
    (&["--network", "user", "--net-rate", "10MB"], "it does not say whether it counts bits"),
    (
        &["--net-rate", "10M"],
        "cannot take `10M` for `--net-rate`: without a network nothing passes",
    ),
    (
        &["--network", "host", "--net-rate", "1M/2M"],
        "cannot take `1M/2M` for `--net-rate`: what the host",
    ),
    (&["--network", "bridge", "--net-rate", "1M"], "all members of a network have one way out"),
    (&["--network", "sandbox:a", "--net-rate", "1M"], "that network is another sandbox's"),
    (&["--network", "pasta", "--allow", "x.org"], "it passes on everything"),
    (&["--network", "slirp4netns", "--net-rate", "1M"], "what that program passes"),
    (&["--network", "pasta", "-p", "80"], "which ports that program has opened"),
    (
        &["--network", "bridge", "--pcap", "x"],
        "the way out of a network of several is the network's",
    ),
    (&["--network", "host", "--pcap", "x"], "cannot take both `--pcap` and `--network host`"),
    (&["--pcap-size", "1m"], "cannot go on without --pcap"),
    (&["--allow", "127.1:80"], "cannot take `127.1:80` for `--allow`"),
    (&["--allow", "https://x.org/"], "cannot take `https://x.org/` for `--allow`"),
    (&["--deny", "*"], "cannot take `*` for `--deny`"),
    (&["--dns", "x.org"], "cannot take `x.org` for `--dns`"),
    (&["--add-host", "db"], "cannot take `db` for `--add-host`"),
    (&["--network", "none", "--allow", "x.org"], "cannot take both `--allow` and `--network none`"),
    (&["--network", "host", "--deny", "x.org"], "cannot take both `--deny` and `--network host`"),
    (&["-d", "--report", "/r"], "cannot take both `--detach` and `--report`"),
    (&["-d", "--rm", "--restart", "always"], "cannot take both `--restart` and `--rm`"),
    (&["--restart", "always"], "cannot take `--restart` without `--detach`"),
    (&["-d", "--restart", "on-failure:x"], "cannot take `on-failure:x` for `--restart`"),
    (&["--stop-signal", "NOSE"], "cannot take `NOSE` for `--stop-signal`: it is no signal"),
    (&["-p", "80-81:80-90"], "cannot take `80-81:80-90` for `--publish`"),
    (&["-plocalhost:80:80"], "cannot take `localhost:80:80` for `--publish`"),
    (&["--publish", "80:80/sctp"], "cannot take `80:80/sctp` for `--publish`"),
    (
        &["--network", "none", "-p", "80"],
        "cannot take `80` for `--publish`: with `--network none` nobody",
    ),
    (&["--network", "host", "-p", "80"], "cannot take `80` for `--publish`: with `--network host`"),
    (&["-P"], "cannot take `-P`: no image says"),
];

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
fn every_mistake_has_one_clear_error() {
    for (words, wanted) in MISTAKES {
        let mut all = words.to_vec();
        all.push("true");
        let failure = outcome(&all).expect_err(&format!("{words:?} is taken"));
        assert!(failure.text.contains(wanted), "{words:?}: {}", failure.text);
        assert_eq!(failure.exit_code, 125);
        assert!(!failure.text.contains('\n'));
    }
}

#[test]
fn a_missing_command_says_how_to_write_one() {
    for words in [&[][..], &["--rm"], &["--rm", "--"]] {
        let failure = outcome(words).unwrap_err();
        assert_eq!(failure.text, "cannot go on without a command", "{words:?}");
        assert!(failure.hint.unwrap().contains("bryo run -- make"));
    }
    assert!(outcome(&[""]).unwrap_err().text.contains("its name is empty"));
}

#[test]
fn a_slip_of_the_hand_gets_a_suggestion() {
    for (words, wanted) in [
        (&["--raed", "/x"][..], "did you mean `--read`?"),
        (&["--networ", "none"], "did you mean `--network`?"),
        (&["--overlay", "kernal"], "did you mean `kernel`?"),
        (&["--ulimit", "nofiles=1"], "did you mean `nofile`?"),
        (&["--profile", "buidl"], "did you mean `build`?"),
    ] {
        let mut all = words.to_vec();
        all.push("true");
        assert!(outcome(&all).unwrap_err().hint.unwrap().contains(wanted), "{words:?}");
    }
}

#[test]
fn garbage_in_any_flag_is_shown_escaped_and_short() {
    let flags = [
        "--profile",
        "--shm-size",
        "--user",
        "--ids",
        "--hostname",
        "--root",
        "--overlay",
        "--network",
        "--seccomp",
        "--landlock",
        "--cap-add",
        "--security-opt",
        "--pids-limit",
        "--ulimit",
        "--timeout",
        "--name",
        "--pass-fd",
        "--volume",
        "--env-file",
    ];
    let garbage = [
        OsString::from_vec(b"\xff\xfe\x1b[2J".to_vec()),
        OsString::from("\x1b]0;owned\x07\n\u{202e}"),
        OsString::from("x".repeat(10 << 20)),
        OsString::from_vec(vec![0x80; 10 << 20]),
    ];
    for flag in flags {
        for value in &garbage {
            let words = [flag.into(), value.clone(), "true".into()];
            let Err(error) = parse(Kind::Run, &words, &caller()) else {
                panic!("{flag} takes garbage")
            };
            let failure = Failure::new(&error);
            let shown = failure.render(&bryo::report::Look::plain());
            assert!(shown.len() < 4000, "{flag}: {} bytes", shown.len());
            let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!shown.contains(raw), "{flag}: {shown:?}");
            assert!(shown.lines().count() <= 2, "{flag}: {shown}");
        }
    }
}

#[test]
fn a_bad_line_of_an_environment_file_is_named() {
    for (content, wanted) in [
        (&b"A=1\nB C=2\n"[..], "line 2: it is not the name of a variable"),
        (b"A=\xff\n", "line 1: it is not UTF-8"),
        (b"\n\n=x\n", "line 3: there is no name before the `=`"),
        (b"A=\0\n", "line 1: it contains a NUL byte"),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let failure = outcome(&["--env-file", file.path().to_str().unwrap(), "true"]).unwrap_err();
        assert!(failure.text.contains(wanted), "{}", failure.text);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![b'x'; 10 << 20]).unwrap();
    let failure = outcome(&["--env-file", file.path().to_str().unwrap(), "true"]).unwrap_err();
    assert!(failure.text.ends_with("it is too large"), "{}", failure.text);
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
