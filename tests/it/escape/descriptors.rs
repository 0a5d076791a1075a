//! Open files and working directories that lead out, and what `/proc` tells of our own processes.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::pipe::fcntl_getpipe_size;

use super::{home_is_a_copy, sandbox};
use crate::support::{Running, Stdin, World};

const OPEN: &str = "for n in 3 4 5 6 7 8 9 10 11 12 100 1500 3000; do \
                    if [ -e /proc/self/fd/$n ]; then echo open $n; fi; done";

/// Starts what follows with descriptors open that a careless caller forgot.
const FORGOTTEN: [&str; 4] = [
    "/bin/bash",
    "-c",
    "ulimit -n 4096; exec 3</etc/passwd 9</ 100</etc/hosts 1500</ 3000</etc/passwd; exec \"$@\"",
    "bash",
];

#[test]
fn no_descriptor_above_2_is_inherited() {
    let world = World::new();
    world
        .program("/bin/sh", ["-c", OPEN])
        .under(FORGOTTEN)
        .ends()
        .stdout_is("open 3\nopen 9\nopen 100\nopen 1500\nopen 3000\n");
    let run = sandbox(&world).under(FORGOTTEN);
    run.run(OPEN).succeeds().stdout_is("");
    // What is named passes, and only that.
    let run = sandbox(&world).args(["--pass-fd", "3"]).under(FORGOTTEN);
    run.run(OPEN).succeeds().stdout_is("open 3\n");
}

#[test]
fn a_directory_as_standard_input_is_refused() {
    let world = World::new();
    world.file(".ssh/id", "the key");
    let folder = || Stdin::File(File::open(world.home()).unwrap());
    let control = world.program("/bin/cat", ["/proc/self/fd/0/.ssh/id"]).stdin(folder());
    control.ends().succeeds().stdout_is("the key");
    let run = sandbox(&world).stdin(folder());
    run.run("cat /proc/self/fd/0/.ssh/id").refuses_with(&["descriptor 0", "directory"]);
}

#[test]
fn a_log_that_standard_output_appends_to_cannot_be_truncated() {
    let world = World::new();
    let log = tempfile::NamedTempFile::new_in(world.home().parent().unwrap()).unwrap();
    let attack = "(: >/proc/self/fd/1) 2>/dev/null; echo done";
    let append = || File::options().append(true).open(log.path()).unwrap();
    let earlier = || std::fs::write(log.path(), "earlier\n").unwrap();
    earlier();
    world.program("/bin/sh", ["-c", attack]).stdout_to(append()).ends();
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "done\n", "the control");
    earlier();
    let run = sandbox(&world).stdout_to(append());
    run.run(attack).succeeds();
    let after = std::fs::read_to_string(log.path()).unwrap();
    assert!(after.starts_with("earlier\n") && after.contains("done"), "{after:?}");
}

#[test]
fn a_socket_as_standard_input_does_not_reach_the_payload() {
    let world = World::new();
    let kind = "readlink /proc/self/fd/0 | sed 's/:.*//'";
    let (near, far) = UnixStream::pair().unwrap();
    let file = || Stdin::File(File::from(std::os::fd::OwnedFd::from(far.try_clone().unwrap())));
    world.program("/bin/sh", ["-c", kind]).stdin(file()).ends().stdout_is("socket\n");
    drop(near);
    sandbox(&world).stdin(file()).run(kind).succeeds().stdout_lacks("socket");
}

#[test]
fn nothing_can_be_learnt_or_changed_through_proc_1() {
    let world = World::new();
    let attack = "for f in environ maps mem auxv; do \
                      head -c 1 /proc/1/$f >/dev/null 2>&1 && echo read $f; done; \
                  for l in exe root cwd; do readlink /proc/1/$l >/dev/null 2>&1 && echo link $l; done; \
                  ls /proc/1/fd >/dev/null 2>&1 && echo list fd; \
                  chmod 755 /proc/1/exe 2>/dev/null && echo chmod exe; \
                  tr '\\0' '\\n' </proc/1/environ 2>/dev/null | grep -a TOKEN; \
                  tr '\\0' ' ' </proc/1/cmdline | grep -a marked-word; true";
    // The control is another sandbox, whose pid 1 has the caller's whole environment.
    let other = ["--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all"];
    let other = world.program("/usr/bin/bwrap", other).env("TOKEN", "of the caller");
    let told = other.args(["/bin/sh", "-c", attack, "marked-word"]).ends();
    told.stdout_has("read environ").stdout_has("TOKEN=of the caller").stdout_has("link exe");
    let run = sandbox(&world).env("TOKEN", "of the caller");
    run.exec(["/bin/sh", "-c", attack, "marked-word"]).succeeds().stdout_is("");
}

