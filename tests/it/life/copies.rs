//! `bryo cp`: files out of a sandbox and into one.
//!
//! Long because the cases of one command stand in tables.
#![expect(clippy::too_many_lines, reason = "a table is one table")]

use std::os::unix::fs::{MetadataExt as _, symlink};

use rustix::process::Signal;

use super::applies;
use crate::support::{Ended, Running, Stdin, World};

/// A sandbox that runs under the name `s`, after this in the project.
fn sandbox(world: &World, script: &str) -> Running {
    let script = format!("{script}\necho up; exec sleep 1000");
    let running = world.sandbox().args(["--rm", "--name", "s"]).start(&script);
    running.says("up");
    running
}

fn end(running: Running) {
    running.kill(Signal::TERM);
    running.ends();
}

/// `bryo cp` with these words.
#[track_caller]
fn cp(world: &World, words: &[&str]) -> Ended {
    world.bryo(["cp"].iter().chain(words)).ends()
}

/// A path of the project, inside or not.
fn at(world: &World, path: &str) -> String {
    world.project().join(path).to_str().unwrap().to_owned()
}

fn inside(world: &World, path: &str) -> String {
    format!("s:{}", at(world, path))
}

#[test]
fn copies_out_go_where_docker_puts_them() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(crate::support::Host::MayChange);
    let out = world.folder("out");
    let to = |name: &str| out.join(name).to_str().unwrap().to_owned();
    let running = sandbox(&world, "mkdir -p d/e; echo f >d/f; echo g >d/e/g; chmod 666 d/f");
    let (file, directory) = (inside(&world, "d/f"), inside(&world, "d"));
    let copied =
        |source: &str, dest: &str| cp(&world, &[source, &to(dest)]).succeeds().stderr_is("");
    let refused = |source: &str, dest: &str, why: &str| {
        cp(&world, &[source, &to(dest)]).refuses_with(&["cannot copy", why]);
    };
    copied(&file, "new");
    assert_eq!(world.read("out/new"), "f\n");
    assert_eq!(out.join("new").metadata().unwrap().mode() & 0o7777, 0o644);
    std::fs::write(out.join("new"), "before, and longer").unwrap();
    copied(&file, "new");
    assert_eq!(world.read("out/new"), "f\n");
    refused(&file, "no/", "no such directory");
    refused(&file, "no/f", "no such file or directory\nhint: `mkdir -p`");
    refused(&file, "new/", "it is no directory");
    copied(&file, "");
    assert_eq!(world.read("out/f"), "f\n");
    copied(&directory, "made");
    assert_eq!(world.read("out/made/e/g"), "g\n");
    refused(&directory, "new", "a directory does not replace a file");
    copied(&directory, "made");
    assert_eq!(world.read("out/made/d/e/g"), "g\n");
    copied(&format!("{directory}/."), "made");
    assert_eq!(world.read("out/made/f"), "f\n");
    std::fs::create_dir_all(out.join("under/f")).unwrap();
    refused(&file, "under", "a file does not replace a directory");
    std::fs::write(out.join("under/d"), "").unwrap();
    refused(&directory, "under", "a directory does not replace a file");
    refused(&format!("{file}/"), "x", "no directory");
    refused(&inside(&world, "nothing"), "x", "no such file or directory\nhint: paths inside");
    // A link of the user's own is followed, as far as he typed it.
    symlink("made", out.join("link")).unwrap();
    copied(&file, "link");
    symlink("linked", out.join("dangling")).unwrap();
    copied(&file, "dangling");
    assert_eq!(world.read("out/linked"), "f\n");
    assert!(!world.exists("out/x"));
    let listed = world
        .outside(&format!("{} cp {directory} - | tar t", crate::support::bryo().display()))
        .succeeds();
    assert_eq!(listed.stdout().lines().count(), 4, "{}", listed.stdout());
    for bad in [&["a", "b"][..], &["s:/a", "s:/b"], &["s:/a"], &["s:", "x"], &["-", "x"]] {
        cp(&world, bad).exits_with(125).stderr_has("cannot");
    }
    // An empty variable of a script is not the directory one is in.
    let tmp = inside(&world, "");
    cp(&world, &["", &tmp]).exits_with(125).stderr_has("cannot take `` for `SOURCE`: it is empty");
    cp(&world, &[&file, ""]).exits_with(125).stderr_has("cannot take `` for `DEST`: it is empty");
    cp(&world, &["nobody:/x", "x"]).refuses_with(&["nobody"]);
    std::fs::remove_dir_all(out).unwrap();
    end(running);
}

