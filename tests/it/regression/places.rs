//! What is shown of the host, and what is said of it.

use crate::support::{Host, Overlay, World, overlay_is_one_of};

#[test]
fn a_home_with_a_link_for_a_secret_can_be_written_and_the_secret_is_not_seen() {
    let world = World::new();
    world.host(Host::MayChange);
    world.file("dots/aws/credentials", "the key\n");
    std::os::unix::fs::symlink("dots/aws", world.path(".aws")).unwrap();
    std::os::unix::fs::symlink("nowhere", world.path(".netrc")).unwrap();
    let look = "cat ~/.aws/credentials ~/dots/aws/credentials";
    world.outside(look).succeeds().stdout_is("the key\nthe key\n");
    let run = || world.bryo(["run", "--rm", "--write"]).arg(world.home());
    run().run(&format!("{look}; echo written >~/file")).succeeds().stdout_is("");
    assert_eq!(world.read("file"), "written\n", "the control: it is the host's");
}

#[test]
fn who_starts_where_the_link_of_a_secret_leads_is_told_that_it_is_one() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    world.file("dots/ssh/id", "the key\n");
    std::os::unix::fs::symlink("dots/ssh", world.path(".ssh")).unwrap();
    let at = world.path("dots/ssh");
    world.outside("cat dots/ssh/id").stdout_is("the key\n");
    let said = format!("bryo: cannot start in `{0}`: `{0}` holds secrets", at.display());
    let run = || world.sandbox().in_folder(&at);
    run().run("cat id").stdout_is("").refuses_with(&[&said, "--read"]);
    run().arg("--read").arg(&at).run("cat id").succeeds().stdout_is("the key\n");
}

#[test]
fn the_store_is_refused_by_name_whatever_flag_names_it() {
    let world = World::new();
    // The first run makes it.
    world.sandbox().run("true").succeeds();
    world.folder(".local/share/bryo");
    for flag in ["--read", "--write", "--cow"] {
        let run = world.bryo(["run", flag]).arg(world.store()).run("echo started");
        run.stdout_is("")
            .refuses_with(&["bryo keeps its layers there, and no sandbox may see them"]);
    }
    // To hide it is to ask for what is so anyway.
    world.bryo(["run", "--rm", "--hide"]).arg(world.store()).run("true").succeeds();
}

/// A name that is written wrongly hides nothing; a profile may name what this machine has not.
#[test]
fn a_place_on_the_command_line_that_is_not_there_to_be_hidden_is_told() {
    let world = World::new();
    world.file("project/key", "secret\n");
    let run = |flags: &[&str]| world.bryo(["run", "--rm"]).args(flags).run("cat key");
    let told = run(&["--hide", "kye"]).succeeds().stdout_is("secret\n");
    let absent = world.path("project/kye").display().to_string();
    told.stderr_is(&format!(
        "bryo: `{absent}` is not there: --hide keeps it hidden if it appears\n"
    ));
    run(&["--hide", "key"]).fails().stderr_lacks("is not there");
    world.file("extra.toml", "extends = ['default']\n[paths]\nhide = ['./kye']\n");
    let profile = world.path("extra.toml");
    let profile = profile.to_str().unwrap();
    run(&["--profile", profile]).succeeds().stderr_is("");
}

#[test]
fn strict_tells_which_files_may_hold_secrets() {
    if !overlay_is_one_of(&[Overlay::Kernel]) {
        return;
    }
    let world = World::new();
    world.file("project/.env", "PASSWORD=x\n");
    let notices = |hide: &[&str]| {
        let plan = ["run", "--profile", "strict", "--dry-run"];
        let shown = world.bryo(plan).args(hide).args(["--", "true"]).ends().succeeds().stdout();
        shown.contains("project/.env` may hold secrets and is visible")
    };
    assert!(notices(&[]));
    assert!(!notices(&["--hide", ".env"]), "it is not visible");
}

/// What was asked for is done or refused: a copy of what others own would be read-only.
#[test]
fn a_copy_of_what_is_not_the_callers_is_refused_and_a_current_directory_told() {
    let world = World::new();
    let refused = world.bryo(["run", "--rm", "--cow", "/usr"]).run("echo started");
    refused.stdout_is("").refuses_with(&["`/usr`: it is not yours to write", "--tmpfs /usr"]);
    // The control: what is the caller's is copied.
    let mine = world.folder("project/mine");
    let copied =
        world.bryo(["run", "--rm", "--cow"]).arg(&mine).run("echo new >mine/f; cat mine/f");
    copied.succeeds().stdout_is("new\n");
    let told = |folder: &std::path::Path| {
        let plan = world.bryo(["run", "--dry-run"]).in_folder(folder).args(["--", "true"]);
        plan.ends().succeeds().stdout().contains("is not yours to write: it is read-only inside")
    };
    assert!(told(std::path::Path::new("/usr")), "a directory of root's");
    assert!(!told(&mine), "one of the caller's");
}

#[test]
fn the_settings_of_a_repository_are_told_where_they_hold_a_password_alone() {
    let world = World::new();
    let told = |settings: &str| {
        world.file("project/.git/config", settings);
        let shown = world.bryo(["run", "--dry-run", "--", "true"]).ends().succeeds().stdout();
        shown.contains("project/.git/config` may hold secrets")
    };
    assert!(told("[remote \"origin\"]\n\turl = https://me:word@host/it\n"));
    assert!(!told("[core]\n\tbare = false\n[remote \"origin\"]\n\turl = git@host:it\n"));
}

#[test]
fn what_is_mounted_over_a_mount_is_seen_and_can_be_written() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    world.folder("project/below");
    // As an automounter does it, and a container whose /proc is mounted anew.
    let mount =
        |file| format!("mount -t tmpfs t below; echo {file} >below/{file}; chmod 777 below");
    for script in [mount("one"), format!("{}; {}; {}", mount("three"), mount("two"), mount("one"))]
    {
        let run = world.sandbox().arg("--rm").under(crate::degraded::then_as_user(&script));
        run.run("ls below; cat below/one; echo x >below/x && ls below")
            .succeeds()
            .stdout_is("one\none\none\nx\n")
            .stderr_is("");
    }
}
