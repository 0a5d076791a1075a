//! What the host changed meanwhile is not touched; what stays in a layer goes on meaning the same.

use std::fs;

use bryo::changes::Glob;
use bryo::changes::apply::{Choices, Resolve, Selection};
use bryo::plan::step::Backend;

use crate::bed::{Bed, bash, host};

const BOTH: [Backend; 2] = [Backend::Kernel, Backend::Fuse];

/// Time stamps are those of clock ticks: what follows must be later than what was before.
fn tick() {
    std::thread::sleep(std::time::Duration::from_millis(15));
}

fn bed(backend: Backend, prepare: &str, run: &str, meanwhile: &str) -> Bed {
    let bed = Bed::new(backend, prepare);
    bed.run(run);
    tick();
    bash(&bed.host(), meanwhile);
    bed
}

fn with(conflicts: Resolve) -> Choices {
    Choices { conflicts, ..Choices::default() }
}

const CHANGED: &str = "changed on the host since the sandbox started";

#[test]
fn each_kind_of_change_on_both_sides_is_a_conflict_and_the_others_go_on() {
    for backend in BOTH {
        let bed = bed(
            backend,
            "mkdir -p d/e t s gone; for f in both del same deld/x d/e/f t/f s/f gone/f vanished; do
                mkdir -p $(dirname $f); echo $f >$f; done; mkdir m",
            "echo theirs >both; rm del; echo equal >same; rm -r d; rm -r t; echo t >t; echo s2 >s/new
             echo more >>gone/f; echo more >>vanished; echo new >appears; echo ok >ok; chmod 700 m; rm -r deld",
            "echo ours >both; echo ours >del; echo equal >same; echo ours >d/e/g; echo ours >t/f
             rm -r s; ln -s t s; rm -r gone; rm vanished; echo other >appears; chmod 711 m",
        );
        let expected = [
            format!("appears: {CHANGED}"),
            format!("both: {CHANGED}"),
            format!("d: `{}` in it {CHANGED}", bed.host().join("d/e").display()),
            format!("del: {CHANGED}"),
            "gone/f: `GONE` is not applied"
                .replace("GONE", bed.host().join("gone").to_str().unwrap()),
            "gone: removed on the host since the sandbox started".to_owned(),
            format!("m: {CHANGED}"),
            "s/new: `S` is not applied".replace('S', bed.host().join("s").to_str().unwrap()),
            format!("s: {CHANGED}"),
            format!("t: `{}` in it {CHANGED}", bed.host().join("t/f").display()),
            "vanished: removed on the host since the sandbox started".to_owned(),
        ];
        assert_eq!(bed.apply(&Choices::default()), expected, "{backend:?}");
        let read = |name: &str| fs::read_to_string(bed.host().join(name)).unwrap();
        assert_eq!(
            (read("ok"), read("both"), read("same")),
            ("ok\n".into(), "ours\n".into(), "equal\n".into())
        );
        assert!(!bed.host().join("deld").exists());
        // Asked again, the same stays; then the sandbox's side wins where there is a place for it.
        assert_eq!(bed.apply(&Choices::default()), expected, "{backend:?}");
        assert_eq!(bed.apply(&with(Resolve::Theirs)), [""; 0], "{backend:?}");
        assert_eq!((read("both"), read("appears")), ("theirs\n".into(), "new\n".into()));
        assert_eq!((read("t"), read("s/new")), ("t\n".into(), "s2\n".into()));
        assert!(!bed.host().join("d").exists() && read("gone/f") == "gone/f\nmore\n");
        assert_eq!(bed.changes(), [""; 0]);
    }
}

#[test]
fn ours_drops_the_sandboxs_side_of_conflicts_alone() {
    for backend in BOTH {
        let prepare = "mkdir -p d rep; echo 1 >both; echo 1 >d/f; echo 1 >other; echo 1 >rep/a; echo 1 >rep/b";
        let run = "echo 2 >both; rm -r d; echo 2 >other; rm -r rep; mkdir rep; echo 2 >rep/a";
        let bed = bed(backend, prepare, run, "echo 3 >both; echo 3 >d/f; echo 3 >rep/b");
        assert_eq!(bed.apply(&with(Resolve::Ours)), [""; 0]);
        let read = |name: &str| fs::read_to_string(bed.host().join(name)).unwrap();
        assert_eq!(
            [read("both"), read("d/f"), read("other"), read("rep/a"), read("rep/b")],
            ["3\n", "3\n", "2\n", "2\n", "3\n"]
        );
        assert_eq!(bed.changes(), [""; 0], "{backend:?}");
    }
}

#[test]
fn what_stays_in_the_layer_is_seen_as_before() {
    for backend in BOTH {
        let prepare = "mkdir -p rep/sub/deep; for f in a b c sub/x sub/deep/y; do echo $f >rep/$f; done; mkdir k; echo k >k/k";
        // A directory replaced as a whole, with parts of it made again.
        let run = "rm -r rep; mkdir -p rep/sub/new; echo 2 >rep/a; echo 2 >rep/sub/x; echo 2 >rep/sub/new/n; mkdir -p f/g; echo 1 >f/1; echo 2 >f/g/2; rm k/k";
        let bed = Bed::new(backend, prepare);
        bed.run(run);
        let view = |bed: &Bed| {
            bed.run("find . -type f -printf '%p ' -exec cat {} \\; | sort >../view");
            fs::read_to_string(bed.directory.path().join("view")).unwrap()
        };
        let before = view(&bed);
        for paths in
            [vec!["rep/a"], vec!["f/g/2"], vec!["rep/sub/new", "k"], vec!["rep/b"], vec!["rep/sub"]]
        {
            let paths = paths.iter().map(|path| host(&bed.host().join(path))).collect();
            let choices = Choices { selected: Selection::Below(paths), ..Choices::default() };
            assert_eq!(bed.apply(&choices), [""; 0], "{backend:?}");
            assert_eq!(view(&bed), before, "{backend:?}");
        }
        assert_eq!(bed.changes(), ["A f/1", "D rep/c"], "{backend:?}");
        assert_eq!(bed.apply(&Choices::default()), [""; 0]);
        assert_eq!(bed.changes(), [""; 0]);
        assert_eq!(view(&bed), before);
    }
}

