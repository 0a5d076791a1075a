//! Secrets of the default profile, and other people's files.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use super::{home_is_a_copy, sandbox};
use crate::support::{Host, World};

const MARK: &str = "the-mark-of-a-secret";

/// What the default profile calls a secret below `$HOME`, as paths below it.
fn secrets() -> Vec<String> {
    let profile: toml::Table = include_str!("../../../profiles/default.toml").parse().unwrap();
    let list = profile["paths"]["secrets"].as_array().unwrap();
    let all: BTreeSet<String> = list
        .iter()
        .filter_map(|entry| entry.as_str().unwrap().strip_prefix("~/"))
        .map(|path| path.replace('*', "any"))
        .collect();
    // Of two that lie in each other the outer one is made.
    let outer = |path: &&String| {
        !all.iter().any(|other| {
            path.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    all.iter().filter(outer).cloned().collect()
}

#[test]
fn every_secret_of_the_default_profile_is_hidden_be_it_a_file_or_a_directory() {
    if !home_is_a_copy() {
        return;
    }
    let secrets = secrets();
    assert!(secrets.len() > 100, "{secrets:?}");
    for below in ["", "/in/it"] {
        let world = World::new();
        for path in &secrets {
            world.file(format!("{path}{below}"), MARK);
        }
        world.file("project/shown", MARK);
        let find = format!("grep -rl {MARK} ~ 2>/dev/null | sort");
        let outside = world.outside(&find).stdout();
        assert_eq!(outside.lines().count(), secrets.len() + 1, "{outside}");
        let shown = format!("{}/project/shown\n", world.home().display());
        sandbox(&world).run(&find).succeeds().stdout_is(&shown);
        // Neither by way of another name of the same place.
        let ways = "for way in /proc/self/root /proc/self/cwd/../../../../../../..; do \
                    grep -rl MARK $way$HOME 2>/dev/null; done | grep -v shown; true";
        sandbox(&world).run(&ways.replace("MARK", MARK)).stdout_is("");
    }
}

#[test]
fn a_secret_that_is_a_link_is_hidden_where_it_leads_and_its_link_leads_nowhere() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.file("dotfiles/ssh/id", MARK);
    world.file("dotfiles/netrc", MARK);
    std::os::unix::fs::symlink("dotfiles/ssh", world.path(".ssh")).unwrap();
    std::os::unix::fs::symlink("dotfiles/netrc", world.path(".netrc")).unwrap();
    let attack = "cat ~/.ssh/id ~/dotfiles/ssh/id ~/.netrc ~/dotfiles/netrc 2>/dev/null; true";
    world.outside(attack).stdout_is(&MARK.repeat(4));
    sandbox(&world).run(attack).stdout_is("");
}

#[test]
fn what_links_in_a_secret_directory_lead_to_is_hidden_there() {
    if !home_is_a_copy() {
        return;
    }
    let link = std::os::unix::fs::symlink::<&str, std::path::PathBuf>;
    let world = World::new();
    world.file("dotfiles/aws/credentials", MARK);
    world.file("dotfiles/keys/secret", MARK);
    world.file("dotfiles/gnupg/plain", "shown");
    world.folder(".aws");
    // The directory itself is elsewhere, and its files in a third place.
    world.folder("dotfiles/gnupg");
    link("../dotfiles/aws/credentials", world.path(".aws/credentials")).unwrap();
    link("dotfiles/gnupg", world.path(".gnupg")).unwrap();
    link("../keys", world.path("dotfiles/gnupg/private-keys-v1.d")).unwrap();
    // What holds the project stays, whatever leads there.
    link("../project", world.path(".aws/project")).unwrap();
    link("loop", world.path(".aws/loop")).unwrap();
    world.file("project/own", "shown");
    let attack =
        format!("cd ~; grep -r {MARK} .; grep -R {MARK} .aws .gnupg; cat project/own; true");
    world
        .outside(&attack)
        .stdout_has("dotfiles/aws/credentials")
        .stdout_has("dotfiles/keys/secret");
    sandbox(&world).run(&attack).stdout_is("shown");
}

#[test]
fn a_secret_that_appears_while_the_payload_runs_is_hidden() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.folder(".config");
    world.folder("later");
    let (stdin, go) = std::io::pipe().unwrap();
    let stdin = crate::support::Stdin::File(std::os::fd::OwnedFd::from(stdin).into());
    let attack = "echo ready; read go; cat ~/.netrc ~/.ssh/id ~/.config/gh/hosts.yml 2>/dev/null; \
                  cat ~/later/one; true";
    let running = sandbox(&world).stdin(stdin).start(attack);
    running.says("ready");
    world.file(".netrc", MARK);
    world.file(".ssh/id", MARK);
    world.file(".config/gh/hosts.yml", MARK);
    world.file("later/one", "the tree is alive\n");
    drop(go);
    // That another new file shows is the control: the tree is a live view.
    running.ends().stdout_is("ready\nthe tree is alive\n");
}

#[test]
fn what_is_not_there_is_not_called_hidden_below_what_is_written_straight() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    let out = world.folder("out").to_str().unwrap().to_owned();
    let later = format!("{out}/later");
    let hide = || sandbox(&world).args(["--hide", &later]);
    let attack = format!("echo {MARK} >{later}; cat {later}");
    // The control: a place that is there is hidden; one that is not cannot be, and the payload would make it.
    let refused = hide().args(["--write", &out]).run(&attack);
    refused.exits_with(125).stdout_is("").stderr_has("cannot hide").stderr_has("mkdir -p");
    sandbox(&world).args(["--write", &out]).run(&attack).stdout_has(MARK);
    hide().args(["--write", &out]).run(&attack).stdout_is("");
    std::fs::remove_file(&later).unwrap();
    // In a copy it stays hidden, whoever makes it.
    let (stdin, go) = std::io::pipe().unwrap();
    let stdin = crate::support::Stdin::File(std::os::fd::OwnedFd::from(stdin).into());
    let running = hide().stdin(stdin).start(&format!("echo ready; read go; cat {later}; true"));
    running.says("ready");
    world.file("out/later", MARK);
    drop(go);
    running.ends().stdout_is("ready\n");
}