#[test]
fn a_working_directory_outside_the_root_leads_nowhere() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.file(".ssh/id", "the key");
    let below = world.folder(".ssh/below");
    let attack = "cat id ../id ../../../../../../../../../..$HOME/.ssh/id \
                  /proc/self/cwd/id /proc/self/cwd/../id 2>/dev/null; true";
    let control = world.program("/bin/sh", ["-c", attack]).in_folder(&below);
    control.ends().stdout_is("the key".repeat(3).as_str());
    // In a hidden directory: refused, or begun elsewhere; never shown.
    for flags in [&[][..], &["--workdir", "/proc/self/fd/9"], &["--workdir", "/proc/self/cwd"]] {
        let hold = ["/bin/bash", "-c", "exec 9<.; exec \"$@\"", "bash"];
        let run = sandbox(&world).args(flags).in_folder(&below).under(hold);
        run.run(attack).stdout_lacks("the key");
    }
}

/// Numbers at which a launcher may have something open.
const OF_LAUNCHER: std::ops::Range<u32> = 3..20;

#[test]
fn a_descriptor_of_the_launcher_is_no_way_to_the_host() {
    let world = World::new();
    let hold = ["/bin/bash", "-c", "exec 9</; exec \"$@\"", "bash"];
    let control = world.program("/bin/sh", ["-c", "cd /proc/self/fd/9 && echo out"]);
    control.under(hold).ends().stdout_is("out\n");
    for number in OF_LAUNCHER {
        let at = format!("/proc/self/fd/{number}");
        // Nothing else may be what stops it.
        let run = sandbox(&world).args(["--landlock", "off", "--workdir", &at]);
        run.run("echo out").refuses_with(&["cannot start in", &at]);
        let run = sandbox(&world).args(["--landlock", "off"]);
        run.exec([format!("{at}/../../../../../../../bin/echo"), "out".to_owned()])
            .stdout_lacks("out");
    }
}

#[test]
fn a_link_in_place_of_its_directory_does_not_lead_an_entry_to_the_host() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    let run = sandbox(&world).args(["--landlock", "off", "--name", "s"]);
    let running = run.start("echo up; exec sleep 1000");
    running.says("up");
    let project = world.project().to_str().unwrap().to_owned();
    for number in OF_LAUNCHER {
        let plant = format!("rm -rf {project}; ln -s /proc/self/fd/{number} {project}");
        world.bryo(["exec", "-w", "/", "s", "sh", "-c", &plant]).ends().succeeds();
        let entry = world.bryo(["exec", "s", "sh", "-c", "echo out"]).ends();
        entry.refuses_with(&["cannot start in"]);
    }
    running.kill(rustix::process::Signal::TERM);
    running.ends().exits_with(143);
}

/// Has descriptors 0 and 1 wait for nothing and hold little, says so, and stays until nothing more comes in.
const SPOIL: &str = r"
import fcntl, os, select
for fd in (0, 1):
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
    fcntl.fcntl(fd, 1031, 4096)
os.write(1, b'x')
select.select([0], [], [])
";

/// What starts writes within this time, under any load.
const HEARD: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Which of the caller's pipes wait while what [`SPOIL`] is runs, and after it; and what they hold then.
fn spoilt(start: impl FnOnce(Stdin, File) -> Running) -> ([bool; 2], [bool; 2], [usize; 2]) {
    let ((input, into), (mut out, output)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let (shared, too) = (input.try_clone().unwrap(), output.try_clone().unwrap());
    let running = start(Stdin::File(OwnedFd::from(shared).into()), OwnedFd::from(too).into());
    // The pipe is open here too: of what fails before it writes nothing is heard at it.
    let mut heard = [PollFd::new(&out, PollFlags::IN)];
    let heard = poll(&mut heard, Some(&HEARD)).unwrap();
    assert!(heard == 1, "it wrote nothing: {}", running.ends());
    out.read_exact(&mut [0]).unwrap();
    let ends = [input.as_fd(), output.as_fd()];
    let wait = || ends.map(|fd| !fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK));
    let meanwhile = wait();
    drop(into);
    running.ends().succeeds();
    (meanwhile, wait(), ends.map(|fd| fcntl_getpipe_size(fd).unwrap()))
}

#[test]
fn what_a_payload_does_to_the_callers_pipes_ends_with_it() {
    let world = World::new();
    world.file("project/spoil.py", SPOIL);
    let python = || world.program("/usr/bin/python3", ["spoil.py"]);
    let control = spoilt(|input, output| python().stdin(input).stdout_to(output).starts());
    assert_eq!(control, ([false; 2], [false; 2], [4096; 2]), "the control");
    let unspoilt = ([true; 2], [true; 2], [65536; 2]);
    let run = spoilt(|input, output| {
        sandbox(&world).stdin(input).stdout_to(output).start("exec python3 spoil.py")
    });
    assert_eq!(run, unspoilt);
    // Apart: what runs in the foreground and can leave nothing has no name by which it could be entered.
    let apart = sandbox(&world).args(["-d", "--name", "n"]).leaves();
    apart.exec(["sleep", "100"]).succeeds();
    let exec = world.bryo(["exec", "n", "python3", "spoil.py"]);
    assert_eq!(spoilt(|input, output| exec.stdin(input).stdout_to(output).starts()), unspoilt);
    world.bryo(["stop", "-t", "0", "n"]).ends().succeeds();
}
