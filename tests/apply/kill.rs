//! Killed before each single step, and applied again: the tree is the same.
//!
//! # Theory of operation
//! A layer is written once; each try gets a copy of host and layer, as they would be. The step is one that
//! the library tells before it takes it: no process has to be killed at the right moment, and none is put in
//! order on the way out, as with `kill -9`.

use std::fs;
use std::path::PathBuf;

use bryo::changes::apply::Choices;
use bryo::plan::step::Backend;

use crate::bed::{Bed, bash};
use crate::random::Random;
use crate::trees::{self, Tree, differences};

/// Every kind of action, with what makes each of them hard.
pub(crate) const PREPARE: &str = "mkdir -p d/sub rep/old gone/deep todir closed exec; for f in d/a d/sub/b z y rep/q \
    rep/old/r gone/m gone/deep/n tolink grown tofile closed/in dirs; do echo $f >$f; done; mkdir -p wasdir/in
    echo w >wasdir/in/w; ln -s there link; mkfifo pipe; ln grown other; find . -type f -exec touch -d @1000000000 {} +
    chmod 555 closed";
pub(crate) const RUN: &str = "rm z; rm -r d/sub; rm -r rep; mkdir rep; echo new >rep/n; echo q2 >rep/q; mkdir rep/old
    echo s >rep/old/s; rm -r gone; mkdir -p fresh/in/deep; echo f >fresh/in/file; ln fresh/in/file hard
    echo more >>grown; echo more >>other; rm tolink; ln -s x tolink; rm dirs; mkdir dirs; echo in >dirs/in
    ln -sfn elsewhere link; rm pipe; mkfifo pipe2; rm -r wasdir; echo file >wasdir; chmod 700 exec
    chmod 755 closed; echo new >closed/new; rm closed/in; chmod 555 closed; mkdir -p ro/sub; echo r >ro/sub/r
    chmod 444 ro/sub/r; chmod 555 ro/sub ro; touch -d @1000000007 fresh/in; echo 444 >y; chmod 444 y
    setfattr -n user.t -v v fresh; chmod 711 d";

/// A bed whose host and layer can be had again and again.
pub(crate) struct Original {
    bed: Bed,
    expected: Tree,
}

impl Original {
    pub(crate) fn new(backend: Backend, prepare: &str, run: &str) -> Self {
        let bed = Bed::new(backend, prepare);
        bed.run(run);
        let mut original = Self { bed, expected: Tree::new() };
        let copy = original.copy();
        assert_eq!(copy.apply(&Choices::default()), [""; 0]);
        original.expected = trees::read(&copy.host());
        original
    }

    /// The same host and layer once more.
    pub(crate) fn copy(&self) -> Bed {
        let mut copy = Bed::new(self.bed.backend, "true");
        let script = format!(
            "rm -rf {host}; cp -a {from} {host}; chmod -R u+rwx {upper}; rm -rf {upper}; cp -a {layer} {upper}",
            host = copy.host().display(),
            from = self.bed.host().display(),
            upper = copy.upper().display(),
            layer = self.bed.upper().display(),
        );
        bash(copy.directory.path(), &script);
        copy.starts_now();
        copy
    }

