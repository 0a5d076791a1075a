//! Sandboxes are found by name, by id, by the beginning of either, and by where they were started.

use std::fs;

use bryo::spec::HostPath;
use bryo::state::StateError;

use crate::fixture::{Fixture, host};

#[test]
fn a_sandbox_is_found_by_id_prefix_and_name_and_an_ambiguous_prefix_lists_all() {
    let fixture = Fixture::new();
    let mut held: Vec<_> = (0..40).map(|_| fixture.started(None).0).collect();
    held.push(fixture.started(Some("builder")).0);
    let stores = fixture.stores();
    let named = held.last().unwrap().id();
    assert_eq!(stores.find(b"builder").unwrap().id(), named);
    assert_eq!(stores.find(named.as_str().as_bytes()).unwrap().id(), named);
    assert_eq!(stores.find(&named.as_str().as_bytes()[..11]).unwrap().id(), named);
    // Forty-one ids have at most sixteen first digits.
    let shared = (0..16_u8).map(|digit| format!("{digit:x}")).find_map(|digit| {
        match stores.find(digit.as_bytes()) {
            Err(StateError::Ambiguous { candidates, .. }) => Some((digit, candidates)),
            _ => None,
        }
    });
    let (digit, candidates) = shared.unwrap();
    assert!(candidates.len() > 1 && candidates.is_sorted());
    assert!(candidates.iter().all(|id| id.as_str().starts_with(&digit)));
    for missing in [&b"nobody"[..], b"", b"..", b"\xff\n", b"../../etc"] {
        assert!(matches!(stores.find(missing), Err(StateError::NotFound(_))), "{missing:?}");
    }
}

#[test]
fn what_is_removed_is_named_by_more_than_two_characters_of_an_id() {
    let fixture = Fixture::new();
    let (other, _) = fixture.started(None);
    let (stores, id) = (fixture.stores(), other.id().to_string());
    for length in [1, 2] {
        assert_eq!(stores.find(&id.as_bytes()[..length]).unwrap().id(), other.id());
        let found = stores.find_to_remove(&id.as_bytes()[..length]);
        assert!(matches!(found, Err(StateError::TooShort { .. })), "{found:?}");
    }
    assert_eq!(stores.find_to_remove(&id.as_bytes()[..3]).unwrap().id(), other.id());
    // A whole name may be as short as it likes.
    let (named, _) = fixture.started(Some("x"));
    assert_eq!(stores.find_to_remove(b"x").unwrap().id(), named.id());
    // What is not there at all is told as that.
    let missing = stores.find_to_remove(b"zz");
    assert!(matches!(missing, Err(StateError::NotFound(_))), "{missing:?}");
}

#[test]
fn a_name_is_found_by_its_beginning_where_that_is_one_sandbox_alone() {
    let fixture = Fixture::new();
    let (web, _) = fixture.started(Some("web-server"));
    let (worker, _) = fixture.started(Some("worker"));
    let stores = fixture.stores();
    let found = stores.find(b"web").unwrap();
    assert_eq!((found.id(), found.wanted_name()), (web.id(), Some("web-server")));
    assert_eq!(stores.find(b"wo").unwrap().id(), worker.id());
    let both = stores.find(b"w");
    assert!(matches!(both, Err(StateError::Ambiguous { .. })), "{both:?}");
    let short = stores.find_to_remove(b"wo");
    assert!(matches!(short, Err(StateError::TooShort { .. })), "{short:?}");
    assert_eq!(stores.find_to_remove(b"wor").unwrap().id(), worker.id());
    // A whole name goes before all that begin so.
    let (other, _) = fixture.started(Some("w"));
    assert_eq!(stores.find(b"w").unwrap().id(), other.id());
}

#[test]
fn a_name_goes_before_the_beginning_of_an_id() {
    let fixture = Fixture::new();
    let (other, _) = fixture.started(None);
    let prefix = &other.id().to_string()[..3];
    let (named, _) = fixture.started(Some(prefix));
    assert_eq!(fixture.stores().find(prefix.as_bytes()).unwrap().id(), named.id());
}

#[test]
fn a_whole_id_goes_before_every_name() {
    let fixture = Fixture::new();
    let (first, _) = fixture.started(None);
    let id = first.id();
    let stores = fixture.stores();
    // Nobody is called as another's id.
    let refused = fixture.store().create(Some(id.as_str()));
    assert!(matches!(refused, Err(StateError::NameIsId(other)) if other == id), "{refused:?}");
    let (second, _) = fixture.started(Some("second"));
    let refused = second.as_found().rename(id.as_str());
    assert!(matches!(refused, Err(StateError::NameIsId(other)) if other == id), "{refused:?}");
    assert_eq!(stores.find(b"second").unwrap().id(), second.id());
    // Who is called so since before, or in another store, is not found by that.
    std::os::unix::fs::symlink(
        second.id().as_str(),
        fixture.path("data/bryo/names").join(id.as_str()),
    )
    .unwrap();
    assert_eq!(stores.find(id.as_str().as_bytes()).unwrap().id(), id);
    assert_eq!(stores.find_to_remove(id.as_str().as_bytes()).unwrap().id(), id);
    // Nor does a name that begins with it make it unclear which is meant.
    let longer = format!("{id}x");
    let (third, _) = fixture.started(Some(&longer));
    assert_eq!(stores.find(id.as_str().as_bytes()).unwrap().id(), id);
    assert_eq!(stores.find(longer.as_bytes()).unwrap().id(), third.id());
    // When it is gone, it is a name like any other.
    first.remove().unwrap();
    assert!(fixture.store().create(Some(id.as_str())).is_err(), "an older link has it");
    second.as_found().rename(id.as_str()).unwrap();
    assert_eq!(stores.find(id.as_str().as_bytes()).unwrap().id(), second.id());
}

#[test]
fn a_name_is_given_once_and_free_again_when_its_sandbox_is_gone() {
    let fixture = Fixture::new();
    let (first, _) = fixture.started(Some("n"));
    let taken = fixture.store().create(Some("n"));
    assert!(matches!(taken, Err(StateError::NameTaken { id, .. }) if id == first.id()));
    assert!(first.remove_if_untouched().unwrap().is_none());
    let (second, _) = fixture.started(Some("n"));
    // As a launcher that was killed between removing its directory and releasing the name.
    fs::remove_dir_all(fixture.path("data/bryo/live").join(second.id().as_str())).unwrap();
    drop(second);
    let (third, _) = fixture.started(Some("n"));
    assert_eq!(fixture.stores().find(b"n").unwrap().id(), third.id());
}

#[test]
fn the_newest_sandbox_of_a_directory_is_found() {
    let fixture = Fixture::new();
    let here = host(fixture.directory.path());
    assert!(matches!(fixture.stores().newest_from(&here), Err(StateError::NoneFrom(_))));
    let held: Vec<_> = (0..3)
        .map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(15));
            fixture.started(None)
        })
        .collect();
    let found = fixture.stores().newest_from(&here).unwrap();
    assert_eq!(found.id(), held[2].0.id());
    assert!(fixture.stores().newest_from(&HostPath::root()).is_err());
}
