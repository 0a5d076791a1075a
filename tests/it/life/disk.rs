//! `--disk SIZE`: what is written to copy-on-write layers ends there, and comes into the store at the end.

use super::{applies, changes, ids};
use crate::support::{Host, Need, World, has};

fn record(world: &World, sandbox: &str) -> serde_json::Value {
    serde_json::from_str(&world.bryo(["inspect", sandbox]).ends().succeeds().stdout()).unwrap()
}

/// Bytes that the files named by `what` take on the disk, each once.
const TAKEN: &str = "taken() { find \"$@\" -type f -printf '%i %b\\n' | sort -u | \
                     awk '{ n += $2 * 512 } END { print n + 0 }'; }";

#[test]
fn whoever_writes_whatever_way_gets_no_more_than_the_size() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    world.file("project/large", vec![b'x'; 6 << 20]);
    let fill = format!(
        "{TAKEN}
        for n in 1 2 3 4; do (head -c 3000000 /dev/zero >many$n; head -c 3000000 /dev/zero >~/other$n) & done
        wait
        fallocate -l 3m reserved
        truncate -s 1t sparse && head -c 3000000 /dev/zero | dd of=sparse bs=64k seek=8M conv=notrunc status=none
        python3 -c \"import os; fd = os.memfd_create('x'); os.truncate(fd, 3 << 20); out = os.open('sent', 577); \
                     os.sendfile(out, fd, 0, 3 << 20)\"
        rm -f many1; head -c 30000000 /dev/zero >again
        echo more >>large
        taken . ~"
    );
    let run = |flags: &[&str]| world.sandbox().arg("--rm").args(flags).run(&fill);
    // The control: without it there is room for all of that.
    let control = run(&[]);
    let bytes = |text: &str| text.trim().parse::<u64>().unwrap();
    assert!(bytes(&control.stdout()) > 25_000_000, "{control}");
    let bounded = run(&["--disk", "4m"]);
    assert!(bytes(&bounded.stdout()) <= (4 << 20) + (6 << 20), "{bounded}");
    bounded.stderr_has("No space left on device");
}

#[test]
fn names_alone_do_not_fill_memory() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    // No file has a byte: each takes memory all the same, a kilobyte out of the sum.
    let many = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do mkdir $n && \
                seq -f $n/%g 1000 | xargs touch 2>/dev/null || break; done; echo $n";
    world.sandbox().args(["--rm", "--disk", "1m"]).run(many).stdout_is("1\n");
    world.sandbox().args(["--rm", "--disk", "64m"]).run(many).stdout_is("8\n");
    world.sandbox().args(["--rm", "--disk", "1g"]).run(many).stdout_is("20\n");
}

/// Every kind of change.
const CHANGES: &str = "echo changed >changed; rm gone; rm -r replaced; mkdir replaced; echo y >replaced/b; \
    rm -r dir; echo now a file >dir; rm file; mkdir file; echo x >file/x; \
    head -c 300000 /dev/urandom >base; ln base linked; ln base replaced/linked; mkfifo fifo; \
    ln -s 'no where' link; truncate -s 9m sparse; echo mid | dd of=sparse bs=1 seek=5M conv=notrunc status=none; \
    chmod 640 kept; touch -d 2001-02-03T04:05:06.789 base kept; mkdir -p deep/er/and; chmod 1777 deep; \
    printf x >\"$(printf 'a\\nb\\377')\"; python3 -c \"import os; os.setxattr('base', 'user.mine', b'v')\"; \
    mkdir closed; echo in >closed/in; chmod 000 closed; touch -d 2002-02-03 deep/er; rm gone2; true";

/// Everything that `stat` and attributes tell of the layers below a directory; times of what is not from today. An
/// overlay has a number of its own, and more names for its whiteouts in its work directory.
const TREE: &str = r"
import os, stat, sys, time
root = sys.argv[1]
def look(path):
    s = os.lstat(path)
    if os.path.isdir(path) and not os.path.islink(path) and s.st_mode & 0o700 != 0o700:
        os.chmod(path, 0o700)
    day = time.strftime('%F', time.gmtime(s.st_mtime))
    print(os.fsencode(path[len(root):]), oct(s.st_mode), 0 if stat.S_ISCHR(s.st_mode) else s.st_nlink, s.st_rdev,
          s.st_size if os.path.isfile(path) else '', day if day < '2020' else '',
          os.readlink(path) if os.path.islink(path) else
          [(a, os.getxattr(path, a)) for a in sorted(os.listxattr(path)) if a != 'user.overlay.uuid'])
    if os.path.isdir(path) and not os.path.islink(path):
        for name in sorted(os.listdir(path)):
            if name not in ('record.json', 'work', 'work-0'): look(os.path.join(path, name))