#[test]
fn a_secret_can_be_opened_by_name_and_only_that_one() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.file(".ssh/id", MARK);
    world.file(".netrc", MARK);
    let attack = "cat ~/.ssh/id; cat ~/.netrc; true";
    sandbox(&world).arg("--read").arg(world.path(".ssh")).run(attack).stdout_is(MARK);
}

#[test]
fn a_flag_opens_no_secret_through_a_link_that_was_planted() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.file(".aws/credentials", MARK);
    let w = world.folder("project/w").to_str().unwrap().to_owned();
    let plant = "ln -s ../../.aws w/o2; ln -s ../.. w/up";
    sandbox(&world).args(["--write", &w]).run(plant).succeeds();
    // The control: who follows it outside reads the secret; and it can be opened by its name.
    world.outside("cat ~/project/w/o2/credentials").stdout_is(MARK);
    let attack = "cat ~/.aws/credentials w/o2/credentials /mnt/credentials; true";
    sandbox(&world).arg("--read").arg(world.path(".aws")).run(attack).stdout_has(MARK);
    for through in ["o2", "up/.aws", "o2/credentials"] {
        let link = format!("{w}/{through}");
        for flag in ["--read", "--cow", "--write", "-v"] {
            if flag == "--cow" && through == "o2/credentials" {
                continue;
            }
            let value = if flag == "-v" { format!("{link}:/mnt") } else { link.clone() };
            let refused = sandbox(&world).args([flag, &value]).run(attack);
            refused.exits_with(125).stdout_is("").stderr_has("holds secrets").stderr_has("/.aws");
        }
    }
}

#[test]
fn moving_what_is_around_a_secret_does_not_show_it() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.file(".config/gh/hosts.yml", MARK);
    world.file(".config/other", "x");
    let attack = "mv ~/.config ~/moved 2>/dev/null; rm -rf ~/.config 2>/dev/null; \
                  cp -r ~/.config ~/copied 2>/dev/null; ln ~/.config/gh/hosts.yml ~/linked 2>/dev/null; \
                  mv ~ /tmp/home 2>/dev/null; grep -rl MARK ~ /tmp 2>/dev/null; true";
    let attack = attack.replace("MARK", MARK);
    sandbox(&world).run(&attack).stdout_is("");
    world.outside(&format!("grep -rl {MARK} ~")).stdout_has("hosts.yml");
}

#[test]
fn homes_of_others_are_hidden() {
    let (world, other) = (World::new(), World::new());
    let theirs = other.file("letters/one", MARK);
    std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(0o644)).unwrap();
    let attack = format!("cat {}; ls {}; true", theirs.display(), other.home().display());
    world.outside(&attack).stdout_has(MARK);
    sandbox(&world).run(&attack).stdout_is("");
    let named = sandbox(&world).arg("--read").arg(other.home());
    named.run(&attack).stdout_has(MARK);
}

#[test]
fn what_a_group_may_read_of_the_systems_secrets_is_hidden() {
    let world = World::new();
    let mine = world.file("shadow", MARK);
    // As for a member of the group `shadow`, whose groups stay: it can be read.
    let readable = |place: &str| {
        let mine = mine.display();
        crate::degraded::then_as_user(&format!("mount --bind {mine} {place}; cd \"$PWD\""))
    };
    for place in ["/etc/shadow", "/etc/gshadow"] {
        let words = readable(place);
        world.program("/bin/cat", [place]).under(&words).ends().stdout_is(MARK);
        sandbox(&world).under(&words).exec(["/bin/cat", place]).stdout_lacks(MARK);
        let named = sandbox(&world).args(["--read", place]).under(&words);
        named.exec(["/bin/cat", place]).stdout_is(MARK);
    }
}

#[test]
fn the_temporary_files_of_others_are_hidden() {
    let world = World::new();
    for folder in ["/tmp", "/var/tmp", "/dev/shm"] {
        let file = tempfile::NamedTempFile::new_in(folder).unwrap();
        std::fs::write(file.path(), MARK).unwrap();
        let attack = format!("cat {}; ls {folder}", file.path().display());
        world.outside(&attack).stdout_has(MARK);
        sandbox(&world)
            .run(&attack)
            .stdout_lacks(MARK)
            .stdout_lacks(file.path().file_name().unwrap().to_str().unwrap());
    }
}

#[test]
fn with_a_network_the_home_shows_its_toolchains_only() {
    if !home_is_a_copy() || !crate::support::has(crate::support::Need::Landlock(6)) {
        return;
    }
    let world = World::new();
    world.file("letters/one", MARK);
    world.file("bin/tool", "a tool\n");
    let attack = "cat ~/letters/one; cat ~/bin/tool";
    sandbox(&world).run(attack).stdout_has(MARK);
    let run = sandbox(&world).args(["--network", "host"]);
    run.run(attack).stdout_is("a tool\n");
}
