//! What a run finds in the store of other runs.

use rustix::process::Signal;

use crate::support::{Host, Need, Overlay, Running, World, has, overlay_is_one_of};

#[test]
fn changes_through_a_server_are_kept_after_runs_that_had_none() {
    // In the pass of the kernel's overlays both are there.
    if !overlay_is_one_of(&[Overlay::Kernel]) || !has(Need::FuseOverlayfs) {
        return;
    }
    let world = World::new();
    world.keeps(1);
    // At the same time: each leaves a directory, and where there are three the next run takes one.
    let start = || world.sandbox().start("echo up; exec sleep 60");
    let four: Vec<Running> = (0..4).map(|_| start()).collect();
    for one in &four {
        one.says("up");
    }
    for one in four {
        one.kill(Signal::TERM);
        one.ends().exits_with(128 + 15);
    }
    let spares = world.outside("ls .local/share/bryo/spare | wc -l").stdout();
    assert_eq!(spares, "4\n", "the control");
    let served = ["run", "--overlay", "fuse", "--", "sh", "-c", "echo written >x"];
    world.bryo(served).in_folder(world.project()).ends().succeeds();
    let added = format!("A {}\n", world.path("project/x").display());
    world
        .bryo(["diff", "--name-status"])
        .in_folder(world.project())
        .ends()
        .succeeds()
        .stdout_is(&added);
}

#[test]
fn what_is_no_sandbox_in_the_store_is_told_and_stops_no_listing() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.sandbox().args(["--name", "n"]).run("echo x >y").succeeds();
    let foreign = [("kept", "abcdefabcdef"), ("live", "abcdefabcded")]
        .map(|(shelf, id)| world.store().join(shelf).join(id));
    for path in &foreign {
        std::os::unix::fs::symlink("/etc", path).unwrap();
    }
    let listed = world.bryo(["ps", "-a"]).ends().succeeds().stdout();
    assert_eq!(listed.matches("unreadable").count(), 2, "{listed}");
    assert!(listed.lines().any(|line| line.contains(" n ") && line.contains("exited")), "{listed}");
    for words in [&["ps", "-aq"][..], &["diff"], &["diff", "n"], &["system", "df"], &["ps"]] {
        world.bryo(words).ends().succeeds();
    }
    for path in &foreign {
        let id = path.file_name().unwrap().to_str().unwrap();
        world.bryo(["rm", "-f", id]).ends().exits_with(125).stderr_has("nothing of bryo's");
        std::fs::remove_file(path).unwrap();
    }
}

/// What somebody may have put into each directory of the store, under the name of a sandbox or a network.
const FOREIGN: &str = "cd .local/share/bryo
for shelf in live kept spare trash names networks seccomp; do
    mkdir -p $shelf && cd $shelf
    for id in 0 1 2 3 4 5 6; do mkdir aaaaaaaaaaa$id; done
    chmod 0 aaaaaaaaaaa0
    mkdir aaaaaaaaaaa1/record.json aaaaaaaaaaa1/network.json
    mkfifo aaaaaaaaaaa2/record.json aaaaaaaaaaa2/network.json aaaaaaaaaaa2/control aaaaaaaaaaa2/log
    truncate -s 1G aaaaaaaaaaa3/record.json aaaaaaaaaaa3/network.json
    ln -s /etc/passwd aaaaaaaaaaa4/record.json
    printf '\\377{' >aaaaaaaaaaa5/record.json
    echo '{}' >aaaaaaaaaaa6/record.json && chmod 0 aaaaaaaaaaa6/record.json
    touch bbbbbbbbbbb0 -- -x '*' \"a
b\" .hidden \"$(printf '\\377')\" AAAAAAAAAAAA
    mkfifo bbbbbbbbbbb1
    ln -s nowhere bbbbbbbbbbb2
    ln -s . bbbbbbbbbbb3
    cd ..
done
rm -f events && mkfifo events";

