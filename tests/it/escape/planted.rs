//! Links that a payload put into what it could write on the host, on the way to what a later run is asked for by its path for
//! the first time.

use std::path::Path;

use super::{home_is_a_copy, sandbox};
use crate::apart::bryo;
use crate::support::{Ended, Host, Invocation, World};

const OWN: &str = "of the caller\n";

/// A home with a directory that is given away, one that is not, and a file in each.
fn world() -> World {
    let world = World::new();
    world.host(Host::MayChange);
    world.file("shared/note", "shared\n");
    world.file("private/note", OWN);
    world
}

/// What a first run does that may write `shared`, seen at `at`.
fn plant(world: &World, at: &str) -> String {
    let private = world.path("private");
    format!(
        "cd {at} && ln -s {} out && ln -s ../private rel && ln -s rel/. twice",
        private.display()
    )
}

/// Ways to let a run write `shared`, and where it is then.
fn ways(world: &World) -> [(Vec<String>, String); 3] {
    let shared = world.path("shared").display().to_string();
    let flags = |all: &[&str]| all.iter().map(|flag| flag.replace('@', &shared)).collect();
    [
        (flags(&["--write", "@"]), shared.clone()),
        (flags(&["-v", "@:/mnt/p"]), "/mnt/p".to_owned()),
        (flags(&["--profile", "strict", "--write", "@"]), shared.clone()),
    ]
}

/// Flags of a later run that lead to what was not given, and what that run then does.
const LATER: [(&[&str], &str); 9] = [
    (&["--write", "@/out"], "echo owned >&/mark"),
    (&["--write", "@/twice"], "echo owned >&/mark"),
    (&["--read", "@/out"], "cat &/note"),
    (&["--read", "@/rel/note"], "cat &/note"),
    (&["--profile", "strict", "--cow", "@/rel"], "cat &/note"),
    (&["--read", "@/out/../private/note"], "cat &/note"),
    (&["-v", "@/out:/mnt/o"], "echo owned >/mnt/o/mark"),
    (&["-v", "@/rel/note:/mnt/note:ro"], "cat /mnt/note"),
    (&["-v", "@/twice:/mnt/o:cow"], "cat /mnt/o/note"),
];

fn later(world: &World, flags: &[&str], does: &str) -> Ended {
    let (shared, private) = (world.path("shared"), world.path("private"));
    let flags = flags.iter().map(|flag| flag.replace('@', shared.to_str().unwrap()));
    sandbox(world).args(flags).run(&does.replace('&', private.to_str().unwrap()))
}

fn refused(ended: Ended, world: &World) -> Ended {
    let shared = world.path("shared").canonicalize().unwrap();
    let private = world.path("private").canonicalize().unwrap();
    let (shared, private) = (shared.display(), private.display());
    ended
        .exits_with(125)
        .stdout_is("")
        .stderr_has(&format!("leads to `{private}"))
        .stderr_has(&format!("by the link `{shared}/"))
        .stderr_has(&format!("an earlier run could write `{shared}`, where that lies"))
        .stderr_has("if you mean what it leads to")
        .stderr_has(&private.to_string())
}

#[test]
fn a_fresh_run_follows_no_link_that_an_earlier_payload_planted() {
    for way in 0..3 {
        let world = world();
        let (flags, at) = ways(&world)[way].clone();
        // The control: the same links, put there by nobody who was noted, are followed.
        world.outside(&plant(&world, "shared")).succeeds();
        for (flags, does) in LATER {
            later(&world, flags, does).succeeds();
        }
        world.outside("cat private/mark; rm private/mark shared/[ort]*").stdout_is("owned\n");
        sandbox(&world).args(&flags).run(&plant(&world, &at)).succeeds();
        for (flags, does) in LATER {
            refused(later(&world, flags, does), &world);
        }
        assert!(!world.exists("private/mark"), "{flags:?}");
        // The way out that the text tells.
        let private = world.path("private").display().to_string();
        later(&world, &["--read", &private], "cat &/note").succeeds().stdout_is(OWN);
    }
}

