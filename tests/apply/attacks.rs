//! What a payload, or somebody on the host meanwhile, may try. Each has its control: that the attack is one.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use bryo::changes::apply::{Apply, Choices, ExecutedLater, Mode, Wish};
use bryo::changes::{Change, Digest, Digester, Sources};
use bryo::plan::step::{Backend, LayerNumber};
use bryo::spec::HostPath;
use rustix::fs::{CWD, FileType, XattrFlags, mknodat, setxattr};
use tempfile::TempDir;

use crate::bed::Bed;

const BOTH: [Backend; 2] = [Backend::Kernel, Backend::Fuse];

fn mark(path: &Path, name: &str, value: &str) {
    setxattr(path, name, value.as_bytes(), XattrFlags::empty()).unwrap();
}

#[test]
fn forged_marks_of_overlays_are_refused_and_the_payloads_own_are_not_applied() {
    let bed = Bed::new(Backend::Kernel, "mkdir secret d; echo key >secret/id; echo 0123456789 >f");
    let upper = bed.upper();
    fs::create_dir_all(upper.join("d")).unwrap();
    fs::create_dir(upper.join("new")).unwrap();
    mark(&upper.join("d"), "user.overlay.redirect", "/secret");
    mark(&upper.join("new"), "user.overlay.redirect", "/secret");
    fs::File::create(upper.join("f")).unwrap().set_len(10).unwrap();
    mark(&upper.join("f"), "user.overlay.metacopy", "");
    fs::write(upper.join("own"), "x").unwrap();
    mark(&upper.join("own"), "user.overlay.overlay.redirect", "/secret");
    mark(&upper.join("own"), "user.mine", "1");
    let forged = ["d", "f", "new"].map(|name| format!("{name}: it has forged overlay marks"));
    assert_eq!(bed.apply(&Choices::default()), forged);
    assert_eq!(fs::read_to_string(bed.host().join("f")).unwrap(), "0123456789\n");
    let mut list = [0_u8; 256];
    let length = rustix::fs::listxattr(bed.host().join("own"), &mut list[..]).unwrap();
    let list = String::from_utf8_lossy(&list[..length]).into_owned();
    // The control: what may come over does.
    assert!(list.contains("user.mine") && !list.contains("overlay"), "{list}");
}

#[test]
fn no_link_of_either_side_leads_an_apply_out_of_the_tree() {
    for backend in BOTH {
        let bed = Bed::new(backend, "mkdir -p real/in a b; echo 1 >a/f; echo 1 >b/f");
        let outside = TempDir::new().unwrap();
        fs::write(outside.path().join("f"), "outside").unwrap();
        bed.run("echo 2 >a/f; echo 2 >b/f; echo new >a/new");
        // In the layer: a link where the host has a directory, with the host's entries named behind it.
        fs::remove_dir_all(bed.upper().join("b")).unwrap();
        symlink(outside.path(), bed.upper().join("b")).unwrap();
        // On the host, meanwhile: a link where the directory was.
        fs::rename(bed.host().join("a"), bed.host().join("moved")).unwrap();
        symlink(outside.path(), bed.host().join("a")).unwrap();
        let left = bed.apply(&Choices::default());
        assert_eq!(left.len(), 3, "{left:?}");
        assert_eq!(fs::read_to_string(outside.path().join("f")).unwrap(), "outside");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        // A link that the payload made is a link on the host, and the directory it replaces is gone.
        assert_eq!(fs::read_link(bed.host().join("b")).unwrap(), outside.path());
        // The control: by their names these paths do lead out.
        assert_eq!(fs::read_to_string(bed.host().join("a/f")).unwrap(), "outside");
    }
}

