//! Links of the host on the way to what later runs trust or show: whoever may write around one puts something else in
//! its place.

use super::{home_is_a_copy, sandbox};
use crate::support::{Host, World};

/// What somebody keeps elsewhere, and how a payload takes that over.
struct Kept {
    /// Made before, in the home.
    made: &'static str,
    /// What the refusal names, below the home.
    named: &'static str,
    /// Puts something of the payload's own in its place, in the home.
    forge: &'static str,
    /// Where the payload then writes what later runs trust.
    at: &'static str,
}

/// Ways to the folder of profiles, and to one of them, that lead through links.
const PROFILES: [Kept; 6] = [
    Kept {
        made: "mkdir -p dot/config; ln -s dot/config .config",
        named: ".config",
        forge: "rm .config; mkdir -p .config/bryo/profiles",
        at: ".config/bryo/profiles",
    },
    Kept {
        made: "mkdir -p dot/config; ln -s dot/config .config",
        named: ".config",
        forge: "mv .config old; mkdir -p evil/bryo/profiles; ln -s evil .config",
        at: "evil/bryo/profiles",
    },
    Kept {
        made: "mkdir -p dot/bryo .config; ln -s ../dot/bryo .config/bryo",
        named: ".config/bryo",
        forge: "rm .config/bryo; mkdir -p .config/bryo/profiles",
        at: ".config/bryo/profiles",
    },
    // The second of two links, and one in a directory that is reached by `..`.
    Kept {
        made: "mkdir -p far/config dot; ln -s ../far/config dot/config; ln -s dot/../dot/config .config",
        named: ".config",
        forge: "rm -r dot; mkdir -p dot/config/bryo/profiles",
        at: "dot/config/bryo/profiles",
    },
    // The links stand in the folder, which is kept; what they lead to is not.
    Kept {
        made: "mkdir -p dot .config/bryo; ln -s ../../dot .config/bryo/profiles",
        named: ".config/bryo/profiles",
        forge: "true",
        at: "dot",
    },
    Kept {
        made: "mkdir -p dot .config/bryo/profiles; echo >dot/mine.toml; \
               ln -s ../../../dot/mine.toml .config/bryo/profiles/mine.toml",
        named: ".config/bryo/profiles/mine.toml",
        forge: "mv dot dot2; mkdir dot",
        at: "dot",
    },
];

/// A profile that opens a variable of the caller's.
const OPEN: &str = "extends = [\\\"default\\\"]\\n[environment]\\npass = [\\\"TOKEN\\\"]\\n";

/// Whether a profile of the payload's own is used by a later run.
fn is_forged(world: &World) -> bool {
    let run = sandbox(world).args(["--profile", "mine"]).env("TOKEN", "of the caller");
    run.run("echo \"<$TOKEN>\"").stdout().contains("<of the caller>")
}

/// Each way to what is trusted is attacked from a sandbox that may write the home, under both its names, and then
/// without a sandbox, which is the control.
fn attack_each(ways: &[Kept], plant: &str, is_forged: fn(&World) -> bool) {
    for Kept { made, named, forge, at } in ways {
        let world = World::new();
        world.host(Host::MayChange);
        world.outside(made).succeeds();
        let home = world.home().to_str().unwrap().to_owned();
        let attack = |home: &str| format!("cd {home}; {forge}; {plant}{at}/mine.toml; true");
        for (flag, place, seen) in
            [("--write", home.clone(), home.as_str()), ("-v", format!("{home}:/mnt"), "/mnt")]
        {
            let refused = sandbox(&world).args([flag, &place]).run(&attack(seen));
            refused.exits_with(125).stderr_has(&format!("{home}/{named}`")).stderr_has("trust");
            assert!(!is_forged(&world), "{made}");
        }
        world.outside(&attack(&home));
        assert!(is_forged(&world), "the control: {made}");
        world.outside("rm -rf .local dat").succeeds();
    }
}

#[test]
fn a_link_on_the_way_to_the_profiles_is_not_replaced_from_a_directory_that_is_written() {
    if home_is_a_copy() {
        attack_each(&PROFILES, &format!("printf \"{OPEN}\" >"), is_forged);
    }
}