#[test]
fn a_fresh_run_starts_in_no_directory_that_a_planted_link_led_its_shell_to() {
    let world = world();
    let run = if home_is_a_copy() { "" } else { "--overlay kernel" };
    let go = |by: &str| {
        let script =
            format!("cd {by} && \"$0\" run --rm {run} -- sh -c 'cat note; cat ./note >>all'");
        let bryo = crate::support::bryo();
        let all = ["-c".as_ref(), script.as_ref(), bryo.as_os_str()];
        world.program("/bin/sh", all).in_folder(world.home()).ends()
    };
    world.outside(&plant(&world, "shared")).succeeds();
    go("shared/out").succeeds().stdout_is(OWN);
    world.outside("rm shared/[ort]*").succeeds();
    let (flags, at) = ways(&world)[0].clone();
    sandbox(&world).args(&flags).run(&plant(&world, &at)).succeeds();
    for link in ["out", "rel", "twice"] {
        refused(go(&format!("shared/{link}")), &world).stderr_has("cannot start in");
    }
    go("private").succeeds().stdout_is(OWN);
    go("shared").succeeds().stdout_is("shared\n");
}

#[test]
fn the_note_outlives_the_sandbox_and_its_layers() {
    let world = world();
    let (flags, at) = ways(&world)[0].clone();
    let id = crate::apart::start(
        &world,
        &flags.iter().map(String::as_str).collect::<Vec<_>>(),
        &plant(&world, &at),
    );
    bryo(&world, &["wait", &id]).succeeds();
    bryo(&world, &["rm", "-f", &id]).succeeds();
    bryo(&world, &["system", "prune", "-f"]).succeeds();
    refused(later(&world, LATER[0].0, "true"), &world);
}

#[test]
fn a_link_that_stays_in_what_its_run_could_write_is_followed() {
    let world = world();
    world.folder("also");
    let (shared, also) = (world.path("shared"), world.path("also"));
    let both = |run: Invocation| run.arg("--write").arg(&shared).arg("--write").arg(&also);
    let links = format!("cd {}; ln -s . in; ln -s ../also beside", shared.display());
    both(sandbox(&world)).run(&links).succeeds();
    later(&world, &["--read", "@/in/note"], "true").succeeds();
    later(&world, &["--write", "@/beside"], "true").succeeds();
    // Another run could not write both.
    sandbox(&world).arg("--write").arg(&shared).run("true").succeeds();
    later(&world, &["--read", "@/in/note"], "true").succeeds();
    later(&world, &["--write", "@/beside"], "true").exits_with(125).stderr_has("/shared/beside`");
}

#[test]
fn a_sandbox_goes_on_where_its_own_links_led_when_it_was_made() {
    let world = world();
    world.keeps(1);
    world.outside(&plant(&world, "shared")).succeeds();
    let (shared, private) = (world.path("shared"), world.path("private"));
    let volume = format!("{}:/mnt/o:ro", shared.join("out").display());
    let named = ["--write", shared.to_str().unwrap(), "-v", &volume];
    // A record is kept of it, and by the second time what it writes is noted.
    let id = crate::apart::start(&world, &named, "cat /mnt/o/note");
    bryo(&world, &["wait", &id]).succeeds();
    bryo(&world, &["start", "-a", &id]).succeeds();
    bryo(&world, &["logs", &id]).stdout_is(&format!("{OWN}{OWN}"));
    // What is named besides is looked at as by any other run.
    let more = world.sandbox().args(["--continue", &id]).args(named);
    let more = more.arg("--read").arg(shared.join("rel")).run("true");
    more.exits_with(125).stderr_has("/shared/rel`");
    assert!(Path::new(&private).exists());
}