look(root)
";

#[test]
fn a_layer_that_memory_held_is_the_same_as_one_that_was_in_the_store() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    for name in ["changed", "gone", "gone2", "file", "kept", "replaced/a", "replaced/d/e", "dir/a"]
    {
        world.file(format!("project/{name}"), "as it was\n");
    }
    world.keeps(2);
    world.sandbox().args(["--name", "disk"]).run(CHANGES).succeeds();
    world.sandbox().args(["--name", "held", "--disk", "64m"]).run(CHANGES).succeeds();
    let list = |sandbox: &str| {
        let diff = world.bryo(["diff", "--name-status", sandbox]).ends().succeeds();
        diff.stdout()
    };
    assert_eq!(list("held"), list("disk"));
    // The layers themselves, but for what is random, and the times of the run.
    let tree = |sandbox: &str| {
        let id = record(&world, sandbox)["id"].as_str().unwrap().to_owned();
        let layers = world.store().join("kept").join(id);
        world
            .program("/usr/bin/python3", ["-c", TREE, layers.to_str().unwrap()])
            .ends()
            .succeeds()
            .stdout()
    };
    let held = tree("held");
    assert!(held.contains("2001-02-03") && held.contains("user.mine"), "{held}");
    assert_eq!(held, tree("disk"));
    let held = &record(&world, "held")["held"];
    assert_eq!((held["state"].as_str(), held["left_out"].as_u64()), (Some("kept"), Some(0)));
    assert!(record(&world, "disk").get("held").is_none());
    world.bryo(["apply", "held"]).ends().succeeds();
    assert_eq!(world.read("project/replaced/b"), "y\n");
    assert!(!world.exists("project/gone") && world.exists("project/file/x"));
}

#[test]
fn owners_in_a_layer_that_memory_held_are_those_that_were_given() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    world.keeps(2);
    let script = "mkdir of && echo x >of/seven && ln -s seven of/link && chown 7:8 of/seven of && \
                  chown -h 9:9 of/link && head -c 9000000 /dev/zero >>of/seven";
    let run = |flags: &[&str]| {
        let ids = ["--ids", "subid", "--cap-add", "CHOWN", "--cap-add", "DAC_OVERRIDE"];
        world.sandbox().args(ids).args(flags).run(script)
    };
    // The control: on the disk there is room for all of it.
    run(&["--name", "disk"]).succeeds();
    run(&["--name", "held", "--disk", "4m"]).fails().stderr_has("No space left on device");
    let owners = |sandbox: &str| {
        let id = record(&world, sandbox)["id"].as_str().unwrap().to_owned();
        let layers = world.store().join("kept").join(id);
        let found = world
            .program(
                "/usr/bin/find",
                [
                    layers.to_str().unwrap(),
                    "-path",
                    "*/of*",
                    "-not",
                    "-name",
                    ".wh*",
                    "-printf",
                    "%f %U:%G\n",
                ],
            )
            .ends()
            .succeeds()
            .stdout();
        let mut lines: Vec<String> = found.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let held = owners("held");
    assert_eq!((held.len(), &held), (3, &owners("disk")));
    let own = format!(" {}:", rustix::process::getuid().as_raw());
    assert!(held.iter().all(|line| !line.contains(&own)), "{held:?}");
    world.bryo(["rm", "held"]).ends().succeeds();
    world.bryo(["rm", "disk"]).ends().succeeds();
    world.keeps(0);
}