#[test]
fn nothing_in_the_store_stops_the_commands_that_are_about_something_else() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.sandbox().args(["--name", "n"]).run("echo x >y").succeeds();
    world.bryo(["network", "create", "net"]).ends().succeeds();
    world.outside(FOREIGN).succeeds();
    let project = world.project();
    let works = |words: &[&str]| world.bryo(words).in_folder(&project).ends().succeeds().stdout();
    assert!(works(&["ps", "-a"]).contains("unreadable"));
    assert!(works(&["diff"]).starts_with("A "));
    for words in [
        &["ps"][..],
        &["ps", "-a", "--json"],
        &["system", "df"],
        &["events", "--since", "1h", "--until", "1s"],
        &["diff", "n"],
        &["inspect", "n"],
        &["apply", "--dry-run", "n"],
        &["system", "prune", "--dry-run"],
        &["stats", "--no-stream"],
        &["network", "create", "other"],
        &["network", "inspect", "net"],
        &["run", "--name", "o", "--", "touch", "z"],
        &["rename", "o", "p"],
        &["rm", "p"],
        &["apply", "-y", "n", "y"],
    ] {
        works(words);
    }
    // What has a definition that is none is told, beside the others.
    let listed = world.bryo(["network", "ls"]).ends().exits_with(125).stdout();
    assert!(listed.contains("net ") && listed.contains("other "), "{listed}");
    let pruned = world.bryo(["network", "prune", "-y"]).ends().stdout();
    assert!(pruned.contains("net\n") && pruned.contains("other\n"), "{pruned}");
    world
        .bryo(["system", "prune", "--all", "--yes"])
        .ends()
        .exits_with(125)
        .stderr_has("nothing of bryo's");
    world.outside("chmod -R u+rwX .local/share/bryo && rm -r .local/share/bryo").succeeds();
}

/// A store on a file system of so many files, where a payload makes all it can and ends, or stays until that is
/// seen. Then the last ones are taken, and what it left is removed.
const FILES: &str = r#"
mount -t tmpfs -o nr_inodes=120,size=64m,mode=0755 none small && cd small || exit 1
mkdir home project; export HOME=$PWD/home; cd project
show() { "$1" ps -a --filter name="$2" --format '{{.Names}} {{.Status}}'; }
"$1" run --name fast -- sh -c 'touch $(seq 200) 2>/dev/null; exit 7'; echo "ended with $?"
show "$1" fast
"$1" rm -f fast >/dev/null && echo gone
"$1" run --name slow -- sh -c 'touch $(seq 200) 2>/dev/null; exec sleep 30'
echo "ended with $?"
show "$1" slow
i=0; while touch ../x$i 2>/dev/null; do i=$((i + 1)); done
"$1" rm -f slow >/dev/null && echo gone
show "$1" slow
"#;

#[test]
fn a_disk_that_holds_no_more_files_keeps_no_record_from_being_written_nor_a_sandbox_from_going() {
    let world = World::new();
    world.folder("project/small");
    let ended = world
        .program("/usr/bin/unshare", ["-rm", "/bin/sh", "-c", FILES, "-"])
        .arg(crate::support::bryo())
        .ends()
        .succeeds();
    let said = "ended with 7\nfast exited 7\ngone\nended with 125\nslow no space\ngone\n";
    ended.stdout_is(said);
}

/// The same, of which nothing is left by the time that what a payload wrote is dropped, one path after the other.
const NONE_LEFT: &str = r#"
mount -t tmpfs -o nr_inodes=130,size=4m,mode=0755 none small && cd small || exit 1
mkdir home project; export HOME=$PWD/home; cd project; echo old >old; mkdir replaced; echo in >replaced/in
"$1" run --name n -- sh -c 'echo x >file; ln -s to link; mkdir -p dir/sub; echo y >dir/sub/y; chmod 0 dir; echo new >old
    echo kept >kept; rm -r replaced; mkdir replaced; echo z >replaced/z'
i=0; while touch ../x$i 2>/dev/null; do i=$((i + 1)); done
mkdir ../none 2>/dev/null || echo none left
for path in ./file ./link ./dir ./old; do "$1" discard n $path || echo $path is still there; done
"$1" diff --name-status n | sed "s,$PWD/,,"
ls "$HOME/.local/share/bryo/trash"
"$1" discard n ./replaced/z || echo not that
"$1" discard n >/dev/null && "$1" ps -a -q
"#;

