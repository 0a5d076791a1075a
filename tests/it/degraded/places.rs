//! Homes and current directories that are not what one expects.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Mutex, PoisonError};

use super::then_as_user;
use crate::support::{Host, Invocation, Need, Overlay, World, has, overlay_is_one_of};

/// Changes what it sees, tells where it is.
const WRITES: &str = "pwd; echo inside >x && cat x";

/// Tests that use the one store that is outside of any world.
static STORE_OF_THE_USER: Mutex<()> = Mutex::new(());

/// A run that keeps nothing.
fn passing(world: &World) -> Invocation {
    world.sandbox().arg("--rm")
}

/// Copy-on-write is what these are about, whoever serves it.
fn applies() -> bool {
    overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse])
}

/// Where `script` has changed the host, the current directory can be written; then what `more` prints.
#[track_caller]
fn writes_and(world: &World, script: &str, more: &str, prints: &str) {
    passing(world)
        .under(then_as_user(script))
        .run(&format!("{WRITES}; {more}"))
        .succeeds()
        .stdout_is(&format!("{}\ninside\n{prints}", world.project().display()))
        .stderr_is("");
}

/// In a world without a store in its home: the one in `/var/tmp` is used, and removed.
fn with_the_store_of_the_user(world: &World, test: impl FnOnce(&str)) {
    let _one_at_a_time = STORE_OF_THE_USER.lock().unwrap_or_else(PoisonError::into_inner);
    let store = format!("/var/tmp/bryo-{}", rustix::process::getuid().as_raw());
    test(&store);
    assert!(!world.store().exists());
    // Tests beside this one may be using it too: what they make meanwhile goes with the next try.
    let once = format!("chmod -R u+rwX {store} && rm -r {store}");
    let tries = format!(
        "for i in 1 2 3 4 5 6 7 8; do {once} 2>/dev/null; [ -e {store} ] || exit 0; sleep 0.5; done; exit 1"
    );
    world.outside(&tries).succeeds();
}

#[test]
fn without_a_home_the_current_directory_is_copy_on_write() {
    if !applies() {
        return;
    }
    let world = World::new();
    let project = world.project().display().to_string();
    with_the_store_of_the_user(&world, |store| {
        let run = passing(&world).env("HOME", "/nonexistent").env_remove("XDG_RUNTIME_DIR");
        run.run(WRITES).succeeds().stdout_is(&format!("{project}\ninside\n")).stderr_is("");
        let mode = std::fs::metadata(store).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{store}");
    });
}

#[test]
fn a_home_that_is_the_root_does_not_make_the_root_writable() {
    if !applies() {
        return;
    }
    let world = World::new();
    let project = world.project().display().to_string();
    with_the_store_of_the_user(&world, |_| {
        let run = passing(&world).env("HOME", "/");
        run.run(&format!("{WRITES}; echo x >/etc/x || echo refused"))
            .succeeds()
            .stdout_is(&format!("{project}\ninside\nrefused\n"));
    });
}

#[test]
fn without_a_runtime_directory_a_run_is_as_any_other() {
    let world = World::new();
    world.sandbox().arg("--rm").env_remove("XDG_RUNTIME_DIR").run(WRITES).succeeds().stderr_is("");
}

#[test]
fn in_the_root_the_payload_starts_there_and_writes_nothing() {
    let world = World::new();
    let run = world.sandbox().in_folder("/");
    run.run("pwd; echo x >/x || echo refused")
        .succeeds()
        .stdout_is("/\nrefused\n")
        .stderr_is("/bin/sh: 1: cannot create /x: Read-only file system\n");
}

#[test]
fn in_tmp_the_payload_starts_in_a_private_one() {
    let world = World::new();
    let theirs = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let name = theirs.path().file_name().unwrap().to_str().unwrap();
    let run = world.sandbox().in_folder("/tmp");
    run.run(&format!("pwd; ls {name}; touch {name}-mine && echo made"))
        .succeeds()
        .stdout_is("/tmp\nmade\n");
    assert!(!theirs.path().with_file_name(format!("{name}-mine")).exists());
}

