//! Somebody who watches a directory of the host while something is put there.

use std::ffi::CStr;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bryo::changes::apply::Choices;
use bryo::plan::step::Backend;
use rustix::fs::{CWD, FileType, RenameFlags, inotify, mknodat, renameat_with};

use crate::bed::Bed;

/// Puts a link to `victim` in the place of each name that appears in `directory`, and takes it back; gives how often
/// that was done once `done` is set.
fn swaps_what_appears(directory: &Path, victim: &Path, done: &AtomicBool) -> usize {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, directory, inotify::WatchFlags::CREATE).unwrap();
    let link = directory.parent().unwrap().join("link");
    symlink(victim, &link).unwrap();
    let opened = fs::File::open(directory).unwrap();
    let exchange = |name: &CStr| renameat_with(CWD, &link, &opened, name, RenameFlags::EXCHANGE);
    let (mut buffer, mut swapped) = ([MaybeUninit::uninit(); 4096], 0);
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    while !done.load(Ordering::Acquire) {
        let Ok(event) = events.next() else { continue };
        if let Some(name) = event.file_name().filter(|name| exchange(name).is_ok()) {
            swapped += 1;
            exchange(name).unwrap_or_default();
        }
    }
    swapped
}

#[test]
fn what_takes_the_place_of_a_fifo_that_is_being_made_is_not_changed() {
    const FIFOS: usize = 3_000;
    let bed = Bed::new(Backend::Kernel, ":");
    for number in 0..FIFOS {
        let path = bed.upper().join(format!("fifo-{number}"));
        mknodat(CWD, &path, FileType::Fifo, rustix::fs::Mode::empty(), 0).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let victim = bed.directory.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    let before = fs::metadata(&victim).unwrap();
    let (host, done) = (bed.host(), AtomicBool::new(false));
    let (left, swapped) = std::thread::scope(|scope| {
        let racer = scope.spawn(|| swaps_what_appears(&host, &victim, &done));
        let left = bed.apply(&Choices::default());
        done.store(true, Ordering::Release);
        (left, racer.join().unwrap())
    });
    let after = fs::metadata(&victim).unwrap();
    assert_eq!(after.permissions(), before.permissions());
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    // The control: there was something in the place of some.
    assert!(swapped > 0 && left.len() < FIFOS, "{swapped} {}", left.len());
}