/// Carries out an apply while `swap` is called before each of its steps.
fn while_swapping(bed: &Bed, swap: &mut dyn FnMut(usize)) -> Vec<String> {
    let mut steps = 0;
    let mut go_on = || {
        swap(steps);
        steps += 1;
        true
    };
    let mut wish = Wish { excludes: &[], executed_later: &|_| None, go_on: &mut || true };
    let apply = Apply::begin(&bed.sandbox, &bed.record, Mode::Do, &mut wish).unwrap();
    let plan = apply.plan(&Choices::default());
    let items = apply.items().to_vec();
    let outcome = apply.carry_out(&plan, &mut go_on, &mut |_| {}).unwrap();
    bed.left(&items, &plan, &outcome)
}

#[test]
fn what_somebody_puts_in_a_place_during_the_apply_is_not_lost() {
    let mut refused = 0;
    for step in 0..14 {
        let bed = Bed::new(Backend::Kernel, "mkdir -p d; echo 1 >f; echo 1 >gone; echo 1 >d/x");
        bed.run("echo 2 >f; echo 2 >new; rm gone; rm -r d");
        let (host, mut planted) = (bed.host(), false);
        let left = while_swapping(&bed, &mut |now| {
            if now == step {
                planted = true;
                for name in ["f", "new", "gone"] {
                    fs::write(host.join("tmp"), format!("planted {name}")).unwrap();
                    fs::rename(host.join("tmp"), host.join(name)).unwrap();
                }
                fs::create_dir_all(host.join("d")).unwrap();
                fs::write(host.join("d/y"), "planted").unwrap();
            }
        });
        assert!(planted);
        for name in ["f", "new", "gone"] {
            let is = fs::read_to_string(host.join(name)).unwrap();
            // Either it came before, and stays, or after what was applied, and stays.
            assert_eq!(is, format!("planted {name}"), "step {step}, left {left:?}");
        }
        assert_eq!(
            fs::read_to_string(host.join("d/y")).unwrap(),
            "planted",
            "step {step}: {left:?}"
        );
        refused += left.len();
        let beside: Vec<_> = fs::read_dir(&host).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(
            !beside.iter().any(|name| name.to_string_lossy().starts_with(".bryo")),
            "{beside:?}"
        );
    }
    // The control: most of these came in between.
    assert!(refused > 15, "{refused}");
}

/// A file with two names comes over with its first one. When that fails, the second is no name of what the
/// host has in the first one's place.
#[test]
fn a_second_name_is_not_linked_to_what_the_host_has_in_place_of_the_first() {
    for backend in BOTH {
        let bed = Bed::new(backend, "mkdir d; echo old >d/a");
        bed.run("rm d/a; echo new >d/a; ln d/a d/b");
        let upper = bed.upper();
        let left = while_swapping(&bed, &mut |now| {
            if now == 0 {
                // The first one is not what was looked at any more: it stays.
                fs::remove_file(upper.join("d/a")).unwrap();
                fs::write(upper.join("d/a"), "other").unwrap();
            }
        });
        let first = "d/a: changed on the host while it was being applied";
        let second = format!("d/b: `{}` is not applied", bed.host().join("d/a").display());
        assert_eq!(left, [first, &second], "{backend:?}");
        assert!(!bed.host().join("d/b").exists(), "{backend:?}");
        assert_eq!(bed.changes(), ["C d/a", "A d/b"], "{backend:?}");
        // The control: nothing is wrong with the second name alone.
        assert_eq!(bed.apply(&Choices::default()), [""; 0], "{backend:?}");
        let read = |name| fs::read_to_string(bed.host().join(name)).unwrap();
        assert_eq!((read("d/a").as_str(), read("d/b").as_str()), ("other", "new\n"));
    }
}