#[test]
fn what_cannot_be_noted_is_not_written() {
    let world = world();
    let (flags, at) = ways(&world)[0].clone();
    let write = |world: &World| sandbox(world).args(&flags).run(&plant(world, &at));
    write(&world).succeeds();
    world
        .outside(
            "rm shared/[ort]*; mv .local/share/bryo/written w; touch .local/share/bryo/written",
        )
        .succeeds();
    write(&world).exits_with(125).stderr_has("cannot note in").stderr_has("hint: ");
    assert!(!world.exists("shared/out"));
    world.outside("cd .local/share/bryo; rm written; mv ~/w written").succeeds();
    write(&world).succeeds();
}

/// Files that a later run reads or writes itself: what stands at `@` is the directory that was given away.
const FILES: [(&[&str], &str); 5] = [
    (&["--env-file", "@/env"], "--env-file"),
    (&["--env-file", "@/out/secret"], "--env-file"),
    (&["--report", "@/out/made"], "--report"),
    (&["--report", "@/twice/../private/made"], "`..` after it"),
    (&["--network", "user", "--pcap", "@/rel/made"], "--pcap"),
];

#[test]
fn what_a_command_reads_or_writes_itself_is_behind_no_planted_link() {
    let world = world();
    world.file("private/secret", "TOKEN=of-the-caller\n");
    world.outside("ln -s private/secret elsewhere").succeeds();
    let (flags, at) = ways(&world)[0].clone();
    let plant = format!("{}; ln -s ../private/secret env", plant(&world, &at));
    let tells = "echo \"$TOKEN\"";
    // The control: the same links, put there by nobody who was noted, are followed.
    world.outside(&plant).succeeds();
    for (flags, _) in FILES {
        later(&world, flags, tells).succeeds();
        let read = flags[0] == "--env-file";
        assert!(read || world.exists("private/made"), "{flags:?}");
        world.outside("rm -f private/made").succeeds();
    }
    later(&world, FILES[0].0, tells).stdout_is("of-the-caller\n");
    world.outside("rm shared/[ort]* shared/env").succeeds();
    sandbox(&world).args(&flags).run(&plant).succeeds();
    for (flags, told) in FILES {
        refused(later(&world, flags, tells), &world).stderr_has(told);
        let dry = ["--dry-run"].iter().chain(flags).copied().collect::<Vec<_>>();
        refused(later(&world, &dry, tells), &world);
        assert!(!world.exists("private/made"), "{flags:?}");
    }
    // A link of the caller's own, a file of the payload's, and one that is made where it may write.
    let own = world.path("elsewhere").display().to_string();
    later(&world, &["--env-file", &own], tells).stdout_is("of-the-caller\n");
    world.file("shared/plain", "TOKEN=plain\n");
    later(&world, &["--env-file", "@/plain"], tells).stdout_is("plain\n");
    later(&world, &["--report", "@/made"], "true").succeeds();
}

#[test]
fn exec_and_export_go_through_no_planted_link() {
    let world = world();
    world.keeps(1);
    world.file("private/secret", "TOKEN=of-the-caller\n");
    let (flags, at) = ways(&world)[0].clone();
    let plant = format!("{}; ln -s ../private/secret env; sleep 600", plant(&world, &at));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let id = crate::apart::start(&world, &flags, &plant);
    let env = world.path("shared/env");
    crate::apart::until("the link is there", || env.symlink_metadata().is_ok());
    let exec = |file: &Path| {
        let file = file.to_str().unwrap();
        bryo(&world, &["exec", "--env-file", file, &id, "sh", "-c", "echo \"$TOKEN\""])
    };
    exec(&world.path("private/secret")).succeeds().stdout_is("of-the-caller\n");
    refused(exec(&env), &world).stderr_has("--env-file");
    bryo(&world, &["stop", "-t", "0", &id]);
    let export = |to: &str| {
        let to = world.path(to).display().to_string();
        bryo(&world, &["export", "-o", &to, &id])
    };
    refused(export("shared/out/made"), &world).stderr_has("--output");
    assert!(!world.exists("private/made"));
    export("private/made").succeeds();
    export("shared/made").succeeds();
}