#[test]
fn below_tmp_the_current_directory_alone_is_seen_and_copy_on_write() {
    if !applies() {
        return;
    }
    let world = World::new();
    let beside = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::write(folder.path().join("a"), "theirs\n").unwrap();
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    passing(&world)
        .in_folder(folder.path())
        .run(&format!("{WRITES}; cat a; rm a; ls; ls {} || ls -A /tmp", beside.path().display()))
        .succeeds()
        .stdout_is(&format!("/tmp/{name}\ninside\ntheirs\nx\n{name}\n"));
    assert_eq!(std::fs::read_to_string(folder.path().join("a")).unwrap(), "theirs\n");
    assert!(!folder.path().join("x").exists());
}

#[test]
fn in_a_secret_a_run_is_refused_with_the_flag_that_allows_it() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.file(".ssh/below/key", "the key\n");
    let secret = world.path(".ssh").display().to_string();
    for at in [secret.clone(), format!("{secret}/below")] {
        world.sandbox().in_folder(&at).run("pwd").exits_with(125).stdout_is("").stderr_is(
            &format!(
                "bryo: cannot start in `{at}`: `{secret}` holds secrets\n\
             hint: to show it all the same, add `--read {at}`\n"
            ),
        );
    }
    // What the hint says works, and shows no more than it says.
    let below = format!("{secret}/below");
    let run = passing(&world).args(["--read", &below]).in_folder(&below);
    run.run("pwd; cat key").succeeds().stdout_is(&format!("{below}\nthe key\n")).stderr_is("");
}

/// Also where nobody sits at a terminal: it is not what was asked for.
const LOST: &str =
    "bryo: the current directory was removed or cannot be entered; the payload starts in `/`\n";

#[test]
fn in_a_directory_that_is_gone_the_payload_starts_in_the_root() {
    let world = World::new();
    let words = ["/bin/sh", "-c", "mkdir gone; cd gone; rmdir ../gone; exec \"$@\"", "sh"];
    // Its parent has another time of change.
    world.host(Host::MayChange);
    let run = || world.sandbox().under(words);
    run().run("pwd").succeeds().stdout_is("/\n").stderr_is(LOST);
    run().arg("-q").run("pwd").succeeds().stdout_is("/\n").stderr_is("");
}

#[test]
fn in_a_directory_that_cannot_be_read_the_payload_starts_in_the_root() {
    let world = World::new();
    let folder = world.folder("project/closed");
    world.host(Host::MayChange);
    let words = ["/bin/sh", "-c", "chmod 0 .; exec \"$@\"", "sh"];
    let run = world.sandbox().under(words).in_folder(&folder);
    run.run("pwd").succeeds().stdout_is("/\n").stderr_is(LOST);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_mount_below_the_current_directory_is_copy_on_write_too() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.folder("project/below");
    let script = "mount -t tmpfs t below; echo f >below/f; chmod 777 below";
    writes_and(&world, script, "cat below/f; echo g >below/g; rm below/f; ls below", "f\ng\n");
}

#[test]
fn a_home_on_its_own_mount_is_copy_on_write() {
    if !applies() {
        return;
    }
    let world = World::new();
    let script = "mount --bind \"$HOME\" \"$HOME\"; cd \"$PWD\"";
    writes_and(&world, script, "touch ~/y && ls ~", "project\ny\n");
}

#[test]
fn a_home_that_is_read_only_is_copy_on_write() {
    if !applies() {
        return;
    }
    let world = World::new();
    let script = "mount --bind \"$HOME\" \"$HOME\"; mount -o remount,bind,ro \"$HOME\"; cd \"$PWD\"; \
                  touch x 2>/dev/null && exit 1 || :";
    with_the_store_of_the_user(&world, |_| writes_and(&world, script, "true", ""));
}

#[test]
fn a_home_where_every_sandbox_has_its_own_is_that() {
    let world = World::new();
    for home in ["/proc", "/proc/tty", "/dev/shm", "/dev/pts", "/sys"] {
        for profile in ["default", "strict"] {
            let run = world.sandbox().args(["--rm", "--profile", profile]).env("HOME", home);
            let run = run.env("BRYO_STORE", world.store());
            run.run("cd && pwd").succeeds().stdout_is(&format!("{home}\n")).stderr_is("");
        }
    }
}