#[test]
fn a_run_goes_on_with_a_layer_of_either_kind_if_it_fits() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/old", "old\n");
    let run = |flags: &[&str], script: &str| {
        world.sandbox().args(["--name", "n"]).args(flags).run(script)
    };
    run(&[], "rm old; echo one >a").succeeds();
    run(&["--disk", "1m"], "ls; cat a; echo two >>a; head -c 500000 /dev/urandom >b")
        .stdout_is("a\none\n");
    run(&["--disk", "1m"], "ls; head -c 900000 /dev/zero >c").fails().stdout_is("a\nb\n");
    run(&[], "rm c; cat a; echo three >>a; head -c 2000000 /dev/urandom >b")
        .stdout_is("one\ntwo\n");
    let refused = run(&["--disk", "1m"], "echo never");
    refused.stdout_is("").refuses_with(&[
        "cannot enforce `--disk`: what the sandbox wrote before takes more than 1048576 bytes",
        "give more, or drop some of it: `bryo diff` lists it, `bryo discard` takes paths",
    ]);
    assert_eq!(changes(&world, "n"), ["A a", "A b", "D old"]);
    // A new one has nothing that could be too large.
    for size in ["1k", "16k", "40k"] {
        world.sandbox().args(["--disk", size]).run("echo never").stdout_is("").refuses_with(&[
            "cannot enforce `--disk`: what a sandbox begins with, empty, takes more than",
            "hint: each file and directory counts 2 KiB beside what is in it: 128k is about the least",
        ]);
    }
    world.sandbox().args(["--rm", "--disk", "128k"]).run("echo x >new; cat new").stdout_is("x\n");
    run(&["--disk", "8m"], "cat a").stdout_is("one\ntwo\nthree\n");
    assert_eq!(ids(&world).len(), 1);
}

#[test]
fn one_that_runs_and_one_that_was_killed_say_where_its_changes_are() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    let running =
        world.sandbox().args(["--disk", "1m"]).start("echo x >new; echo up; exec sleep 100");
    running.says("up");
    let id = ids(&world).remove(0);
    let diff = || world.bryo(["diff", &id]).ends().succeeds();
    diff().stdout_lacks("new").stderr_has("memory holds what it writes");
    running.kill(rustix::process::Signal::KILL);
    running.ends().dies_of(9);
    diff().stdout_lacks("new").stderr_has("is gone: its run was killed");
    assert_eq!(record(&world, &id)["held"]["state"], "gone");
    world.bryo(["rm", &id]).ends().succeeds();
}

#[test]
fn nothing_is_left_of_a_run_that_wrote_nothing_or_was_to_leave_nothing() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    world.sandbox().args(["--disk", "1m"]).run("true").succeeds();
    world.sandbox().args(["--disk", "1m", "--rm"]).run("echo x >new").succeeds();
    world.sandbox().args(["--disk", "1m", "-d"]).run("true").refuses_with(&[
        "cannot enforce `--disk`",
        "a detached one may end in a kill",
        "run it without `--detach`",
    ]);
    assert!(ids(&world).is_empty());
}

/// Takes what it can get of names, of attributes and of content, in an order. Prints what the kernel counts for it.
const TAKE_ALL: &str = r"
import errno, os, sys
taken, fds = 0, []
def fill(step):
    global taken
    try:
        for n in range(1 << 20):
            taken += step(n)
            if taken > 200 << 20: break
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT): raise
def name(n):
    os.close(os.open('/tmp/%0100d' % n, os.O_CREAT | os.O_WRONLY)); return 1024
def more(n):
    os.link('/tmp/own', '/tmp/link%d' % n); return 1024
def attribute(n, size):
    os.setxattr(own, 'user.%d-%d' % (size, n), b'v' * size); return size
own = os.open('/tmp/own', os.O_CREAT | os.O_RDWR)
ways = {'names': lambda: fill(name), 'links': lambda: fill(more), 'content': lambda: fill(lambda n: os.write(own, b'x' * 4096)),
        'attributes': lambda: [fill(lambda n: attribute(n, size)) for size in (60000, 4000, 100)]}
for way in sys.argv[1:]: ways[way]()
print(taken)
";

#[test]
fn names_attributes_and_content_together_get_no_more_than_the_size() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    world.file("project/take.py", TAKE_ALL);
    let take = |flags: &[&str], order: &str| {
        let script = format!("exec python3 take.py {order}");
        let ended = world.sandbox().arg("--rm").args(flags).run(&script).succeeds();
        ended.stdout().trim().parse::<u64>().unwrap()
    };
    for order in ["names attributes content", "attributes links content", "content links"] {
        for (size, bytes) in [("1m", 1 << 20), ("8m", 8 << 20), ("64m", 64 << 20)] {
            let taken = take(&["--disk", size], order);
            assert!(taken > bytes / 2 && taken <= bytes, "{order} {size}: {taken}");
        }
    }
    // What has a size of its own out of the sum takes no more either.
    let taken = take(&["--disk", "8m", "--tmpfs", "/tmp:2m"], "names attributes content");
    assert!(taken > 1 << 20 && taken <= 2 << 20, "{taken}");
    // The control: without a sum a size is one of content, and names come on top.
    let taken = take(&["--tmpfs", "/tmp:2m"], "names attributes content");
    assert!(taken > 16 << 20, "{taken}");
}