#[test]
fn what_was_written_is_dropped_on_a_disk_that_holds_no_more_files() {
    let world = World::new();
    world.folder("project/small");
    let ended = world
        .program("/usr/bin/unshare", ["-rm", "/bin/sh", "-c", NONE_LEFT, "-"])
        .arg(crate::support::bryo())
        .ends()
        .succeeds();
    ended.stdout_is("none left\nA kept\nD replaced/in\nA replaced/z\n").stderr_is("");
}

#[test]
fn what_an_interrupted_removal_left_in_the_trash_is_removed_whatever_it_is() {
    let world = World::new();
    world.bryo(["run", "--rm", "--", "true"]).ends().succeeds();
    let trash = world.store().join("trash");
    std::fs::create_dir_all(trash.join("00000000000d/in")).unwrap();
    std::fs::write(trash.join("00000000000f"), "").unwrap();
    std::os::unix::fs::symlink("/", trash.join("00000000000e")).unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o0);
    std::fs::set_permissions(trash.join("00000000000d"), closed).unwrap();
    world.bryo(["ps"]).ends().succeeds().stderr_is("");
    assert_eq!(std::fs::read_dir(trash).unwrap().count(), 0);
}

/// A store on a file system of 8 MB, where one payload leaves half of it and stays for longer than the floor is looked at
/// once, another less than a twentieth and a third nothing, and these stay until that is seen.
const ROOM: &str = r#"
mount -t tmpfs -o size=8m,mode=0755 none small && cd small || exit 1
mkdir home project; export HOME=$PWD/home; cd project
"$1" run --name half -- sh -c 'head -c 4000000 /dev/zero >x; sleep 2; exit 7'; echo "ended with $?"
"$1" inspect half | grep -c '"watched"'
"$1" rm half >/dev/null
"$1" run --name all -- sh -c 'head -c 8000000 /dev/zero >x; exec sleep 60'; echo "ended with $?"
"$1" ps -a --filter name=all --format '{{.Names}} {{.Status}}'
"$1" rm all >/dev/null
"$1" run --name none -- sh -c 'head -c 9000000 /dev/zero >x 2>/dev/null; exec sleep 60' 2>/dev/null; echo "ended with $?"
"$1" ps -a --filter name=none --format '{{.Names}} {{.Status}}'; df --output=avail . | tail -n 1 | tr -d ' '
"$1" discard none ./x && "$1" diff none && [ $(df --output=avail . | tail -n 1) -gt 7000 ] && echo room again
"#;

#[test]
fn a_run_that_leaves_less_than_a_twentieth_of_the_disk_is_ended() {
    let world = World::new();
    world.folder("project/small");
    let ended = world
        .program("/usr/bin/unshare", ["-rm", "/bin/sh", "-c", ROOM, "-"])
        .arg(crate::support::bryo())
        .ends()
        .succeeds();
    ended.stdout_is("ended with 7\n1\nended with 125\nall no space\nended with 125\nnone no space\n0\nroom again\n");
}

#[test]
fn a_umask_that_takes_the_owners_rights_is_the_payloads_alone() {
    let world = World::new();
    world.host(Host::MayChange);
    for umask in ["777", "300", "200"] {
        let bryo = crate::support::bryo();
        let bryo = bryo.display();
        let script = format!(
            "export BRYO_STORE=$PWD/store; umask {umask}; mkdir control; [ ! -w control ] || echo bad; \
             {bryo} run --name one -- sh -c 'umask; mkdir made' && {bryo} run --name two -- true; \
             {bryo} ps -aq >/dev/null && {bryo} rm -f one two; find store -type d ! -perm -700"
        );
        let folder = world.path(format!("of{umask}"));
        std::fs::create_dir(&folder).unwrap();
        let ended = world.outside(&format!("cd {}; {script}", folder.display()));
        assert_eq!(ended.stdout(), format!("0{umask}\none\ntwo\n"), "{ended}");
    }
}