/// A directory service that knows one user, as a library of nsswitch.conf(5).
const SERVICE: &str = r#"
#include <nss.h>
#include <pwd.h>
#include <stddef.h>
#include <unistd.h>

enum nss_status _nss_hesiod_getpwuid_r(uid_t uid, struct passwd *found, char *room, size_t size, int *error) {
    if (uid != ID) return NSS_STATUS_NOTFOUND;
    if (SILENT) for (;;) pause();
    *found = (struct passwd){.pw_name = "far", .pw_passwd = "x", .pw_uid = uid, .pw_gid = uid,
                             .pw_gecos = "", .pw_dir = HOME, .pw_shell = "/bin/sh"};
    return NSS_STATUS_SUCCESS;
}
"#;

/// Makes the user one whom only a directory service knows; or nobody at all.
fn known_by(world: &World, service: &str) -> Vec<String> {
    served(world, service, false)
}

/// The same by a service that may never answer.
fn served(world: &World, service: &str, silent: bool) -> Vec<String> {
    let silent = u8::from(silent);
    let home = world.home().display();
    let user = rustix::process::getuid().as_raw();
    world.file("service.c", SERVICE);
    let compile = format!(
        "cc -shared -fPIC -DID={user} -DSILENT={silent} '-DHOME=\"{home}\"' -o {home}/service.so {home}/service.c"
    );
    world.outside(&compile).succeeds();
    world.file("nsswitch.conf", format!("passwd: files {service}\n"));
    // From a tmpfs that is nowhere then: the home is hidden, and what is mounted from it with it. All of /etc, as a mount
    // over /etc/passwd is gone when somebody makes a user here meanwhile, who puts another file in its place.
    then_as_user(&format!(
        "mount -t tmpfs t /mnt; cp {home}/service.so /mnt; mkdir /mnt/etc; cp -a /etc/. /mnt/etc 2>/dev/null || :; \
         grep -v '^[^:]*:[^:]*:{user}:' /etc/passwd >/mnt/etc/passwd; cp {home}/nsswitch.conf /mnt/etc; \
         mount --bind /mnt/etc /etc; \
         for lib in /lib/*/libnss_hesiod.so.2 /lib64/libnss_hesiod.so.2; do \
         [ ! -e $lib ] || mount --bind /mnt/service.so $lib; done; umount -l /mnt"
    ))
}

#[test]
fn whom_a_directory_service_knows_has_the_home_that_it_says() {
    if !applies() || !has(Need::Program("cc")) {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.file(".ssh/key", "the key\n");
    with_the_store_of_the_user(&world, |_| {
        let run = |service| {
            let run = passing(&world).env("HOME", "/nonexistent").in_folder(world.home());
            run.under(known_by(&world, service)).run("cat .ssh/key || id -un")
        };
        run("").succeeds().stdout_is("the key\n");
        run("hesiod").succeeds().stdout_is("far\n").stderr_has("No such file");
    });
    // Without `$HOME`, it is the home of the run.
    let run = passing(&world).env_remove("HOME").under(known_by(&world, "hesiod"));
    run.run("echo x >../note && ls -d ../note").succeeds().stdout_is("../note\n");
}

#[test]
fn where_nobody_says_in_time_where_the_home_is_nothing_is_started() {
    if !applies() || !has(Need::Program("cc")) {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.file(".ssh/key", "the key\n");
    with_the_store_of_the_user(&world, |_| {
        let run = |silent: bool, home: Option<&str>| {
            let run = passing(&world).in_folder(world.home());
            let run = match home {
                Some(home) => run.env("HOME", home),
                None => run.env_remove("HOME"),
            };
            run.under(served(&world, "hesiod", silent)).run("cat .ssh/key")
        };
        for home in [Some("/nonexistent"), None] {
            run(true, home).refuses_with(&[
                "cannot tell where the home of user",
                "which secrets to hide",
                "hint: try again",
            ]);
        }
        // The control: the same user, of whom it says where his home is.
        run(false, Some("/nonexistent")).stdout_is("").stderr_has("No such file");
    });
}