#[test]
fn copies_in_go_where_docker_puts_them_and_nowhere_the_payload_could_not_write() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.file("project/in/a/f", "text\n");
    symlink("f", world.project().join("in/a/l")).unwrap();
    let running = sandbox(&world, "mkdir t; ln -s /usr/lib out; ln -s t inner");
    let from = |path: &str| at(&world, path);
    let copied =
        |source: &str, dest: &str| cp(&world, &[&from(source), dest]).succeeds().stderr_is("");
    copied("in/a/f", &inside(&world, "t/"));
    copied("in/a", &inside(&world, "t"));
    copied("in/a/.", &inside(&world, "new"));
    copied("in/a/l", &inside(&world, "inner"));
    cp(&world, &["-L", &from("in/a/l"), &inside(&world, "t/followed")]).succeeds();
    let look = "cat t/f t/a/f new/f t/followed; readlink t/a/l t/l; ls -A t | wc -l";
    world
        .bryo(["exec", "s", "sh", "-c", look])
        .ends()
        .stdout_is("text\ntext\ntext\ntext\nf\nf\n4\n");
    let archive = world.bryo(["cp", "-", &inside(&world, "t")]);
    let tar = std::process::Command::new("tar").args(["c", "-C", &from("in"), "a/f"]).output();
    archive.stdin(Stdin::Text(tar.unwrap().stdout)).ends().succeeds();
    // Where the payload may not write nothing is written, whoever's the link there is.
    for dest in
        ["/usr/f", "/etc/hostname", &from("out"), &from("out/f"), "/proc/self/comm", "/sys/x"]
    {
        let to = format!("s:{dest}");
        cp(&world, &[&from("in/a/f"), &to]).refuses_with(&["cannot copy"]);
    }
    cp(&world, &[&from("in/a"), &inside(&world, "t/f")]).refuses_with(&["does not replace"]);
    cp(&world, &[&from("in/a/f"), &inside(&world, "no/")]).refuses_with(&["no such directory"]);
    cp(&world, &[&from("nothing"), &inside(&world, "t")]).refuses_with(&["no such file"]);
    let archive = world.bryo(["cp", "-", &inside(&world, "t")]);
    archive.stdin(Stdin::Text(b"no archive".to_vec())).ends().refuses_with(&["cut off"]);
    let archive = world.bryo(["cp", "-", &inside(&world, "t")]);
    let tar = std::process::Command::new("tar")
        .args(["c", "-P", "--transform", "s,^,../../,", "-C", &from("in"), "a/f"])
        .output();
    archive.stdin(Stdin::Text(tar.unwrap().stdout)).ends().refuses_with(&["leads elsewhere"]);
    end(running);
}

#[test]
fn what_a_payload_plants_is_neither_followed_nor_waited_for_nor_made() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(crate::support::Host::MayChange);
    world.file("secret", "the secret");
    let out = world.folder("out");
    let secret = world.path("secret").to_str().unwrap().to_owned();
    let plant = format!(
        "mkdir d; ln -s {secret} d/link; ln -s / d/root; mkfifo d/pipe; : >d/file; ln -s /proc/self d/self; \
         ln -s /proc/self/exe exe; p=d; for i in $(seq 300); do p=$p/x; done; mkdir -p $p; \
         for i in 1 2 3; do mkdir -p d/long; cd d/long; done; cd ../../../../../..; \
         (while :; do echo more; done >d/grows) & \
         (while :; do rm -rf d/swap; mkdir d/swap; : >d/swap/secret; rm -rf d/swap; ln -s .. d/swap; done) 2>/dev/null &"
    );
    let running = sandbox(&world, &plant);
    for round in 0..5 {
        let to = out.join(format!("{round}"));
        let copied = cp(&world, &[&inside(&world, "d"), to.to_str().unwrap()]).exits_with(1);
        let copied = copied.stderr_has("`pipe`: a socket or a pipe").stderr_has("lies too deep");
        drop(copied);
        assert_eq!(to.join("link").read_link().unwrap().to_str().unwrap(), secret);
        assert!(to.join("self").symlink_metadata().unwrap().is_symlink());
        assert!(to.join("pipe").symlink_metadata().is_err() && to.join("file").is_file());
    }
    // A way into bryo's own process there is none.
    for word in
        ["s:/proc/self/exe", "s:/proc/self/environ", "s:/proc/self/mem", "s:/proc/self/fd/1"]
    {
        cp(&world, &["-L", word, "x"]).refuses_with(&["cannot copy"]);
    }
    cp(&world, &["-L", &inside(&world, "exe"), "x"]).refuses_with(&["the kernel's own"]);
    cp(&world, &["-L", &inside(&world, "d/pipe"), "x"]).refuses_with(&["neither a file"]);
    // A secret that the sandbox is not shown comes out by no path.
    let hidden = world.file(".ssh/id", "the key");
    let key = format!("s:{}", hidden.display());
    cp(&world, &[&key, "x"]).refuses_with(&["cannot copy"]);
    // The control: outside, the same link leads to the secret.
    assert_eq!(std::fs::read_to_string(out.join("0/link")).unwrap(), "the secret");
    world.outside("chmod -R u+rwx out; rm -rf out .ssh").succeeds();
    end(running);
}