#[test]
fn an_apply_takes_its_own_work_for_nobodys_change() {
    for backend in BOTH {
        let prepare = "mkdir -p d/e; echo 1 >d/a; echo 1 >d/b; ln d/a d/other; chmod 755 d";
        let bed = Bed::new(backend, prepare);
        bed.run("echo 2 >d/a; echo 2 >d/b; echo 3 >d/other; chmod 700 d; echo n >d/e/n");
        for path in ["d/a", "d/e/n"] {
            let paths = vec![host(&bed.host().join(path))];
            let choices = Choices { selected: Selection::Below(paths), ..Choices::default() };
            assert_eq!(bed.apply(&choices), [""; 0]);
            tick();
        }
        // The directory and the other name of the file have new change times, by the apply.
        assert_eq!(bed.apply(&Choices::default()), [""; 0], "{backend:?}");
    }
}

/// What lies in a directory keeps its times when that is renamed.
#[test]
fn what_came_with_a_renamed_directory_is_a_conflict() {
    let prepare = "mkdir -p src/in src/gone other/in other/gone; echo 1 >src/in/f; echo 1 >src/in/g; \
                   echo 1 >src/gone/f; echo mine >other/in/f; echo 1 >other/in/g; \
                   echo mine >other/gone/f; mkdir calm; echo 1 >calm/f";
    let run = "echo 2 >src/in/f; rm src/in/g; rm -r src/gone; echo 2 >calm/f";
    for backend in BOTH {
        let bed = bed(backend, prepare, run, "mv src old; mv other src; echo 3 >calm/new");
        let left = bed.apply(&Choices::default());
        let paths = ["src/gone", "src/in/f", "src/in/g"];
        assert_eq!(left, paths.map(|path| format!("{path}: {CHANGED}")), "{backend:?}");
        let read = |path| fs::read_to_string(bed.host().join(path)).unwrap();
        assert_eq!((read("src/in/f"), read("src/gone/f")), ("mine\n".into(), "mine\n".into()));
        // The control: a directory that was only written in says nothing of what is in it.
        assert_eq!(read("calm/f"), "2\n");
        assert_eq!(bed.apply(&with(Resolve::Theirs)), [""; 0], "{backend:?}");
        assert_eq!(read("src/in/f"), "2\n");
        assert!(!bed.host().join("src/in/g").exists() && !bed.host().join("src/gone").exists());
    }
}

#[test]
fn what_is_excluded_stays_on_both_sides() {
    let bed = Bed::new(Backend::Kernel, "mkdir -p build keep; touch build/a.o build/b keep/c");
    bed.run("rm -r build; touch new.o new; rm keep/c");
    let exclude = [Glob::new("*.o".as_ref(), &host(&bed.host())).unwrap()];
    let left = bed.looks(&exclude, |apply| {
        let plan = apply.plan(&Choices::default());
        let items = apply.items().to_vec();
        let outcome = apply.carry_out(&plan, &mut || true, &mut |_| {}).unwrap();
        bed.left(&items, &plan, &outcome)
    });
    let object = bed.host().join("build/a.o");
    assert_eq!(left, [format!("build: `{}` in it is excluded", object.display())]);
    assert!(
        object.exists() && bed.host().join("new").exists() && !bed.host().join("new.o").exists()
    );
    assert_eq!(bed.changes(), ["D build", "A new.o"]);
}

#[test]
fn a_path_in_a_directory_that_takes_a_files_place_needs_that_named() {
    let bed = Bed::new(Backend::Kernel, "echo f >x");
    bed.run("rm x; mkdir -p x/y; echo z >x/y/z");
    let below = |path: &str| Choices {
        selected: Selection::Below(vec![host(&bed.host().join(path))]),
        ..Choices::default()
    };
    let told = bed.apply(&below("x/y/z"));
    assert_eq!(
        told,
        [format!(
            "x/y/z: `{}` is a file on the host; name that path too",
            bed.host().join("x").display()
        )]
    );
    assert!(bed.host().join("x").is_file());
    assert_eq!(bed.apply(&below("x")), [""; 0]);
    assert!(bed.host().join("x/y/z").is_file());
}

#[test]
fn another_directory_in_the_place_of_the_one_that_was_seen_is_a_conflict() {
    let run = "echo theirs >f; echo n >new";
    // Written in after it was renamed, it looks like any directory by its times.
    let meanwhile = "cd ..; mv host was; mv other host; echo w >host/written; sleep 0.01";
    let prepare =
        "echo f >f; mkdir ../other; echo another >../other/f; touch -d @1000000000 f ../other/f";
    let swapped = bed(Backend::Kernel, prepare, run, meanwhile);
    assert_eq!(swapped.apply(&Choices::default()), [format!("f: {CHANGED}")]);
    let read = |bed: &Bed| fs::read_to_string(bed.host().join("f")).unwrap();
    assert_eq!(read(&swapped), "another\n");
    // The control: the same directory, written in.
    let same = bed(Backend::Kernel, prepare, run, "echo w >written");
    assert_eq!(same.apply(&Choices::default()), [""; 0]);
    assert_eq!(read(&same), "theirs\n");
}