#[test]
fn a_link_that_is_planted_during_the_apply_is_not_followed() {
    for step in 0..14 {
        let bed = Bed::new(Backend::Kernel, "mkdir -p d; echo 1 >d/f");
        let outside = TempDir::new().unwrap();
        fs::write(outside.path().join("f"), "outside").unwrap();
        bed.run("echo 2 >d/f; echo 2 >d/new");
        let host = bed.host();
        let _left = while_swapping(&bed, &mut |now| {
            if now == step {
                fs::rename(host.join("d"), host.join("elsewhere")).unwrap();
                symlink(outside.path(), host.join("d")).unwrap();
            }
        });
        assert_eq!(fs::read_to_string(outside.path().join("f")).unwrap(), "outside");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "step {step}");
    }
}

#[test]
fn every_swap_of_kinds_is_applied_and_swapped_back() {
    const KINDS: [&str; 5] =
        ["echo f >x", "mkdir -p x/y; echo d >x/y/z", "ln -s t x", "mkfifo x", "true"];
    for backend in BOTH {
        for from in KINDS {
            for to in KINDS.iter().filter(|to| **to != from) {
                let bed = Bed::new(backend, from);
                bed.run(&format!("rm -rf x; {to}"));
                assert_eq!(bed.apply(&Choices::default()), [""; 0], "{from} -> {to}");
                let expected = TempDir::new().unwrap();
                crate::bed::bash(expected.path(), to);
                let trees = [expected.path(), &bed.host()].map(crate::trees::read);
                assert_eq!(trees[0], trees[1], "{backend:?}: {from} -> {to}");
                assert_eq!(bed.changes(), [""; 0]);
            }
        }
    }
}

#[test]
fn names_of_every_kind_are_applied_and_leave_nothing_beside_them() {
    for backend in BOTH {
        let bed = Bed::new(backend, "true");
        let long = vec![b'x'; 255];
        let names: [&[u8]; 7] =
            [b"-rf", b"a\nb", b"\xff\xfe", b"\x1b[2J", b" ", "\u{202e}".as_bytes(), &long];
        for name in names {
            fs::create_dir_all(bed.upper().join(OsStr::from_bytes(name))).unwrap();
            let inner = bed.upper().join(OsStr::from_bytes(name)).join(OsStr::from_bytes(&long));
            fs::write(inner, "x").unwrap();
        }
        assert_eq!(bed.apply(&Choices::default()), [""; 0]);
        for name in names {
            let directory = bed.host().join(OsStr::from_bytes(name));
            let found: Vec<_> =
                fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(found, [OsStr::from_bytes(&long)]);
        }
    }
}

