//! File systems that cannot exchange two names, or give a file a second one: as NFS and vfat are.
//!
//! # Theory of operation
//! A system-call filter of the thread that applies answers what such a file system answers: `EINVAL` to a rename with
//! a flag, `EPERM` to a link. Everything else is the real thing.

use std::fs;
use std::thread;

use bryo::changes::apply::Choices;
use bryo::plan::step::Backend;
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use crate::bed::{Bed, bash};
use crate::kill::{Original, PREPARE, RUN};

/// What the file system can do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Can {
    Links,
    NoLinks,
}

/// Files, links and directories that go for each other; without names that two share.
const FEW: &str = "echo old >f; echo g >g; mkdir -p d/e; echo in >d/e/in; ln -s x l; echo r >r; \
    find . -type f -exec touch -d @1000000000 {} +";
const FEW_RUN: &str =
    "echo new >f; rm g; mkdir g; echo in >g/in; rm -r d; echo d >d; ln -sfn y l; rm r; echo a >a";

/// From now on, for this thread and what it starts.
fn degrade(can: Can) {
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
    let call = |name| ScmpSyscall::from_name(name).unwrap();
    for flag in [1, 2] {
        let has_it = ScmpArgCompare::new(4, ScmpCompareOp::MaskedEqual(flag), flag);
        let invalid = ScmpAction::Errno(rustix::io::Errno::INVAL.raw_os_error());
        filter.add_rule_conditional(invalid, call("renameat2"), &[has_it]).unwrap();
    }
    if can == Can::NoLinks {
        let denied = ScmpAction::Errno(rustix::io::Errno::PERM.raw_os_error());
        filter.add_rule(denied, call("linkat")).unwrap();
    }
    filter.load().unwrap();
    // The control: it is so.
    let directory = tempfile::tempdir().unwrap();
    let name = |name| directory.path().join(name);
    fs::write(name("a"), "").unwrap();
    fs::write(name("b"), "").unwrap();
    let (at, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
    let exchanged = rustix::fs::renameat_with(at, name("a"), at, name("b"), flags);
    assert_eq!(exchanged, Err(rustix::io::Errno::INVAL));
    assert_eq!(fs::hard_link(name("a"), name("c")).is_ok(), can == Can::Links);
}

/// Runs something in a thread of its own, which the filter ends with.
fn degraded<T: Send + 'static>(
    can: Can,
    prepare: impl FnOnce() -> T + Send + 'static,
    act: impl FnOnce(T) + Send + 'static,
) {
    let thread = thread::spawn(move || {
        let prepared = prepare();
        degrade(can);
        act(prepared);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn an_apply_is_the_same_and_can_be_killed_where_names_cannot_be_exchanged() {
    for (backend, prepare, run) in [(Backend::Kernel, PREPARE, RUN), (Backend::Fuse, FEW, FEW_RUN)]
    {
        degraded(
            Can::Links,
            move || Original::new(backend, prepare, run),
            |original| {
                assert!(original.is_killed_at_every_step() > 20);
            },
        );
    }
}

#[test]
fn an_apply_is_the_same_and_can_be_killed_where_files_have_one_name() {
    let prepare = || Original::new(Backend::Kernel, FEW, FEW_RUN);
    degraded(Can::NoLinks, prepare, |original| {
        assert!(original.is_killed_at_every_step() > 20);
    });
}

/// Writes into the host's file before a step, whatever stands at its name then. Gives whether it came so far.
fn written_at(bed: &Bed, step: usize) -> bool {
    let file = bed.host().join("f");
    let mut steps = 0;
    let mut go_on = || {
        if steps == step && file.exists() {
            let mut now = fs::read_to_string(&file).unwrap();
            now.push_str("of somebody\n");
            // Into the file, not in its place.
            fs::write(&file, now).unwrap();
        }
        steps += 1;
        true
    };
    bed.looks(&[], |apply| {
        let plan = apply.plan(&Choices::default());
        apply.carry_out(&plan, &mut go_on, &mut |_| {}).unwrap();
    });
    steps > step
}

#[test]
fn what_somebody_writes_meanwhile_is_kept_where_names_cannot_be_exchanged() {
    for can in [Can::Links, Can::NoLinks] {
        let prepare = || Original::new(Backend::Kernel, "echo old >f", "echo new >f");
        degraded(can, prepare, move |original| {
            for step in 0.. {
                let bed = original.copy();
                let came = written_at(&bed, step);
                let now = fs::read_to_string(bed.host().join("f")).unwrap();
                let expected = ["old\nof somebody\n", "new\nof somebody\n"];
                // Where it is put aside the place is empty for a moment, and nothing was written.
                let nothing = can == Can::NoLinks && now == "new\n";
                assert!(!came || nothing || expected.contains(&&*now), "step {step}: {now:?}");
                let names = fs::read_dir(bed.host()).unwrap().count();
                assert_eq!(names, 1, "step {step}");
                if !came {
                    assert_eq!(now, "new\n");
                    break;
                }
            }
        });
    }
}

#[test]
fn what_was_kept_aside_and_changed_is_not_lost_when_the_apply_was_killed() {
    let prepare = || Original::new(Backend::Kernel, "echo old >f", "echo new >f");
    degraded(Can::Links, prepare, |original| {
        let mut met = 0;
        for step in 0.. {
            let bed = original.copy();
            if !bed.is_killed_at(step) {
                break;
            }
            // Everything of ours that has the old content is written to.
            let script = "for f in .bryo* f; do [ \"$(cat $f 2>/dev/null)\" = old ] && echo mine >>$f && break; done";
            bash(&bed.host(), &format!("{script} || :"));
            let written =
                |path: &std::path::Path| fs::read_to_string(path).unwrap().contains("mine");
            let files = || fs::read_dir(bed.host()).unwrap().map(|entry| entry.unwrap().path());
            if !files().any(|file| written(&file)) {
                continue;
            }
            met += 1;
            let told = bed.looks(&[], |apply| apply.put_aside().to_vec());
            bed.apply(&Choices::default());
            let kept: Vec<_> = files().filter(|file| written(file)).collect();
            assert_eq!(kept.len(), 1, "step {step}: {kept:?}");
            let is_told = told.iter().any(|told| told.at.as_path() == kept[0]);
            assert!(is_told || kept[0].ends_with("f"), "step {step}: {kept:?}");
        }
        assert!(met > 3, "{met}");
    });
}
