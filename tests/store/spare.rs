//! Directories that one run gives to the next: nothing of a payload goes with them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bryo::plan::step::{Backend, Layer, LayerNumber};
use bryo::state::{Effort, SandboxDirectory};
use rustix::fs::XattrFlags;

use crate::fixture::{Fixture, plan};

fn spares(fixture: &Fixture) -> Vec<u64> {
    let entries = fs::read_dir(fixture.path("data/bryo/spare")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().metadata().unwrap().ino()).collect()
}

/// So many that are ready: with fewer than three a run makes a directory of its own.
fn made(fixture: &Fixture, count: usize) -> Vec<u64> {
    let started: Vec<_> = (0..count).map(|_| fixture.started(None).0).collect();
    let uppers = started.iter().map(|sandbox| inode(&fixture.upper(sandbox))).collect();
    for sandbox in started {
        assert!(sandbox.remove_if_untouched().unwrap().is_none());
    }
    assert_eq!(spares(fixture).len(), count);
    uppers
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn attribute(path: &Path, name: &str) {
    rustix::fs::setxattr(path, name, b"y", XattrFlags::empty()).unwrap();
}

/// All with mode 000.
fn leave_as_a_volatile_overlay(upper: &Path) {
    let work = upper.with_file_name("work-0").join("work");
    fs::create_dir_all(work.join("incompat/volatile")).unwrap();
    fs::write(work.join("incompat/volatile/dirty"), "").unwrap();
    for name in ["incompat/volatile/dirty", "incompat/volatile", "incompat", ""] {
        fs::set_permissions(work.join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
}

#[test]
fn a_run_gets_the_directories_of_one_that_wrote_nothing_with_its_own_permissions() {
    let fixture = Fixture::new();
    let uppers = made(&fixture, 3);
    assert_eq!(fixture.left(), [""; 0]);
    fs::set_permissions(fixture.path("over"), fs::Permissions::from_mode(0o2750)).unwrap();
    let (second, _) = fixture.started(Some("n"));
    assert!(uppers.contains(&inode(&fixture.upper(&second))));
    assert_eq!(fs::metadata(fixture.upper(&second)).unwrap().mode() & 0o7777, 0o2750);
    assert_eq!(spares(&fixture).len(), 2);
    // Too few are there: it makes one, which is the next spare.
    let (third, _) = fixture.started(None);
    assert!(!uppers.contains(&inode(&fixture.upper(&third))));
    for sandbox in [second, third] {
        assert!(sandbox.remove_if_untouched().unwrap().is_none());
    }
    assert_eq!(spares(&fixture).len(), 4);
}

#[test]
fn a_layer_with_a_server_is_found_beside_what_a_run_without_one_left() {
    let fixture = Fixture::new();
    made(&fixture, 3);
    let served =
        Layer { backend: Backend::Fuse, ..plan(&fixture.path("over"), &[]).layers.remove(0) };
    let mut sandbox = fixture.store().create(None).unwrap();
    assert_eq!(spares(&fixture).len(), 2, "it has none of them");
    let made = sandbox.make_layer(LayerNumber(0), &served).unwrap();
    fs::write(made.upper.as_path().join("x"), "written").unwrap();
    let opened = sandbox.open_upper(LayerNumber(0)).unwrap().unwrap();
    assert_eq!(rustix::fs::fstat(&opened).unwrap().st_ino, inode(made.upper.as_path()));
    // What an earlier version left beside it means nothing either.
    let beside = made.upper.as_path().parent().unwrap().with_file_name("upper-0");
    assert!(!beside.exists(), "nothing that is another run's stays");
    fs::create_dir(&beside).unwrap();
    let opened = sandbox.open_upper(LayerNumber(0)).unwrap().unwrap();
    assert_eq!(rustix::fs::fstat(&opened).unwrap().st_ino, inode(made.upper.as_path()));
    sandbox.remove_if_untouched().unwrap().expect("changed").remove().unwrap();
}

#[test]
fn what_tells_of_a_payload_is_not_given_to_another() {
    let fixture = Fixture::new();
    // Changes stay with the sandbox.
    for touch in [
        (|upper: &Path| attribute(upper, "user.mine")) as fn(&Path),
        |upper| attribute(upper, "user.overlay.overlay.opaque"),
        |upper| fs::create_dir(upper.join("x")).unwrap(),
        |upper| fs::set_permissions(upper, fs::Permissions::from_mode(0o700)).unwrap(),
        |upper| fs::set_permissions(upper, fs::Permissions::from_mode(0o000)).unwrap(),
    ] {
        let (sandbox, _) = fixture.started(None);
        touch(&fixture.upper(&sandbox));
        sandbox.remove_if_untouched().unwrap().expect("changed").remove().unwrap();
        assert_eq!((spares(&fixture).len(), fixture.left().len()), (0, 0));
    }
    // Traces go with it.
    for touch in [(|upper: &Path| attribute(upper, "user.overlay.impure")) as fn(&Path), |upper| {
        // The directory keeps the blocks that many entries needed.
        let names: Vec<_> = (0..200).map(|n| upper.join(format!("{n:0200}"))).collect();
        for name in &names {
            fs::write(name, "").unwrap();
        }
        assert!(fs::metadata(upper).unwrap().len() > 4096, "the file system has such");
        for name in &names {
            fs::remove_file(name).unwrap();
        }
    }] {
        let (sandbox, _) = fixture.started(None);
        touch(&fixture.upper(&sandbox));
        assert!(sandbox.remove_if_untouched().unwrap().is_none());
        assert_eq!((spares(&fixture).len(), fixture.left().len()), (0, 0));
    }
    // The identity of the overlay is no trace.
    let (sandbox, _) = fixture.started(None);
    attribute(&fixture.upper(&sandbox), "user.overlay.uuid");
    assert!(sandbox.remove_if_untouched().unwrap().is_none());
    assert_eq!(spares(&fixture).len(), 1);
}

#[test]
fn what_a_mounted_overlay_left_is_no_hindrance_to_the_next_one() {
    let fixture = Fixture::new();
    for _ in 0..5 {
        let (sandbox, _) = fixture.started(None);
        let directory = fixture.upper(&sandbox).parent().unwrap().to_owned();
        let options =
            "userxattr,volatile,lowerdir=../../../../over,upperdir=upper-0,workdir=work-0";
        let mount = format!("mount -t overlay o -o {options} /mnt && umount /mnt");
        let status = std::process::Command::new("unshare")
            .args(["-Urm", "sh", "-c", &mount])
            .current_dir(directory)
            .status()
            .unwrap();
        assert!(status.success());
        assert!(sandbox.remove_if_untouched().unwrap().is_none());
        assert_eq!(fixture.left(), [""; 0]);
    }
    assert_eq!(spares(&fixture).len(), 3);
}

#[test]
fn runs_in_a_row_use_three_in_turn_and_find_them_ready() {
    let fixture = Fixture::new();
    let mut used = Vec::new();
    for _ in 0..6 {
        let (sandbox, _) = fixture.started(None);
        let upper = fixture.upper(&sandbox);
        assert!(!upper.with_file_name("work-0").join("work").exists());
        used.push(inode(&upper));
        leave_as_a_volatile_overlay(&upper);
        // While its payload runs.
        fixture.store().sweep(&|_, _| true, Effort::Brief).unwrap();
        assert!(sandbox.remove_if_untouched().unwrap().is_none());
    }
    let (first, rest) = used.split_at(3);
    assert!(rest.iter().all(|upper| first.contains(upper)), "{used:?}");
}

#[test]
fn a_kept_sandbox_has_nothing_of_the_kernels_in_its_work_directory() {
    let fixture = Fixture::new();
    let (sandbox, record) = fixture.started(Some("n"));
    let id = sandbox.id();
    leave_as_a_volatile_overlay(&fixture.upper(&sandbox));
    sandbox.keep(&crate::fixture::exited(record)).unwrap();
    let work = fixture.path(&format!("data/bryo/kept/{id}/work-0"));
    assert_eq!(fs::read_dir(work).unwrap().count(), 0);
}

#[test]
fn there_are_never_more_than_four_and_a_sweep_readies_them() {
    let fixture = Fixture::new();
    let started: Vec<_> = (0..6).map(|_| fixture.started(None).0).collect();
    for sandbox in started {
        leave_as_a_volatile_overlay(&fixture.upper(&sandbox));
        assert!(sandbox.remove_if_untouched().unwrap().is_none());
    }
    assert_eq!((spares(&fixture).len(), fixture.left().len()), (4, 0));
    let kernels = fixture.path("data/bryo/spare/0/work-0/work");
    // As a user's `rm -r` of the store needs it, and without a file.
    assert_eq!(fs::read_dir(kernels.join("incompat/volatile")).unwrap().count(), 0);
    fixture.store().sweep(&|_, _| true, Effort::Whole).unwrap();
    assert!(!kernels.exists());
    assert_eq!(spares(&fixture).len(), 4);
}

#[test]
fn a_spare_that_is_ready_is_taken_first_and_any_other_made_ready() {
    let fixture = Fixture::new();
    let started: Vec<_> = (0..4).map(|_| fixture.started(None).0).collect();
    let kernels = |upper: &Path| upper.with_file_name("work-0").join("work");
    for sandbox in &started[..3] {
        leave_as_a_volatile_overlay(&fixture.upper(sandbox));
    }
    let ready = inode(&fixture.upper(&started[3]));
    for sandbox in started {
        assert!(sandbox.remove_if_untouched().unwrap().is_none());
    }
    let first = fixture.started(None).0;
    assert_eq!(inode(&fixture.upper(&first)), ready);
    let second = fixture.started(None).0;
    assert_eq!(spares(&fixture).len(), 2);
    assert!(!kernels(&fixture.upper(&second)).exists());
}

#[test]
fn a_run_without_layers_gives_a_spare_back_as_it_came() {
    let fixture = Fixture::new();
    let uppers = made(&fixture, 3);
    let sandbox = fixture.store().create_for(None, 0).unwrap();
    assert_eq!(spares(&fixture).len(), 2);
    assert!(uppers.contains(&inode(&fixture.upper(&sandbox))));
    assert!(sandbox.remove_if_untouched().unwrap().is_none());
    assert_eq!((spares(&fixture).len(), fixture.left().len()), (3, 0));
}

/// A sandbox with layers of the kernel's, by their backends.
fn with_layers(fixture: &Fixture, backends: &[Backend]) -> (SandboxDirectory, Vec<PathBuf>) {
    let count = u16::try_from(backends.len()).unwrap();
    let mut sandbox = fixture.store().create_for(None, count).unwrap();
    let plain = plan(&fixture.path("over"), &[]).layers.remove(0);
    let uppers = (0..).zip(backends).map(|(number, backend)| {
        let layer = Layer { backend: *backend, ..plain.clone() };
        let made = sandbox.make_layer(LayerNumber(number), &layer).unwrap();
        made.upper.as_path().to_owned()
    });
    let uppers = uppers.collect();
    (sandbox, uppers)
}

#[test]
fn runs_with_two_layers_have_spares_of_their_own() {
    const TWO: [Backend; 2] = [Backend::Kernel; 2];
    let fixture = Fixture::new();
    made(&fixture, 3);
    let started: Vec<_> = (0..6).map(|_| with_layers(&fixture, &TWO)).collect();
    assert_eq!(spares(&fixture).len(), 3, "none of those with one layer");
    let mut before = Vec::new();
    for (sandbox, uppers) in started {
        before.extend(uppers.iter().map(|upper| inode(upper)));
        leave_as_a_volatile_overlay(&uppers[0]);
        assert!(sandbox.remove_if_untouched().unwrap().is_none());
    }
    // Four of each kind, and a sweep readies them.
    assert_eq!((spares(&fixture).len(), fixture.left().len()), (7, 0));
    fixture.store().sweep(&|_, _| true, Effort::Brief).unwrap();
    let kernels = (0..4).map(|k| fixture.path(&format!("data/bryo/spare/2-{k}/work-0/work")));
    assert!(kernels.into_iter().all(|kernels| !kernels.exists()));
    // Both layers of the next one come from there; one that wrote is no spare, in whichever it wrote.
    for (written, left) in [(None, 4), (Some(0), 3), (Some(1), 3)] {
        let (sandbox, uppers) = with_layers(&fixture, &TWO);
        assert!(uppers.iter().all(|upper| before.contains(&inode(upper))), "{written:?}");
        if let Some(number) = written {
            fs::write(uppers[number].join("x"), "").unwrap();
            sandbox.remove_if_untouched().unwrap().expect("changed").remove().unwrap();
            assert_eq!((spares(&fixture).len(), fixture.left().len()), (3 + left, 0));
            let (other, _) = with_layers(&fixture, &TWO);
            assert_eq!(spares(&fixture).len(), 3 + left - 1);
            // Too few are there: it makes one.
            let (more, uppers) = with_layers(&fixture, &TWO);
            before.extend(uppers.iter().map(|upper| inode(upper)));
            for sandbox in [other, more] {
                assert!(sandbox.remove_if_untouched().unwrap().is_none());
            }
        } else {
            assert!(sandbox.remove_if_untouched().unwrap().is_none());
        }
        assert_eq!((spares(&fixture).len(), fixture.left().len()), (7, 0), "{written:?}");
    }
    fixture.store().remove_remakeable().unwrap();
    assert_eq!(spares(&fixture).len(), 0);
}

#[test]
fn runs_with_as_many_layers_as_a_home_has_toolchains_use_the_same_directories() {
    let fixture = Fixture::new();
    for layers in 3..=8 {
        let backends = vec![Backend::Kernel; layers];
        let before: usize = spares(&fixture).len();
        let inodes =
            |uppers: &[PathBuf]| uppers.iter().map(|upper| inode(upper)).collect::<Vec<_>>();
        let mut seen = Vec::new();
        for _ in 0..6 {
            let (sandbox, uppers) = with_layers(&fixture, &backends);
            seen.push(inodes(&uppers));
            assert!(sandbox.remove_if_untouched().unwrap().is_none());
        }
        // Three in turn, each whole, and of no other kind.
        assert_eq!((spares(&fixture).len(), fixture.left().len()), (before + 3, 0), "{layers}");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 3, "{layers}");
        assert!(seen.iter().all(|one| one.len() == layers));
        // What one of its layers holds is nobody's.
        let (sandbox, uppers) = with_layers(&fixture, &backends);
        fs::write(uppers[layers - 1].join("x"), "").unwrap();
        sandbox.remove_if_untouched().unwrap().expect("changed").remove().unwrap();
    }
}

#[test]
fn what_has_more_layers_or_a_server_leaves_no_spare_and_takes_none() {
    const OTHERS: [&[Backend]; 3] = [
        &[Backend::Kernel; 9],
        &[Backend::Kernel, Backend::Fuse],
        &[Backend::Fuse, Backend::Kernel],
    ];
    let fixture = Fixture::new();
    for backends in OTHERS {
        let (sandbox, uppers) = with_layers(&fixture, backends);
        assert!(uppers.iter().all(|upper| upper.exists()));
        assert!(sandbox.remove_if_untouched().unwrap().is_none());
        assert_eq!((spares(&fixture).len(), fixture.left().len()), (0, 0), "{backends:?}");
    }
}

#[test]
fn launchers_at_the_same_time_and_sweepers_never_share_a_directory() {
    let fixture = Fixture::new();
    let (running, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let launch = |n: usize| {
        let plan = plan(&fixture.path("over"), &[]);
        for round in 0..40 {
            let mut sandbox = fixture.store().create(None).unwrap();
            sandbox.make_layer(LayerNumber(0), &plan.layers[0]).unwrap();
            let mark = fixture.upper(&sandbox).with_file_name("mark");
            // Whoever else had this directory would have made or found it.
            fs::File::create_new(&mark).unwrap();
            running.fetch_add(1, Ordering::SeqCst);
            if round % 3 == n % 3 {
                std::thread::yield_now();
            }
            running.fetch_sub(1, Ordering::SeqCst);
            fs::remove_file(&mark).unwrap();
            match round % 5 {
                0 => drop(sandbox),
                1 => sandbox.remove().unwrap(),
                _ => assert!(sandbox.remove_if_untouched().unwrap().is_none()),
            }
            ended.fetch_add(1, Ordering::SeqCst);
        }
    };
    let sweep = || {
        while ended.load(Ordering::SeqCst) < 160 {
            let swept = fixture.store().sweep(&|_, _| false, Effort::Whole).unwrap();
            assert!(swept.failed.is_empty(), "{:?}", swept.failed);
        }
    };
    std::thread::scope(|scope| {
        let launch = &launch;
        (0..4).for_each(|n| _ = scope.spawn(move || launch(n)));
        (0..2).for_each(|_| _ = scope.spawn(sweep));
    });
    fixture.store().sweep(&|_, _| false, Effort::Whole).unwrap();
    assert_eq!(fixture.left(), [""; 0]);
    assert!(spares(&fixture).len() <= 4);
}