#[test]
fn one_that_may_mount_more_memory_is_refused() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    let attack = "unshare -Urm sh -c 'mount -t tmpfs -o size=8m t /tmp && head -c 6000000 /dev/zero >/tmp/x && \
                  stat -c %s /tmp/x'";
    // The control: what is mounted inside is in no sum.
    world.sandbox().args(["--rm", "--nesting"]).run(attack).stdout_is("6000000\n");
    let bounded = || world.sandbox().args(["--rm", "--disk", "1m"]);
    let refused = bounded().arg("--nesting").run(attack);
    refused.stdout_is("").refuses_with(&["cannot enforce `--disk`", "namespaces of its own"]);
    bounded().run(attack).fails().stdout_is("");
}

/// Takes what it can get in every place that it may write, 6 MB in each, and keeps it after the name is gone. Prints
/// the bytes of it, and how often there was no more.
const TAKE: &str = r"
import errno, os
places = [p for p in ['.', os.environ['HOME'], '/tmp', '/var/tmp', '/run', '/dev/shm', '/mine'] if os.access(p, os.W_OK)]
held, full = [], 0
for round, place in enumerate(places * 2):
    fd = os.open(place + '/taken%d' % round, os.O_CREAT | os.O_RDWR)
    held.append(fd)
    try:
        if round < len(places):
            left = 3 << 20
            while left > 0: left -= os.write(fd, b'x' * 65536)
        else:
            os.posix_fallocate(fd, 1 << 40, 3 << 20)
    except OSError as error:
        if error.errno != errno.ENOSPC: raise
        full += 1
    os.unlink(place + '/taken%d' % round)
print(sum(os.fstat(fd).st_blocks for fd in held) * 512, full, len(places))
";

#[test]
fn layers_and_private_file_systems_together_get_no_more_than_the_size() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    let script = format!("exec python3 -c \"{TAKE}\"");
    let run = |flags: &[&str]| {
        let ended = world.sandbox().arg("--rm").args(flags).run(&script).succeeds();
        let numbers: Vec<u64> =
            ended.stdout().split_whitespace().map(|word| word.parse().unwrap()).collect();
        (numbers[0], numbers[1], numbers[2])
    };
    // The control: without it there is room for all of that.
    let (taken, full, places) = run(&["--tmpfs", "/mine"]);
    // (fuse-overlayfs does not tell of all that was reserved in a file without a name.)
    assert!(taken >= 36 << 20 && (full, places) == (0, 7), "{taken} {full} {places}");
    let (taken, full, _) = run(&["--tmpfs", "/mine", "--disk", "8m"]);
    assert!(taken > 6 << 20 && taken <= 8 << 20 && full >= 9, "{taken} {full}");
    // What has a size of its own keeps it, out of the same sum.
    let (taken, full, _) = run(&["--disk", "8m", "--shm-size", "2m", "--tmpfs", "/mine:1m"]);
    assert!(taken > 5 << 20 && taken <= 8 << 20 && full >= 9, "{taken} {full}");
}

#[test]
fn a_private_file_system_within_the_size_is_as_it_is_without() {
    if !applies() || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    let look = "for p in /tmp /var/tmp /run /run/lock /run/user/$(id -u) /dev/shm; do
                    echo $p $(stat -c '%a %u:%g' $p) $(ls -A $p | grep -v lock | grep -v user)
                done
                awk '$5 ~ \"^/(tmp|var/tmp|run|dev/shm)$\" { print $5, $6 }' /proc/self/mountinfo
                cp /bin/true /dev/shm/; /dev/shm/true || echo no programs
                cp /bin/true /tmp/; /tmp/true && echo programs; ls -A /proc/self/fd | wc -l";
    let control = world.sandbox().arg("--rm").run(look).succeeds().stdout();
    assert!(
        control.contains("/tmp 1777") && control.contains("no programs\nprograms"),
        "{control}"
    );
    world.sandbox().args(["--rm", "--disk", "8m"]).run(look).stdout_is(&control);
}