/// Ways to the store.
const STORES: [Kept; 3] = [
    Kept {
        made: "mkdir -p dat/share .local; ln -s ../dat/share .local/share",
        named: ".local/share",
        forge: "rm .local/share; mkdir -p .local/share; mkdir -m 700 .local/share/bryo",
        at: ".local/share/bryo",
    },
    Kept {
        made: "mkdir -p dat/share; ln -s dat .local",
        named: ".local",
        forge: "rm .local; mkdir -p .local/share; mkdir -m 700 .local/share/bryo",
        at: ".local/share/bryo",
    },
    Kept {
        made: "mkdir -p .local/share; mkdir -p -m 700 dat; ln -s ../../dat .local/share/bryo",
        named: ".local/share/bryo",
        forge: "rm .local/share/bryo; mkdir -m 700 .local/share/bryo",
        at: ".local/share/bryo",
    },
];

#[test]
fn a_link_on_the_way_to_the_store_is_not_replaced_from_a_directory_that_is_written() {
    if home_is_a_copy() {
        let is_forged = |world: &World| world.exists(".local/share/bryo/mine.toml");
        attack_each(&STORES, "echo >", is_forged);
    }
}

#[test]
fn a_link_that_was_planted_leads_no_flag_to_the_settings() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    let planted = "mkdir -p ~/.config/bryo/profiles; ln -s ~/.config/bryo ~/project/out";
    world.outside(planted).succeeds();
    let forge = "echo >~/project/out/profiles/forged.toml";
    for flags in [
        ["--write", "~/project/out"],
        ["--write", "~/project/out/profiles"],
        ["-v", "~/project/out:/mnt"],
    ] {
        let flags = flags.map(|flag| flag.replace('~', &world.path("").to_string_lossy()));
        let ended = sandbox(&world).args(flags).run(forge).exits_with(125);
        ended.stderr_has("later runs take what they trust from there");
        assert!(!world.path(".config/bryo/profiles/forged.toml").exists());
    }
    // The control: whoever names it opens it, and then the link leads there.
    let named = world.path(".config/bryo");
    sandbox(&world).args(["--write", named.to_str().unwrap()]).run(forge).succeeds();
    assert!(world.path(".config/bryo/profiles/forged.toml").exists());
}

#[test]
fn what_is_not_on_such_a_way_can_be_written_all_the_same() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.outside("mkdir -p dot/config/bryo; ln -s dot/config .config").succeeds();
    // The folder itself is below a mount there, and the link is elsewhere.
    let write = sandbox(&world).arg("--write").arg(world.path("dot"));
    write.run("echo x >~/dot/new; mv ~/dot/config ~/dot/c2; ls -A ~/dot/config/bryo").succeeds();
    assert!(world.exists("dot/new") && world.exists("dot/config/bryo") && !world.exists("dot/c2"));
}

#[test]
fn a_profile_planted_under_a_built_in_name_stops_no_later_run_and_changes_none() {
    let world = World::new();
    world.host(Host::MayChange);
    let plant = format!(
        "cd ~; mkdir -p .config/bryo/profiles; printf \"{OPEN}\" >.config/bryo/profiles/default.toml"
    );
    world.outside(&plant).succeeds();
    world
        .outside("cd ~/.config/bryo/profiles; echo \"extends = ['default']\" >mine.toml")
        .succeeds();
    for more in [&[][..], &["--profile", "mine"], &["--profile", "build"]] {
        let run = sandbox(&world).args(more).env("TOKEN", "of the caller");
        let ended = run.run("echo \"<$TOKEN>\"").succeeds().stdout_is("<>\n");
        if more != ["--profile", "build"] {
            ended.stderr_has("default.toml` is passed over");
        }
    }
    // Who types the name is asked which one is meant. The control: the file is a profile.
    sandbox(&world).args(["--profile", "default"]).run("true").refuses_with(&["cannot choose"]);
    let file = world.path(".config/bryo/profiles/default.toml");
    let named = sandbox(&world).arg("--profile").arg(&file).env("TOKEN", "of the caller");
    named.run("echo \"<$TOKEN>\"").stdout_is("<of the caller>\n");
}

