//! `diff` of sandboxes in a store: every form, word for word.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bryo::ops::diff::{Form, Glob, Later, Request, Selection, Shown, Wanted, diff};
use bryo::report::Colour;
use bryo::state::{SandboxDirectory, SandboxId, Which};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};
use serde_json::Value;

use crate::fixture::{Fixture, exited, host};
use crate::json::parsed;

/// Writes a file with a time that is always the same.
pub(crate) fn file(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

pub(crate) fn whiteout(path: &Path) {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

/// A sandbox that ended, named `n`, whose layer holds what `fill` makes of it and of what it lies over.
pub(crate) fn ended(fixture: &Fixture, fill: impl FnOnce(&Path, &Path)) -> SandboxId {
    let sandbox = begun(fixture, fill);
    let id = sandbox.0.id();
    sandbox.0.keep(&exited(sandbox.1)).unwrap();
    id
}

pub(crate) fn begun(
    fixture: &Fixture,
    fill: impl FnOnce(&Path, &Path),
) -> (SandboxDirectory, bryo::state::Record) {
    let over = fixture.path("over");
    fs::set_permissions(&over, Permissions::from_mode(0o755)).unwrap();
    let (sandbox, mut record) = fixture.started(Some("n"));
    // What the test puts on the host now was there before.
    record.layers[0].mark = None;
    sandbox.begin(&record).unwrap();
    fill(&over, &fixture.upper(&sandbox));
    (sandbox, record)
}

fn request(selection: &Selection, form: Form, colour: Colour) -> Request<'_> {
    let later = Later::new(Some(&host(Path::new("/home/al"))), []);
    Request { selection, form, colour, digest: Wanted::Usual, later }
}

pub(crate) fn show(
    fixture: &Fixture,
    selection: &Selection,
    form: Form,
    colour: Colour,
) -> (Vec<u8>, Shown) {
    let mut out = Vec::new();
    let request = request(selection, form, colour);
    let shown = diff(&fixture.stores(), Which::Named(&"n".into()), request, &mut out).unwrap();
    (out, shown)
}

/// What is written, with `OVER` and `DIGEST` for what is another one every time.
pub(crate) fn text(fixture: &Fixture, form: Form, colour: Colour) -> String {
    let (out, shown) = show(fixture, &Selection::default(), form, colour);
    let over = fixture.path("over");
    let text = String::from_utf8(out).unwrap().replace(over.to_str().unwrap(), "OVER");
    match shown.digest {
        Some(digest) => text.replace(&digest.to_string(), "DIGEST"),
        None => text,
    }
}

/// One of everything.
pub(crate) fn everything(over: &Path, upper: &Path) {
    for directory in ["d", "sub"] {
        fs::create_dir(over.join(directory)).unwrap();
    }
    fs::create_dir(upper.join("sub")).unwrap();
    fs::set_permissions(over.join("sub"), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(upper.join("sub"), Permissions::from_mode(0o700)).unwrap();
    file(&upper.join(".bashrc"), "alias ls=evil\n", 0o644);
    file(&over.join("changed"), "one\ntwo\nthree\n", 0o644);
    file(&upper.join("changed"), "one\n2\nthree\n", 0o644);
    whiteout(&upper.join("d"));
    file(&upper.join("esc\x1b[2J"), "a\x1b]0;t\x07b\n", 0o644);
    whiteout(&upper.join("gone"));
    file(&over.join("gone"), "last words", 0o644);
    file(&upper.join("image"), b"\x7fELF\0\0", 0o755);
    symlink("/etc/passwd", upper.join("link")).unwrap();
    file(&over.join("mode"), "#!/bin/sh\n", 0o644);
    file(&upper.join("mode"), "#!/bin/sh\n", 0o755);
    fs::hard_link(upper.join("image"), upper.join("second")).unwrap();
    mknodat(CWD, upper.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    file(&over.join("swapped"), "file\n", 0o644);
    symlink("changed", upper.join("swapped")).unwrap();
    rustix::fs::setxattr(upper.join("mode"), "user.note", b"x", XattrFlags::empty()).unwrap();
}

#[test]
fn other_content_of_the_same_size_is_not_told_as_another_time() {
    let touch =
        |path: &Path| fs::File::open(path).unwrap().set_modified(SystemTime::now()).unwrap();
    let fixture = Fixture::new();
    ended(&fixture, |over, upper| {
        for (name, now) in [("other", "b"), ("touched", "a")] {
            file(&over.join(name), "a", 0o644);
            file(&upper.join(name), now, 0o755);
            touch(&upper.join(name));
        }
        fs::set_permissions(upper.join("touched"), Permissions::from_mode(0o644)).unwrap();
    });
    let shown = text(&fixture, Form::List, Colour::No);
    assert!(
        shown.starts_with("C OVER/other  (content; mode 0644 -> 0755)\nC OVER/touched  (time)\n"),
        "{shown}"
    );
}

#[test]
fn what_was_not_read_is_not_told_to_be_the_same() {
    let fixture = Fixture::new();
    ended(&fixture, |over, upper| {
        for name in (0..2001).map(|n| format!("{n:04}")) {
            file(&over.join(&name), "a", 0o644);
            fs::write(upper.join(&name), "b").unwrap();
        }
    });
    let shown = text(&fixture, Form::List, Colour::No);
    assert!(shown.starts_with("C OVER/0000  (content)\n"), "{shown}");
    assert!(shown.contains("C OVER/2000  (time; contents not compared)\n"), "{shown}");
    assert!(!shown.contains("(time)"), "{shown}");
}

#[test]
fn the_list_says_in_a_few_words_what_each_change_is() {
    let fixture = Fixture::new();
    ended(&fixture, everything);
    let expected = "\
A OVER/.bashrc  (14 B; a shell will execute it)
C OVER/changed  (14 B -> 12 B)
D OVER/d  (directory)
A OVER/esc\\u{1b}[2J  (9 B)
D OVER/gone  (10 B)
A OVER/image  (6 B, executable)
A OVER/link  (link to `/etc/passwd`)
C OVER/mode  (mode 0644 -> 0755; attributes)
A OVER/pipe  (fifo)
A OVER/second  (6 B, executable; the same file as `OVER/image`)
C OVER/sub  (mode 0755 -> 0700)
C OVER/swapped  (file -> link to `changed`)
12 changes: 6 added, 4 changed, 2 deleted; 1 that other programs will execute
digest DIGEST
";
    assert_eq!(text(&fixture, Form::List, Colour::No), expected);
    let coloured = text(&fixture, Form::List, Colour::Yes);
    assert!(coloured.starts_with(
        "\x1b[32mA\x1b[0m OVER/.bashrc  (14 B; \x1b[1;35ma shell will execute it\x1b[0m)\n\
         \x1b[33mC\x1b[0m OVER/changed  (14 B -> 12 B)\n\x1b[31mD\x1b[0m OVER/d  (directory)\n"
    ));
}

#[test]
fn contents_are_shown_by_lines_and_what_is_no_text_by_its_digest() {
    let fixture = Fixture::new();
    ended(&fixture, everything);
    let sha256 = "d9e211490935623abbdf5243e2894aaf93876eb7bb4cd6ca74e0f137d58d4534";
    let expected = format!(
        "\
A OVER/.bashrc  (14 B; a shell will execute it)
--- /dev/null
+++ OVER/.bashrc
@@ -0,0 +1 @@
+alias ls=evil

C OVER/changed  (14 B -> 12 B)
--- OVER/changed
+++ OVER/changed
@@ -1,3 +1,3 @@
 one
-two
+2
 three

D OVER/d  (directory)

A OVER/esc\\u{{1b}}[2J  (9 B)
--- /dev/null
+++ OVER/esc\\u{{1b}}[2J
@@ -0,0 +1 @@
+a\\u{{1b}}]0;t\\u{{7}}b

D OVER/gone  (10 B)
--- OVER/gone
+++ /dev/null
@@ -1 +0,0 @@
-last words
\\ No newline at end of file

A OVER/image  (6 B, executable)
sandbox: binary, 6 B, sha256 {sha256}

"
    );
    let shown = text(&fixture, Form::Content, Colour::No);
    assert_eq!(shown[..expected.len().min(shown.len())], expected);
    assert!(shown.ends_with("1 that other programs will execute\ndigest DIGEST\n"), "{shown}");
    let coloured = text(&fixture, Form::Content, Colour::Yes);
    for part in [
        "\x1b[1mC OVER/changed  (14 B -> 12 B)\x1b[0m\n",
        "\x1b[36m@@ -1,3 +1,3 @@\x1b[0m\n one\n\x1b[31m-two\x1b[0m\n\x1b[32m+2\x1b[0m\n three\n",
        "+a\x1b[7m\\u{1b}\x1b[27m]0;t",
    ] {
        assert!(coloured.contains(part), "{coloured:?}");
    }
}

#[test]
fn lines_are_counted_for_each_file_and_all_of_them() {
    let fixture = Fixture::new();
    ended(&fixture, everything);
    let shown = text(&fixture, Form::Stat, Colour::No);
    let expected = "\
A      +1          OVER/.bashrc  (14 B; a shell will execute it)
C      +1      -1  OVER/changed  (14 B -> 12 B)
D     dir          OVER/d  (directory)
A      +1          OVER/esc\\u{1b}[2J  (9 B)
D              -1  OVER/gone  (10 B)
A  binary          OVER/image  (6 B, executable)
A    link          OVER/link  (link to `/etc/passwd`)
C                  OVER/mode  (mode 0644 -> 0755; attributes)
A    fifo          OVER/pipe  (fifo)
A  binary          OVER/second  (6 B, executable; the same file as `OVER/image`)
C     dir          OVER/sub  (mode 0755 -> 0700)
C              -1  OVER/swapped  (file -> link to `changed`)
12 changes: 6 added, 4 changed, 2 deleted; 3 lines added, 3 removed; 1 that other programs will execute
digest DIGEST
";
    assert_eq!(shown, expected);
}

#[test]
fn no_name_reaches_the_reader_raw_but_where_it_is_asked_for() {
    let fixture = Fixture::new();
    let id = ended(&fixture, |over, upper| {
        for name in [&b"a\x1b[2J"[..], b"b\nC etc", b"c\xff"] {
            file(&upper.join(OsStr::from_bytes(name)), "x", 0o644);
        }
        fs::write(over.join("other"), "").unwrap();
    });
    let names = text(&fixture, Form::Names, Colour::No);
    assert_eq!(names, "OVER/a\\u{1b}[2J\nOVER/b\\nC etc\nOVER/c\\xff\n");
    let status = text(&fixture, Form::Status, Colour::Yes);
    assert_eq!(status, names.replace("OVER/", "A OVER/"));
    let raw = show(&fixture, &Selection::default(), Form::NulNames, Colour::No).0;
    let raw: Vec<&[u8]> = raw.split(|byte| *byte == 0).collect();
    let over = fixture.path("over");
    assert_eq!(raw[2], [over.as_os_str().as_bytes(), b"/c\xff"].concat());
    assert_eq!(raw.len(), 4);
    let json = parsed(&fixture, Form::Json);
    assert_eq!(json["sandbox"], id.to_string());
    assert_eq!(json["changes"][1]["path"], format!("{}/b\nC etc", over.display()));
    assert!(json["changes"][2]["path"]["hex"].is_string());
}

#[test]
fn diff_can_be_of_some_paths_and_of_the_newest_from_here() {
    let fixture = Fixture::new();
    let id = ended(&fixture, |_, upper| {
        for name in ["a", "b", "b.o"] {
            fs::write(upper.join(name), "x").unwrap();
        }
        fs::create_dir(upper.join("d")).unwrap();
        fs::write(upper.join("d/c.o"), "x").unwrap();
    });
    let mut out = Vec::new();
    let paths = [host(&fixture.path("over/b"))];
    let here = host(fixture.directory.path());
    let selection = Selection { paths: paths.to_vec(), ..Selection::default() };
    let request = request(&selection, Form::Names, Colour::No);
    let shown = diff(&fixture.stores(), Which::NewestFrom(&here), request, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), format!("{}\n", paths[0]));
    assert_eq!((shown.id, shown.running, shown.counts.added), (id, false, 1));
    let exclude = vec![Glob::new(OsStr::new("*.o"), &here).unwrap()];
    let selection = Selection { exclude, ..Selection::default() };
    assert_eq!(show(&fixture, &selection, Form::Names, Colour::No).1.counts.added, 3);
}

#[test]
fn the_digest_is_of_what_is_shown_and_of_its_bytes() {
    let fixture = Fixture::new();
    ended(&fixture, everything);
    let everything = Selection::default();
    let of = |selection: &Selection, form| show(&fixture, selection, form, Colour::No).1.digest;
    let whole = of(&everything, Form::List).unwrap();
    for form in [Form::Content, Form::Stat, Form::Json, Form::JsonContent] {
        assert_eq!(of(&everything, form), Some(whole), "{form:?}");
    }
    assert_eq!(of(&everything, Form::Names), None);
    let one =
        Selection { paths: vec![host(&fixture.path("over/changed"))], ..Selection::default() };
    let part = of(&one, Form::List).unwrap();
    assert_ne!(part, whole);
    // The same size and time, another byte.
    let id = fixture.stores().choose(Which::Named(&"n".into())).unwrap().id();
    let path = fixture.path(&format!("data/bryo/kept/{id}/upper-0/changed"));
    file(&path, "one\n3\nthree\n", 0o644);
    assert_ne!(of(&one, Form::List), Some(part));
    file(&path, "one\n2\nthree\n", 0o644);
    assert_eq!(of(&one, Form::List), Some(part));
}

#[test]
fn diff_of_a_running_sandbox_says_so() {
    let fixture = Fixture::new();
    let running = begun(&fixture, |_, upper| fs::write(upper.join("file"), "").unwrap());
    let (out, shown) = show(&fixture, &Selection::default(), Form::Json, Colour::No);
    let json: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["running"], true);
    assert!(shown.running);
    drop(running);
}

#[test]
fn what_changed_on_the_host_since_the_start_is_marked() {
    let fixture = Fixture::new();
    let (sandbox, record) = fixture.started(Some("n"));
    for name in ["stale", "new"] {
        file(&fixture.upper(&sandbox).join(name), "sandbox\n", 0o644);
    }
    std::thread::sleep(Duration::from_millis(20));
    file(&fixture.path("over/stale"), "host\n", 0o644);
    sandbox.keep(&exited(record)).unwrap();
    let shown = text(&fixture, Form::List, Colour::No);
    assert!(
        shown.contains("C OVER/stale  (5 B -> 8 B; changed on the host meanwhile)\n"),
        "{shown}"
    );
    assert!(shown.contains("A OVER/new  (8 B)\n"), "{shown}");
}

#[test]
fn holes_cost_nothing_and_are_not_shown() {
    let fixture = Fixture::new();
    ended(&fixture, |_, upper| {
        fs::File::create(upper.join("sparse")).unwrap().set_len(1 << 42).unwrap();
    });
    let began = std::time::Instant::now();
    assert!(text(&fixture, Form::List, Colour::No).ends_with("digest DIGEST\n"));
    let content = text(&fixture, Form::Content, Colour::No);
    assert!(content.contains("sandbox: too large to be shown, 4.0 TiB\n"), "{content}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_list_reads_no_more_than_a_little_and_says_so() {
    let fixture = Fixture::new();
    ended(&fixture, |_, upper| {
        for n in 0..2001 {
            fs::write(upper.join(n.to_string()), "x").unwrap();
        }
    });
    let shown = text(&fixture, Form::List, Colour::No);
    let end = "2001 changes: 2001 added, 0 changed, 0 deleted\n\
               no digest: there is much to read; --digest reads it\n";
    assert!(shown.ends_with(end), "{}", &shown[shown.len() - 200..]);
    let everything = Selection::default();
    let wanted = Request { digest: Wanted::Always, ..request(&everything, Form::List, Colour::No) };
    let mut out = Vec::new();
    let shown = diff(&fixture.stores(), Which::Named(&"n".into()), wanted, &mut out).unwrap();
    assert!(shown.digest.is_some());
}
