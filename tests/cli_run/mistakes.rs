//! What is wrong with a command line: one error that names the words, and what was meant.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use bryo::front::cli::run::{Kind, parse};
use bryo::report::Failure;

use super::{caller, outcome};

/// Words before the command, and what the error has to say.
const MISTAKES: &[(&[&str], &str)] = &[
    (&["--profile", "nope"], "cannot find a profile named `nope`"),
    (&["--profile", "../x/../y.toml"], "cannot read profile `../x/../y.toml`"),
    (&["--profile", "a b"], "cannot take `a b` as the name of a profile"),
    (&["--profile="], "cannot take `` as the name of a profile"),
    (&["--cow", ""], "cannot take `` for `--cow`: it is empty"),
    (&["--timeout", "-1"], "cannot take `-1` for `--timeout`: it must be more than 0"),
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
        "cannot take `alice` for `--user`: no account in `/etc/passwd` has that name",
    ),
    (
        &["--user", "root:no-such-group"],
        "cannot take `root:no-such-group` for `--user`: no group in `/etc/group`",
    ),
    (&["--user", "1000:"], "cannot take `1000:` for `--user`: it is neither `root` nor a"),
    (
        &["--user", "daemon", "--rootfs", "/x"],
        "cannot take `daemon` for `--user`: names are those of this machine",
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
    (
        &["--network", "user", "--net-rate", "50X"],
        "cannot take `50X` for `--net-rate`: its unit is none of k, M and G",
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