#[test]
fn the_settings_that_runs_with_other_variables_read_are_kept_too() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    let plant = format!(
        "cd ~; mkdir -p .config/bryo/profiles; printf \"{OPEN}\" >.config/bryo/profiles/mine.toml"
    );
    let writes = sandbox(&world).arg("--write").arg(world.home());
    writes.env("XDG_CONFIG_HOME", world.path("conf")).run(&format!("{plant}; true"));
    assert!(!is_forged(&world));
    world.outside(&plant).succeeds();
    assert!(is_forged(&world), "the control");
}

/// Ways that the next run's variables lead, and what it keeps elsewhere: what is made, what is set, what the payload does.
const LED: [(&str, &str, &str, &str); 4] = [
    ("true", "XDG_CONFIG_HOME", "conf", "mkdir -p conf/bryo/profiles"),
    ("mkdir -p dot; ln -s dot conf", "XDG_CONFIG_HOME", "conf", "mkdir -p dot/bryo/profiles"),
    ("true", "XDG_CONFIG_HOME", "conf", "mkdir -p evil/bryo/profiles; ln -s evil conf"),
    (
        "mkdir -p dot; ln -s dot conf",
        "XDG_CONFIG_HOME",
        "conf/x",
        "rm -r dot; mkdir -p e/x/bryo/profiles; ln -s e dot",
    ),
];

#[test]
fn what_later_runs_trust_is_not_applied_without_a_yes_wherever_it_lies() {
    if !home_is_a_copy() {
        return;
    }
    let kept = |ways: &'static [Kept], plant: &'static str, forged: fn(&World) -> bool| {
        ways.iter().map(move |way| (way, plant, forged))
    };
    let profiles = kept(&PROFILES, "printf \"OPEN\" >", is_forged);
    let stored = |world: &World| world.exists(".local/share/bryo/mine.toml");
    for (Kept { made, forge, at, .. }, plant, is_forged) in
        profiles.chain(kept(&STORES[..2], "echo >", stored))
    {
        let world = World::new();
        world.host(Host::MayChange);
        world.outside(made).succeeds();
        let plant = plant.replace("OPEN", OPEN);
        let attack = format!("cd ~; {forge}; {plant}{at}/mine.toml; true");
        world.sandbox().args(["--name", "s"]).run(&attack).succeeds();
        // What has an innocent name goes to the host; what has not waits for its yes.
        let told = world.bryo(["apply", "s"]).ends().stdout();
        assert!(!is_forged(&world), "{made}\n{told}");
        assert!(told.contains("bryo will follow it"), "{made}\n{told}");
        world.outside(&attack);
        assert!(is_forged(&world), "the control: {made}");
        world.outside("rm -rf .local dat").succeeds();
    }
}

#[test]
fn what_a_later_run_trusts_by_a_variable_is_not_applied_without_a_yes() {
    if !home_is_a_copy() {
        return;
    }
    for (made, variable, value, forge) in LED {
        let world = World::new();
        world.host(Host::MayChange);
        world.outside(made).succeeds();
        let value = world.path(value);
        let profiles = value.join("bryo/profiles/mine.toml");
        let plant = format!("cd ~; {forge}; printf \"{OPEN}\" >{}", profiles.display());
        world.sandbox().args(["--name", "s"]).env(variable, &value).run(&plant).succeeds();
        let is_forged = || {
            let run = sandbox(&world).args(["--profile", "mine"]).env("TOKEN", "of the caller");
            run.env(variable, &value).run("echo \"<$TOKEN>\"").stdout().contains("<of the caller>")
        };
        let told = world.bryo(["apply", "s"]).env(variable, &value).ends().stdout();
        assert!(!is_forged(), "{made}; {forge}\n{told}");
        world.outside(&plant).succeeds();
        assert!(is_forged(), "the control: {made}; {forge}");
        world.outside("rm -rf .local").succeeds();
    }
}