#[test]
fn a_copy_that_is_interrupted_or_stopped_inside_ends_and_leaves_nothing() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(crate::support::Host::MayChange);
    let out = world.folder("out");
    // In memory: what is written to the disk for nothing holds up everybody else there.
    let running = sandbox(&world, "mkdir /dev/shm/d; yes | head -c 400M >/dev/shm/d/huge");
    let huge = "s:/dev/shm/d";
    let names = || std::fs::read_dir(&out).unwrap().count();
    for (way, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let to = out.join("copy");
        let copying = world.bryo(["cp", huge, to.to_str().unwrap()]).starts();
        crate::apart::until("something is written", || writes_below(copying.pid(), &out));
        copying.kill(way);
        copying.ends().exits_with(code).stderr_has("interrupted");
        assert_eq!(names(), 0);
    }
    for signal in ["STOP", "KILL"] {
        let to = out.join("copy");
        let copying = world.bryo(["cp", huge, to.to_str().unwrap()]).starts();
        crate::apart::until("something is written", || writes_below(copying.pid(), &out));
        let script = format!(
            "for p in /proc/[0-9]*; do p=${{p#/proc/}}; [ $p -gt 2 ] && [ $p != $$ ] && kill -{signal} $p; done; true"
        );
        world.bryo(["exec", "s", "sh", "-c", &script]).ends();
        copying.ends().exits_with(125).stderr_has("inside the sandbox");
        assert_eq!(names(), 0, "{signal}");
    }
    // The control: what copies is a process there, and nobody may look into it.
    let to = out.join("copy");
    let copying = world.bryo(["cp", huge, to.to_str().unwrap()]).starts();
    crate::apart::until("something is written", || writes_below(copying.pid(), &out));
    let script = "for p in /proc/[0-9]*; do [ ${p#/proc/} -gt 2 ] && [ ${p#/proc/} != $$ ] && echo seen && \
                  cat $p/environ $p/maps && ls $p/fd/ && echo leaked; done 2>/dev/null; true";
    world.bryo(["exec", "s", "sh", "-c", script]).ends().stdout_has("seen").stdout_lacks("leaked");
    copying.kill(Signal::TERM);
    copying.ends();
    std::fs::remove_dir_all(out).unwrap();
    end(running);
}