    fn verify(&self, bed: &Bed, how: &str) {
        let found = trees::read(&bed.host());
        let differs = differences(&self.expected, &found);
        assert!(differs.is_empty(), "{how}: {differs:#?}");
        assert_eq!(bed.changes(), [""; 0], "{how}");
        let names = fs::read_dir(bed.host()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(
            names.into_iter().all(|name| !name.to_string_lossy().starts_with(".bryo")),
            "{how}"
        );
    }

    /// Gives how many steps there are.
    pub(crate) fn is_killed_at_every_step(&self) -> usize {
        let mut step = 0;
        loop {
            let bed = self.copy();
            if !bed.is_killed_at(step) {
                return step;
            }
            assert_eq!(bed.apply(&Choices::default()), [""; 0], "killed at step {step}");
            self.verify(&bed, &format!("killed at step {step}"));
            step += 1;
        }
    }
}

fn killed_at_every_step(backend: Backend) {
    let steps = Original::new(backend, PREPARE, RUN).is_killed_at_every_step();
    // There are many: each name is several.
    assert!(steps > 60, "{steps} steps");
}

#[test]
fn an_apply_that_is_killed_at_any_step_is_finished_by_the_next_with_a_layer_of_the_kernel() {
    killed_at_every_step(Backend::Kernel);
}

#[test]
fn an_apply_that_is_killed_at_any_step_is_finished_by_the_next_with_fuse_overlayfs() {
    killed_at_every_step(Backend::Fuse);
}

#[test]
fn an_apply_that_is_killed_again_and_again_is_finished_by_the_last() {
    let original = Original::new(Backend::Kernel, PREPARE, RUN);
    for seed in 0..25 {
        let mut random = Random(seed);
        let bed = original.copy();
        let mut kills = Vec::new();
        while kills.len() < 12 {
            let step = random.below(40);
            kills.push(step);
            if !bed.is_killed_at(step) {
                break;
            }
        }
        assert_eq!(bed.apply(&Choices::default()), [""; 0], "killed at {kills:?}");
        original.verify(&bed, &format!("killed at {kills:?}"));
    }
}

/// What stands below a temporary name on the host.
fn temporary(bed: &Bed) -> Option<PathBuf> {
    let mut names = fs::read_dir(bed.host()).unwrap().map(|entry| entry.unwrap().path());
    names.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(".bryo"))
}

/// Kills an apply when what the host had stands under a temporary name.
fn killed_when_it_was_put_aside(run: &str) -> (Bed, PathBuf) {
    let original = Original::new(Backend::Kernel, "echo old >f", run);
    for step in 0.. {
        let bed = original.copy();
        assert!(bed.is_killed_at(step), "it was never put aside");
        if let Some(aside) = temporary(&bed)
            && fs::read_to_string(&aside).unwrap() == "old\n"
        {
            return (bed, aside);
        }
    }
    unreachable!()
}

#[test]
fn what_was_changed_after_it_was_put_aside_stays_when_something_else_took_its_place() {
    let (bed, aside) = killed_when_it_was_put_aside("rm f");
    fs::write(&aside, "of somebody\n").unwrap();
    fs::write(bed.host().join("f"), "of another\n").unwrap();
    let told = bed.looks(&[], |apply| apply.put_aside().to_vec());
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!((bed.short(&told.path), told.at.as_path()), ("f".to_owned(), &*aside));
    // No apply ends there.
    for _ in 0..2 {
        let left = bed.apply(&Choices::default());
        assert!(matches!(&left[..], [one] if one.starts_with("f: ")), "{left:?}");
    }
    assert_eq!(fs::read_to_string(&aside).unwrap(), "of somebody\n");
    assert_eq!(fs::read_to_string(bed.host().join("f")).unwrap(), "of another\n");
}

#[test]
fn what_was_changed_after_it_was_put_aside_is_put_back_when_nothing_took_its_place() {
    for run in ["rm f", "echo new >f"] {
        let (bed, aside) = killed_when_it_was_put_aside(run);
        fs::write(&aside, "of somebody\n").unwrap();
        bash(&bed.host(), "rm -f f");
        assert!(bed.looks(&[], |apply| apply.put_aside().is_empty()), "{run}");
        bed.apply(&Choices::default());
        assert_eq!(temporary(&bed), None, "{run}");
        assert_eq!(fs::read_to_string(bed.host().join("f")).unwrap(), "of somebody\n", "{run}");
    }
}

#[test]
fn what_was_put_aside_is_told_until_an_apply_came_to_its_end() {
    let (bed, aside) = killed_when_it_was_put_aside("rm f");
    fs::write(&aside, "of somebody\n").unwrap();
    fs::write(bed.host().join("f"), "of another\n").unwrap();
    // This one finds it, and does not come to its end.
    assert!(bed.looks(&[], |apply| !apply.put_aside().is_empty()));
    let told = bryo::changes::apply::put_aside(&bed.sandbox);
    assert_eq!(told.iter().map(|told| told.at.as_path()).collect::<Vec<_>>(), [&*aside]);
    assert_eq!(bed.looks(&[], |apply| apply.put_aside().to_vec()), told);
    bed.apply(&Choices::default());
    assert_eq!(bryo::changes::apply::put_aside(&bed.sandbox), []);
}