#[test]
fn set_id_bits_devices_and_sockets_are_not_applied() {
    let bed = Bed::new(Backend::Kernel, "true");
    let upper = bed.upper();
    fs::write(upper.join("suid"), "x").unwrap();
    fs::set_permissions(upper.join("suid"), fs::Permissions::from_mode(0o6755)).unwrap();
    // The control: it has the bits.
    assert_eq!(fs::metadata(upper.join("suid")).unwrap().mode() & 0o7777, 0o6755);
    drop(std::os::unix::net::UnixListener::bind(upper.join("socket")).unwrap());
    let mut expected = vec!["socket: sockets are never applied".to_owned()];
    if rustix::process::geteuid().is_root() {
        let null = rustix::fs::makedev(1, 3);
        let mode = rustix::fs::Mode::RUSR;
        if mknodat(CWD, upper.join("device"), FileType::CharacterDevice, mode, null).is_ok() {
            expected.insert(0, "device: devices are never applied".to_owned());
        }
    }
    assert_eq!(bed.apply(&Choices::default()), expected);
    assert_eq!(fs::metadata(bed.host().join("suid")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn what_the_sandbox_was_not_shown_is_never_replaced() {
    let directory = TempDir::new().unwrap();
    for name in ["host", "merged", "host/.ssh", "host/d", "host/d/secret"] {
        fs::create_dir_all(directory.path().join(name)).unwrap();
    }
    fs::write(directory.path().join("host/.ssh/id"), "key").unwrap();
    let bed = Bed::over(Backend::Kernel, directory, &["/.ssh", "/d/secret"]);
    fs::create_dir(bed.upper().join(".ssh")).unwrap();
    fs::write(bed.upper().join(".ssh/authorized_keys"), "evil").unwrap();
    mknodat(CWD, bed.upper().join("d"), FileType::CharacterDevice, rustix::fs::Mode::empty(), 0)
        .unwrap();
    for conflicts in [bryo::changes::apply::Resolve::Tell, bryo::changes::apply::Resolve::Theirs] {
        let left = bed.apply(&Choices { conflicts, ..Choices::default() });
        let hidden = "the sandbox was not shown what the host has there";
        assert_eq!(
            left,
            [".ssh/authorized_keys", ".ssh", "d"].map(|path| format!("{path}: {hidden}"))
        );
    }
    assert!(
        bed.host().join("d/secret").exists() && !bed.host().join(".ssh/authorized_keys").exists()
    );
}

#[test]
fn what_is_executed_later_needs_a_yes_of_its_own() {
    let bed = Bed::new(Backend::Kernel, "true");
    bed.run("echo evil >.envrc; echo fine >other");
    let later = |change: &Change| change.path.as_bytes().ends_with(b".envrc").then_some("direnv");
    let apply = |executed_later: ExecutedLater| {
        let mut wish = Wish { excludes: &[], executed_later: &later, go_on: &mut || true };
        let apply = Apply::begin(&bed.sandbox, &bed.record, Mode::Do, &mut wish).unwrap();
        let plan = apply.plan(&Choices { executed_later, ..Choices::default() });
        let left = plan.left.len();
        apply.carry_out(&plan, &mut || true, &mut |_| {}).unwrap();
        left
    };
    assert_eq!(apply(ExecutedLater::Stay), 1);
    assert!(bed.host().join("other").exists() && !bed.host().join(".envrc").exists());
    assert_eq!(apply(ExecutedLater::Allow), 0);
    assert!(bed.host().join(".envrc").exists());
}

fn digest_of(bed: &Bed, apply: &Apply<'_>) -> Digest {
    let open = |number: LayerNumber| {
        Ok::<_, bryo::changes::ChangesError>(bed.sandbox.open_upper(number).unwrap())
    };
    let mut sources = Sources::open(&bed.record.layers, open).unwrap();
    let mut digester = Digester::default();
    for item in apply.items() {
        digester.add(&item.change, &sources.hold(&item.change).unwrap());
    }
    digester.finish()
}

#[test]
fn exactly_what_was_reviewed_is_applied() {
    for swap in ["", "before", "after"] {
        let bed = Bed::new(Backend::Kernel, "true");
        bed.run("echo reviewed >f; echo fine >g; ln f h");
        let digest = bed.looks(&[], |apply| digest_of(&bed, &apply));
        // The same size and time: only the bytes tell.
        let evil = || {
            let path = bed.upper().join("f");
            let time = fs::metadata(&path).unwrap().modified().unwrap();
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"EVIL", 0).unwrap();
            file.set_modified(time).unwrap();
        };
        if swap == "before" {
            evil();
        }
        let left = bed.looks(&[], |mut apply| {
            if !apply.review(&bryo::changes::apply::Selection::All, digest).unwrap() {
                return vec!["another digest".to_owned()];
            }
            if swap == "after" {
                evil();
            }
            let plan = apply.plan(&Choices::default());
            let items = apply.items().to_vec();
            let outcome = apply.carry_out(&plan, &mut || true, &mut |_| {}).unwrap();
            bed.left(&items, &plan, &outcome)
        });
        let not = "it is not what was reviewed";
        let expected: Vec<String> = match swap {
            "" => Vec::new(),
            "before" => vec!["another digest".to_owned()],
            _ => vec![
                format!("f: {not}"),
                format!("h: `{}` is not applied", bed.host().join("f").display()),
            ],
        };
        assert_eq!(left, expected, "{swap}");
        assert!(!fs::read_to_string(bed.host().join("f")).is_ok_and(|text| text.contains("EVIL")));
    }
}

/// What was not named was not looked at: a parent comes as any new directory of the caller's.
#[test]
fn a_parent_that_was_not_asked_for_brings_nothing_of_its_own() {
    for backend in BOTH {
        let bed = Bed::new(backend, "true");
        bed.run(
            "mkdir -p new/in; chmod 777 new new/in; chmod +t new; echo x >new/in/a; echo y >new/b",
        );
        let upper = bed.upper().join("new");
        mark(&upper, "user.mine", "1");
        let digest = bed.looks(&[], |apply| digest_of(&bed, &apply));
        let path = HostPath::new(bed.host().join("new/in/a")).unwrap();
        let selected = bryo::changes::apply::Selection::Below(vec![path]);
        let choices = Choices { selected, ..Choices::default() };
        assert_eq!(bed.apply(&choices), [""; 0]);
        let mode = |name: &str| fs::metadata(bed.host().join(name)).unwrap().mode() & 0o7777;
        // What `mkdir` in this process gives.
        fs::create_dir(bed.directory.path().join("plain")).unwrap();
        let plain = fs::metadata(bed.directory.path().join("plain")).unwrap().mode() & 0o7777;
        assert_eq!((mode("new"), mode("new/in")), (plain, plain), "{backend:?}");
        let mut list = [0_u8; 256];
        let host = bed.host().join("new");
        let length = rustix::fs::listxattr(&host, &mut list[..]).unwrap();
        assert!(!String::from_utf8_lossy(&list[..length]).contains("user.mine"));
        // The rest stays to be asked for, and then comes: the control.
        assert_eq!(bed.changes(), ["C new", "A new/b", "C new/in"]);
        assert_ne!(bed.looks(&[], |apply| digest_of(&bed, &apply)), digest);
        assert_eq!(bed.apply(&Choices::default()), [""; 0]);
        assert_eq!((mode("new"), mode("new/in")), (0o1777, 0o777));
        rustix::fs::getxattr(&host, "user.mine", &mut list[..]).unwrap();
    }
}

#[test]
fn a_new_directory_whose_attributes_are_not_those_reviewed_stays() {
    let bed = Bed::new(Backend::Kernel, "true");
    bed.run("mkdir d e; echo 1 >d/f");
    let digest = bed.looks(&[], |apply| digest_of(&bed, &apply));
    let left = bed.looks(&[], |mut apply| {
        assert!(apply.review(&bryo::changes::apply::Selection::All, digest).unwrap());
        mark(&bed.upper().join("d"), "user.mine", "1");
        let plan = apply.plan(&Choices::default());
        let items = apply.items().to_vec();
        let outcome = apply.carry_out(&plan, &mut || true, &mut |_| {}).unwrap();
        bed.left(&items, &plan, &outcome)
    });
    assert!(left.iter().any(|line| line == "d: it is not what was reviewed"), "{left:?}");
    assert!(!bed.host().join("d").exists() && bed.host().join("e").is_dir());
}

#[test]
fn a_file_that_somebody_can_still_write_to_is_copied_and_not_moved() {
    let bed = Bed::new(Backend::Kernel, "true");
    bed.run("echo 1 >held; echo 1 >free");
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let (held, free) = (inode(&bed.upper().join("held")), inode(&bed.upper().join("free")));
    let writer = fs::OpenOptions::new().write(true).open(bed.upper().join("held")).unwrap();
    assert_eq!(bed.apply(&Choices::default()), [""; 0]);
    std::os::unix::fs::FileExt::write_all_at(&writer, b"2", 0).unwrap();
    assert_eq!(fs::read_to_string(bed.host().join("held")).unwrap(), "1\n");
    // The control: who has no writer is moved, and a writer of it would have been one of the host's file.
    assert_ne!(inode(&bed.host().join("held")), held);
    assert_eq!(inode(&bed.host().join("free")), free);
}