#[test]
fn of_a_killed_copy_nothing_stays_and_nothing_is_removed_for_its_name() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(crate::support::Host::MayChange);
    let out = world.folder("out");
    let name = ".bryo-cp-0123456789abcdef";
    let running = sandbox(
        &world,
        "mkdir -p /dev/shm/d /dev/shm/s/t; yes | head -c 400M >/dev/shm/d/huge; echo small >/dev/shm/s/t/small",
    );
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&out).unwrap().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let to = |name: &str| out.join(name).to_str().unwrap().to_owned();
    // A user's own, of each kind, in each directory that a copy meets.
    for folder in ["", "s", "s/t"] {
        world.file(format!("out/{folder}/{name}/precious"), "kept");
        world.file(format!("out/{folder}/.bryo-cp-0123456789abcdee"), "kept");
    }
    for (source, into) in
        [("s:/dev/shm/s/t/small", ""), ("s:/dev/shm/s", ""), ("s:/dev/shm/s/.", "new")]
    {
        cp(&world, &[source, &to(into)]).succeeds();
    }
    assert_eq!(world.read("out/s/t/small"), "small\n");
    for folder in ["", "s", "s/t"] {
        assert_eq!(world.read(format!("out/{folder}/{name}/precious")), "kept");
        assert_eq!(world.read(format!("out/{folder}/.bryo-cp-0123456789abcdee")), "kept");
    }
    // Of a killed copy of a file there is nothing, of one of a tree nothing after the next command.
    let kill = |source: &str, into: &str| {
        let copying = world.bryo(["cp", source, &to(into)]).starts();
        crate::apart::until("something is written", || writes_below(copying.pid(), &out));
        copying.kill(Signal::KILL);
        copying.ends();
    };
    let before = names();
    kill("s:/dev/shm/d/huge", "");
    assert_eq!(names(), before);
    let kill_tree = || {
        kill("s:/dev/shm/d", "copy");
        let mut left = names();
        left.retain(|name| !before.contains(name));
        assert_eq!(left.len(), 1, "{left:?}");
        out.join(&left[0])
    };
    kill_tree();
    world.bryo(["ps"]).ends().succeeds();
    assert_eq!(names(), before);
    // What somebody put there stays, whatever its name.
    let left = kill_tree();
    std::fs::rename(&left, out.join("kept")).unwrap();
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("precious"), "kept").unwrap();
    world.bryo(["ps"]).ends().succeeds();
    assert_eq!(std::fs::read(left.join("precious")).unwrap(), b"kept");
    assert!(out.join("kept").exists());
    std::fs::remove_dir_all(&left).unwrap();
    std::fs::remove_dir_all(out.join("kept")).unwrap();
    // Nor does a link lead there.
    let left = kill_tree();
    let moved = world.home().join("moved");
    std::fs::rename(&out, &moved).unwrap();
    symlink(&moved, &out).unwrap();
    world.bryo(["ps"]).ends().succeeds();
    assert!(moved.join(left.file_name().unwrap()).exists());
    std::fs::remove_file(&out).unwrap();
    std::fs::remove_dir_all(moved).unwrap();
    end(running);
}

/// Whether a process has something open for writing below a directory.
fn writes_below(pid: rustix::process::Pid, directory: &std::path::Path) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut open = fds.filter_map(|fd| Some((std::fs::read_link(fd.path()).ok()?, fd)));
    open.any(|(path, fd)| {
        // A directory has a size as soon as it is opened.
        let begun = std::fs::metadata(fd.path()).is_ok_and(|file| file.is_file() && file.len() > 0);
        path.starts_with(directory) && begun
    })
}

#[test]
fn a_long_copy_is_told_on_a_terminal() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(crate::support::Host::MayChange);
    let running = sandbox(&world, "true");
    let slow = |flags: &str| {
        let bryo = crate::support::bryo();
        let script = format!(
            "cd {} && head -c 100000 /dev/zero >f && tar cf a f && {{ head -c 20000; sleep 2; cat; }} <a | \
             {} cp {flags} - s:/dev/shm && rm a f && echo over",
            world.home().display(),
            bryo.display()
        );
        world.program("/bin/sh", ["-c", &script]).on_terminal()
    };
    let mut told = slow("");
    told.shows("bryo: ")
        .shows(" copied\u{1b}[K")
        .shows("\r\u{1b}[Kbryo: ")
        .shows(" copied")
        .shows("over");
    told.ends().succeeds();
    let mut quiet = slow("-q");
    quiet.shows("over");
    quiet.ends().succeeds().stdout_lacks("copied");
    end(running);
}

#[test]
fn of_one_that_ended_what_it_changed_is_copied() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.host(crate::support::Host::MayChange);
    world.file("project/d/old", "old\n");
    world.file("project/d/gone", "gone\n");
    let out = world.folder("out");
    let script =
        "echo new >d/new; rm d/gone; echo x >>d/old; ln -s /etc/passwd d/link; mkfifo d/pipe";
    world.sandbox().args(["--name", "s"]).run(script).succeeds();
    let to = |name: &str| out.join(name).to_str().unwrap().to_owned();
    cp(&world, &[&inside(&world, "d"), &to("d")]).exits_with(1).stderr_has("`pipe`");
    assert_eq!(
        (world.read("out/d/new"), world.read("out/d/old")),
        ("new\n".into(), "old\nx\n".into())
    );
    assert!(out.join("d/link").symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::read_dir(out.join("d")).unwrap().count(), 3);
    cp(&world, &[&inside(&world, "d/new"), &to("new")]).succeeds().stderr_is("");
    assert_eq!(world.read("out/new"), "new\n");
    cp(&world, &[&inside(&world, "d/gone"), &to("x")]).refuses_with(&["it removed that"]);
    cp(&world, &["s:/etc/passwd", &to("x")]).refuses_with(&["did not change that", "bryo diff"]);
    cp(&world, &[&to("new"), &inside(&world, "d")]).refuses_with(&["it has ended", "bryo start"]);
    // The host's own, which lies there too, is not what the sandbox made.
    assert!(!world.exists("out/x"));
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_link_that_the_payload_planted_out_here_is_not_followed() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(crate::support::Host::MayChange);
    let (shared, own) = (world.folder("shared"), world.folder("own"));
    std::fs::create_dir(shared.join("d")).unwrap();
    std::fs::write(own.join("rc"), "mine\n").unwrap();
    symlink(&shared, own.join("to-shared")).unwrap();
    let write = shared.to_str().unwrap().to_owned();
    let rc = own.join("rc").to_str().unwrap().to_owned();
    let plants = format!(
        "echo bad >bad; ln -s {rc} {write}/d/out; ln -s {} {write}/dir; ln -s d {write}/in",
        own.display()
    );
    let running = world
        .sandbox()
        .args(["--name", "s", "--write", &write])
        .start(&format!("{plants}; echo up; exec sleep 1000"));
    running.says("up");
    let attacks = |world: &World| {
        let bad = inside(world, "bad");
        for planted in
            [format!("{write}/d/out"), format!("{write}/dir/rc"), format!("{write}/dir/")]
        {
            let why = ["a link there may be a sandbox's", "hint: name the place"];
            cp(world, &[&bad, &planted]).refuses_with(&why);
        }
        assert_eq!(world.read("own/rc"), "mine\n");
        // Within what it writes anybody's lead; and the user's own to there, and plain paths.
        cp(world, &[&bad, &format!("{write}/in/plain")]).succeeds();
        cp(world, &[&bad, own.join("to-shared/d/plain").to_str().unwrap()]).succeeds();
        assert_eq!(world.read("shared/d/plain"), "bad\n");
    };
    attacks(&world);
    cp(&world, &["-L", &format!("{write}/d/out"), &inside(&world, "in")])
        .refuses_with(&["a link there may be a sandbox's"]);
    cp(&world, &[&format!("{write}/dir/rc"), &inside(&world, "in")])
        .refuses_with(&["a link there may be a sandbox's"]);
    end(running);
    attacks(&world);
    // Nor for another sandbox.
    let other = sandbox_named(&world, "other");
    let bad = inside(&world, "bad").replacen("s:", "other:", 1);
    let planted = format!("{write}/d/out");
    cp(&world, &[&bad, &planted]).refuses_with(&["a link there may be a sandbox's"]);
    // What was removed, or never had a record, put there what it did.
    world.bryo(["rm", "s"]).ends().succeeds();
    cp(&world, &[&bad, &planted]).refuses_with(&["a link there may be a sandbox's"]);
    // A control: with nobody who can have made them they are the user's own.
    std::fs::remove_dir_all(world.store().join("written")).unwrap();
    cp(&world, &[&bad, &planted]).succeeds();
    assert_eq!(world.read("own/rc"), "other\n");
    end(other);
}

/// One more, which has written its name.
#[test]
fn a_reader_of_the_archive_that_has_seen_enough_is_no_failure() {
    if !applies() {
        return;
    }
    let world = World::new();
    let running = sandbox(&world, "head -c 4000000 /dev/zero >big");
    let enough = "{ \"$@\"; echo $? >&2; } | head -c 1 >/dev/null";
    let copied =
        || world.bryo(["cp", &inside(&world, "big"), "-"]).under(["/bin/sh", "-c", enough, "sh"]);
    copied().ends().succeeds().stderr_is("0\n");
    end(running);
}

fn sandbox_named(world: &World, name: &str) -> Running {
    let script = format!("echo {name} >bad; echo up; exec sleep 1000");
    let running = world.sandbox().args(["--rm", "--name", name]).start(&script);
    running.says("up");
    running
}
