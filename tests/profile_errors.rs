//! Every way a profile can be wrong: one clear error, with file, line and column.
//!
//! Long because each mistake stands beside what is said of it, and no table of them is better for being cut.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the exceptions for tests do not reach helper functions of integration tests"
)]

use std::fs;
use std::path::Path;

use bryo::profile::variable::matches_variable;
use bryo::profile::{Library, ProfileError, Reference, Resolved, parse_profile};
use bryo::report::failure::chain;
use bryo::spec::Text;
use bryo::spec::rootfs::Pattern;

fn error(content: &[u8]) -> ProfileError {
    match parse_profile(&Text::from("p.toml"), content) {
        Err(error) => error,
        Ok(_) => panic!("{} is taken", String::from_utf8_lossy(content)),
    }
}

/// What stands in a file, what the error says, and what the hint says.
const MISTAKES: &[(&str, &str, &str)] = &[
    // Unknown keys, at every level.
    (
        "extend = []",
        "line 1, column 1: there is no key `extend` at the top",
        "did you mean `extends`?",
    ),
    (
        "\n[path]\nread = []",
        "line 2, column 2: there is no key `path` at the top",
        "did you mean `paths`?",
    ),
    (
        "[paths]\n  raed = ['/x']",
        "line 2, column 3: there is no key `raed` in `[paths]`",
        "did you mean `read`?",
    ),
    ("[ids]\nuid = 5", "there is no key `uid` in `[ids]`", "there can be: user, mode"),
    (
        "[root]\nreadonly = true",
        "there is no key `readonly` in `[root]`",
        "did you mean `read-only`?",
    ),
    ("[environment]\nenv = {}", "there is no key `env` in `[environment]`", ""),
    ("[network]\nmodes = 'none'", "there is no key `modes` in `[network]`", "did you mean `mode`?"),
    (
        "[confine]\nsecomp = 'default'",
        "there is no key `secomp` in `[confine]`",
        "did you mean `seccomp`?",
    ),
    (
        "[limits]\nprocess = 5",
        "there is no key `process` in `[limits]`",
        "did you mean `processes`?",
    ),
    ("[limits]\nmemory-max = '1g'", "there is no key `memory-max` in `[limits]`", ""),
    ("[limits]\nmemory = '1m'", "`1m` cannot be in `memory`: it is less than 6 MiB", ""),
    (
        "[limits]\nmemory-swap = true",
        "`memory-swap` is a number or a text, not `true` or `false`",
        "",
    ),
    ("[limits]\ncpus = 'two'", "`two` cannot be in `cpus`", "a number with at most five digits"),
    ("[limits]\ncpu-weight = 0", "`0` cannot be in `cpu-weight`", "everybody else has 100"),
    (
        "[limits]\ncpuset-cpus = 'all'",
        "`all` cannot be in `cpuset-cpus`",
        "numbers and ranges: 0-3,8",
    ),
    ("[limits]\nio-weight = 10001", "`10001` cannot be in `io-weight`", "everybody else has 100"),
    ("[limits]\nio-max = '/:rbps=1'", "`io-max` is a list, not a text", ""),
    (
        "[limits]\nio-max = ['/']",
        "`/` cannot be in `io-max`: it is not a list of rates",
        "rbps=10m",
    ),
    ("[limits]\nio-max = ['/:rbps=1', '/:wbps=1']", "`/` stands twice, in `io-max`", ""),
    ("[limits]\ncgroup = 'host'", "`host` cannot be in `cgroup`", ""),
    ("[limits]\ncgroup-need = 'off'", "`off` cannot be in `cgroup-need`", ""),
    ("[remove]\nsecret = []", "there is no key `secret` in `[remove]`", "did you mean `secrets`?"),
    // Wrong types, for every field.
    ("description = 5", "`description` is a text, not a whole number", ""),
    ("extends = 'default'", "`extends` is a list, not a text", ""),
    ("extends = [5]", "`extends` is a text, not a whole number", ""),
    ("hostname = ['a']", "`hostname` is a text, not a list", ""),
    ("umask = 18", "`umask` is a text, not a whole number", ""),
    ("ids = 5", "`ids` is a table, not a whole number", ""),
    ("root = []", "`root` is a table, not a list", ""),
    ("paths = true", "`paths` is a table, not `true` or `false`", ""),
    ("environment = 1.5", "`environment` is a table, not a number with a fraction", ""),
    ("network = 'none'", "`network` is a table, not a text", ""),
    ("confine = 1979-05-27", "`confine` is a table, not a date", ""),
    ("limits = 5", "`limits` is a table, not a whole number", ""),
    ("remove = 5", "`remove` is a table, not a whole number", ""),
    ("[ids]\nuser = true", "`user` is a number or a text, not `true` or `false`", ""),
    ("[ids]\nmode = 5", "`mode` is a text, not a whole number", ""),
    ("[root]\nbase = 5", "`base` is a text, not a whole number", ""),
    ("[root]\noverlay = []", "`overlay` is a text, not a list", ""),
    ("[root]\nworkdir = {}", "`workdir` is a text, not a table", ""),
    ("[root]\nhome = 5", "`home` is a text, not a whole number", ""),
    ("[root]\nread-only = 'yes'", "`read-only` is `true` or `false`, not a text", ""),
    ("[root]\ntmpfs-size = []", "`tmpfs-size` is a number or a text, not a list", ""),
    (
        "[root]\nshm-size = 1.5",
        "`shm-size` is a number or a text, not a number with a fraction",
        "",
    ),
    ("[paths]\nread = '/x'", "`read` is a list, not a text", ""),
    ("[paths]\nread = [5]", "`read` is a text, not a whole number", ""),
    ("[paths]\nwrite = {}", "`write` is a list, not a table", ""),
    ("[paths]\ncow = 5", "`cow` is a list, not a whole number", ""),
    ("[paths]\nhide = [[]]", "`hide` is a text, not a list", ""),
    ("[paths]\ntmpfs = 5", "`tmpfs` is a list, not a whole number", ""),
    ("[paths]\nsocket = 5", "`socket` is a list, not a whole number", ""),
    ("[paths]\ndevice = 5", "`device` is a list, not a whole number", ""),
    ("[paths]\ntoolchain = 5", "`toolchain` is a list, not a whole number", ""),
    ("[paths]\nsecrets = 5", "`secrets` is a list, not a whole number", ""),
    ("[paths]\nhidden = [{}]", "`hidden` is a text, not a table", ""),
    ("[paths]\nwarned = 5", "`warned` is a list, not a whole number", ""),
    ("[paths]\nmoved = {}", "`moved` is a list, not a table", ""),
    ("[paths]\nmoved = ['A=/etc']", "`A=/etc` cannot be in `moved`", "as in `CARGO_HOME=~/.cargo`"),
    ("[environment]\npass = 'HOME'", "`pass` is a list, not a text", ""),
    ("[environment]\nset = ['A=1']", "`set` is a table, not a list", ""),
    ("[environment]\nset = { A = 1 }", "`A` is a text, not a whole number", ""),
    ("[network]\nmode = true", "`mode` is a text, not `true` or `false`", ""),
    ("[network]\nrefuse = 'host'", "`refuse` is a list, not a text", ""),
    ("[network]\nallow = 'a.test'", "`allow` is a list, not a text", ""),
    ("[network]\nallow-all = 'yes'", "`allow-all` is `true` or `false`, not a text", ""),
    ("[network]\ndns = [53]", "`dns` is a text, not a whole number", ""),
    ("[network]\nallow = ['127.1']", "`127.1` cannot be in `allow`", "write `127.0.0.1`"),
    ("[confine]\ncapabilities = 'all'", "`capabilities` is a list, not a text", ""),
    ("[confine]\nlandlock = true", "`landlock` is a text, not `true` or `false`", ""),
    ("[confine]\nseccomp = 5", "`seccomp` is a text, not a whole number", ""),
    ("[confine]\nnotify = 'on'", "`notify` is `true` or `false`, not a text", ""),
    ("[confine]\nnesting = 1", "`nesting` is `true` or `false`, not a whole number", ""),
    ("[limits]\nprocesses = true", "`processes` is a number or a text, not `true` or `false`", ""),
    ("[limits]\nprocesses-need = 5", "`processes-need` is a text, not a whole number", ""),
    ("[limits]\ntimeout = []", "`timeout` is a number or a text, not a list", ""),
    ("[limits]\nulimits = 5", "`ulimits` is a table, not a whole number", ""),
    (
        "[limits]\nulimits = { core = true }",
        "`core` is a number or a text, not `true` or `false`",
        "",
    ),
    ("[remove]\npaths = 5", "`paths` is a list, not a whole number", ""),
    ("[remove]\nulimits = [5]", "`ulimits` is a text, not a whole number", ""),
    // Values that cannot be.
    ("extends = ['']", "`` cannot be in `extends`: it is empty", ""),
    ("extends = ['a', 'a']", "`a` stands twice", ""),
    ("hostname = 'a_b'", "`a_b` cannot be in `hostname`: it is not a host name", "letters, digits"),
    ("umask = '8'", "`8` cannot be in `umask`", "a mask has octal digits"),
    ("[ids]\nuser = 'alice'", "`alice` cannot be in `user`", "write `root`"),
    ("[ids]\nuser = -1", "`-1` cannot be in `user`", ""),
    (
        "[ids]\nmode = 'subids'",
        "`subids` cannot be in `mode`: it is none of `single`, `subid`",
        "did you mean `subid`?",
    ),
    (
        "[root]\nbase = '/srv/root'",
        "`/srv/root` cannot be in `base`: it is none of `host`, `empty`",
        "",
    ),
    ("[root]\nhome = 'hidden'", "`hidden` cannot be in `home`", ""),
    ("[root]\nshm-size = 0", "`0` cannot be in `shm-size`: it must be more than 0", ""),
    ("[root]\nshm-size = -5", "`-5` cannot be in `shm-size`: it must be more than 0", ""),
    ("[root]\ntmpfs-size = '5x'", "`5x` cannot be in `tmpfs-size`", "a size is a number of bytes"),
    (
        "[paths]\nread = ['x']",
        "`x` cannot be in `read`: cannot take `x` as a path: it is not absolute",
        "begin with `/`",
    ),
    ("[paths]\nread = ['/a/../b']", "it contains `..`", ""),
    ("[paths]\nread = ['/a*']", "`/a*` cannot be in `read`: `*` and `?` mean nothing there", ""),
    ("[paths]\nread = [\"/a\\u0000b\"]", "it contains a NUL byte", ""),
    ("[paths]\nread = ['/a']\nhide = ['/a/']", "`/a` stands twice, in `hide` and in `read`", ""),
    ("[paths]\nread = ['/a', '/a']", "`/a` stands twice, in `read` and in `read`", ""),
    ("[paths]\nsecrets = ['/a', '/a']", "`/a` stands twice", ""),
    ("[paths]\ntmpfs = ['/a:x']", "`/a:x` cannot be in `tmpfs`: it is not a size", ""),
    (
        "[environment]\npass = ['1A']",
        "`1A` cannot be in `pass`: it is not the name of a variable",
        "",
    ),
    ("[environment]\npass = ['A=1']", "`A=1` cannot be in `pass`", ""),
    (
        "[environment]\nset = { 'A B' = 'x' }",
        "`A B` cannot be in `A B`: it is not the name of a variable",
        "",
    ),
    (
        "[network]\nmode = 'bridge'",
        "`bridge` cannot be in `mode`: it is none of `none`, `user`, `host`",
        "",
    ),
    ("[confine]\ncapabilities = ['ROOT']", "there is no capability `ROOT`", ""),
    ("[confine]\ncapabilities = ['KILL', 'cap_kill']", "`cap_kill` stands twice", ""),
    ("[confine]\nseccomp = 'unconfined'", "`unconfined` cannot be in `seccomp`", ""),
    ("[limits]\nprocesses = 0", "`0` cannot be in `processes`: it must be more than 0", ""),
    ("[limits]\nprocesses = 99999999999999999999", "cannot be in `processes`: it is too large", ""),
    ("[limits]\nprocesses-need = 'off'", "`off` cannot be in `processes-need`", ""),
    ("[limits]\ntimeout = '5x'", "`5x` cannot be in `timeout`", "a duration is a number"),
    (
        "[limits]\nulimits = { files = 5 }",
        "`files` cannot be in `files`: there is no such limit",
        "",
    ),
    ("[limits]\nulimits = { core = '5:1' }", "the soft limit is above the hard one", ""),
    // Not TOML.
    ("[paths", "line 1, column", ""),
    ("a = ", "line 1, column", ""),
    ("hostname = 'a'\nhostname = 'b'", "line 2, column 1: duplicate key", ""),
    ("description = '\u{1b}[2J'", "line 1", ""),
    ("\u{202e} = 5", "line 1", ""),
];

#[test]
fn every_mistake_is_named_with_its_place() {
    for (content, wanted, hint) in MISTAKES {
        let error = error(content.as_bytes());
        let text = chain(&error);
        assert!(text.starts_with("cannot use profile `p.toml`, line "), "{content}: {text}");
        assert!(text.contains(wanted), "{content}: {text}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{content}: {:?}", error.hint());
        assert!(!text.contains(char::is_control), "{content}: {text:?}");
    }
}

/// The keys that can stand in a table, as the error for a key that is none lists them.
fn keys_of(table: &str) -> Vec<String> {
    let unknown = error(format!("{table}zzzz = 1").as_bytes());
    let hint = unknown.hint().unwrap();
    hint.strip_prefix("there can be: ").unwrap().split(", ").map(str::to_owned).collect()
}

/// Which tables there are, and which keys, is the parser's own word: one that is added later is among them.
#[test]
fn every_key_refuses_values_that_it_cannot_have() {
    let mut keys: Vec<(String, String)> = Vec::new();
    for key in keys_of("") {
        let table = format!("[{key}]\n");
        let is_table = parse_profile(&Text::from("p.toml"), table.as_bytes()).is_ok();
        if is_table {
            keys.extend(keys_of(&table).into_iter().map(|key| (table.clone(), key)));
        }
        keys.push((String::new(), key));
    }
    assert!(keys.len() > 80, "{keys:?}");
    // No key has a date, a fraction, or a list or table of those; nor a text of these letters.
    let deep = format!("{}1{}", "[".repeat(50), "]".repeat(50));
    let values =
        ["2026-01-31", "0.5", "[0.5]", "[2026-01-31]", "{ a = 0.5 }", "[{}]", "[[]]", "nan", &deep];
    let garbage = format!("'{}'", "\u{feff}{[*?~ ".repeat(20_000));
    let listed = format!("[{garbage}]");
    for (table, key) in keys {
        for value in values.into_iter().chain([garbage.as_str(), &listed]) {
            let content = format!("{table}{key} = {value}\n");
            let shown = format!("{table}{key} = {value:.40}");
            let Err(error) = parse_profile(&Text::from("p.toml"), content.as_bytes()) else {
                // Some have no form of their own.
                assert!(
                    value.contains('\'') && ANY_TEXT.contains(&key.as_str()),
                    "{shown} is taken"
                );
                continue;
            };
            let text = chain(&error);
            assert!(text.starts_with("cannot use profile `p.toml`, line "), "{shown}: {text}");
            assert!(text.len() < 1000 && !text.contains(char::is_control), "{shown}: {text}");
        }
    }
}

/// Keys whose value, or whose entries, may be any text.
const ANY_TEXT: [&str; 4] = ["description", "extends", "command", "set"];

#[test]
fn bytes_that_are_no_text_and_files_without_end_are_refused() {
    let text = chain(&error(b"a = 1\nb = \"\xff\""));
    assert_eq!(text, "cannot use profile `p.toml`, line 2, column 6: the text is not UTF-8");
    let text = chain(&error(&vec![b'#'; 10 << 20]));
    assert_eq!(text, "cannot read profile `p.toml`: it has more than 1048576 bytes");
    // As deep and as wide as fits into a megabyte: an answer, and soon.
    for garbage in
        ["[".repeat(1 << 19), "a.".repeat(1 << 18), "{".repeat(1 << 19), "a=[".repeat(300_000)]
    {
        assert!(!chain(&error(garbage.as_bytes())).is_empty());
    }
}

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), content).unwrap();
    }

    fn library(&self) -> Library {
        Library::new(Some(self.0.path().to_owned()))
    }

    fn resolve(&self, word: &str) -> Result<Resolved, String> {
        let reference = Reference::parse(word.as_ref()).map_err(|error| chain(&error))?;
        self.library().resolve(&reference).map_err(|error| chain(&error))
    }
}

#[test]
fn a_cycle_is_refused_however_long() {
    let home = Home::new();
    home.write("a.toml", "extends = ['b']");
    home.write("b.toml", "extends = ['default', 'c']");
    home.write("c.toml", "extends = ['b']");
    home.write("self.toml", "extends = ['self']");
    assert_eq!(
        home.resolve("a").unwrap_err(),
        "cannot use profile `b`: it extends itself through `c`"
    );
    assert_eq!(
        home.resolve("self").unwrap_err(),
        "cannot use profile `self`: it extends itself through itself"
    );
}

#[test]
fn a_row_without_end_is_refused() {
    let home = Home::new();
    for number in 0..100 {
        home.write(&format!("p{number}.toml"), format!("extends = ['p{}']", number + 1));
    }
    assert!(home.resolve("p0").unwrap_err().contains("it extends more than 32 others"));
    home.write("p20.toml", "extends = []");
    assert_eq!(home.resolve("p0").unwrap().row.len(), 21);
}

#[test]
fn a_user_profile_with_the_name_of_a_built_in_one_is_refused_by_name_and_else_passed_over() {
    let home = Home::new();
    home.write("default.toml", "extends = []");
    home.write("mine.toml", "");
    let text = home.resolve("default").unwrap_err();
    assert!(text.starts_with("cannot choose between the built-in profile `default` and"), "{text}");
    // Nobody typed it: a file that somebody put there stops no other profile, and is told.
    let mine = home.resolve("mine").unwrap();
    assert_eq!(mine.row, ["default", "mine"]);
    assert!(mine.settings.finish().rootfs.secrets.len() > 100, "the built-in one is used");
    assert!(mine.passed_over[0].to_string().ends_with("default.toml"), "{:?}", mine.passed_over);
}

#[test]
fn a_profile_that_says_nothing_about_it_extends_default() {
    let home = Home::new();
    home.write("mine.toml", "[limits]\nprocesses = 5\n");
    home.write("bare.toml", "extends = []");
    let mine = home.resolve("mine").unwrap();
    assert_eq!(mine.row, ["default", "mine"]);
    assert!(mine.settings.paths.secrets.entries.len() > 100);
    let bare = home.resolve("bare").unwrap().settings.finish();
    assert_eq!(bare.rootfs.base, bryo::spec::rootfs::Base::Empty);
    assert!(bare.pass.is_empty() && bare.rootfs.requests.is_empty());
}

#[test]
fn a_file_is_named_with_a_slash_and_its_parents_stand_beside_it() {
    let home = Home::new();
    home.write("base.toml", "extends = []\nhostname = 'base'");
    home.write("top.toml", "extends = ['./base.toml']");
    let path = home.0.path().join("top.toml");
    let resolved = home.resolve(path.to_str().unwrap()).unwrap();
    assert_eq!(
        (resolved.name.as_str(), resolved.settings.hostname.as_deref()),
        ("top", Some("base"))
    );
    assert!(
        home.resolve("top.toml").unwrap_err().contains("cannot find a profile named `top.toml`")
    );
    assert!(
        home.resolve("/nonexistent/x.toml").unwrap_err().ends_with("no such file or directory")
    );
    assert!(home.resolve("/dev/null").unwrap_err().ends_with("it is not a regular file"));
    assert!(home.resolve("/etc/").unwrap_err().ends_with("it is not a regular file"));
}

#[test]
fn a_fifo_is_not_waited_for() {
    let home = Home::new();
    let fifo = home.0.path().join("fifo.toml");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(home.resolve("fifo").unwrap_err().ends_with("it is not a regular file"));
}

#[test]
fn nothing_is_picked_up_from_a_directory_by_itself() {
    let library = Library::new(None);
    assert!(Path::new("profiles/default.toml").exists());
    assert!(library.resolve(&Reference::Name("seccomp".to_owned())).is_err());
    assert_eq!(library.list().unwrap().len(), bryo::profile::builtin::NAMES.len());
}

#[test]
fn asking_for_a_secret_without_taking_it_out_of_the_list_is_an_error() {
    let home = Home::new();
    home.write("open.toml", "[paths]\nread = ['~/.npmrc']");
    home.write("right.toml", "[paths]\nread = ['~/.npmrc']\n[remove]\nsecrets = ['~/.npmrc']");
    let text = home.resolve("open").unwrap_err();
    assert_eq!(text, "cannot give `~/.npmrc` as `read`: it stays hidden, being in `secrets`");
    assert!(home.resolve("right").is_ok());
}

#[test]
fn a_list_shows_what_is_broken_and_why() {
    let home = Home::new();
    home.write("good.toml", "description = 'mine'");
    home.write("bad.toml", "x = 1");
    home.write("not a name.toml", "");
    home.write("notes.txt", "");
    let listed = home.library().list().unwrap();
    let own: Vec<_> = listed.iter().skip(4).map(|listing| listing.name.as_str()).collect();
    assert_eq!(own, ["bad", "good"]);
    assert!(listed[4].problem.as_deref().unwrap().contains("there is no key `x`"));
    assert_eq!(listed[5].description.as_deref(), Some("mine"));
}

/// What the default profile promises to hide.
const SECRETS: &[&str] = &[
    "~/.ssh",
    "~/.gnupg",
    "~/.aws",
    "~/.azure",
    "~/.config/gcloud",
    "~/.kube",
    "~/.docker",
    "~/.config/containers/auth.json",
    "~/.terraform.d",
    "~/.vault-token",
    "~/.config/op",
    "~/.config/rclone",
    "~/.netrc",
    "~/.git-credentials",
    "~/.config/git/credentials",
    "~/.config/gh",
    "~/.config/glab-cli",
    "~/.npmrc",
    "~/.pypirc",
    "~/.cargo/credentials",
    "~/.cargo/credentials.toml",
    "~/.gem/credentials",
    "~/.composer/auth.json",
    "~/.m2/settings.xml",
    "~/.gradle/gradle.properties",
    "~/.local/share/keyrings",
    "~/.password-store",
    "~/.Xauthority",
    "~/.ICEauthority",
    "~/.mozilla",
    "~/.config/chromium",
    "~/.var/app",
    "~/snap",
    "~/.thunderbird",
    "~/.config/Signal",
    "~/.bash_history",
    "~/.python_history",
    "~/.config/systemd",
    "~/.local/share/containers",
];
/// `/var/tmp` is not among them: it is there, private and empty, like `/tmp`.
const PLACES: &[&str] = &[
    "/root",
    "/mnt",
    "/media",
    "/srv",
    "/data",
    "/var/mail",
    "/var/spool",
    "/var/log",
    "/var/crash",
    "/var/backups",
    "/lost+found",
    "/var/lib/systemd/coredump",
];
/// And never to pass.
const VARIABLES: &[&str] = &[
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "SSH_AUTH_SOCK",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "LD_PRELOAD",
];

#[test]
fn the_default_profile_hides_what_it_says() {
    let resolved = Library::default().resolve(&Reference::Name("default".to_owned())).unwrap();
    let wanted = resolved.settings.finish();
    let lists = |list: &[Pattern], path: &str| list.iter().any(|entry| entry.to_string() == path);
    for secret in SECRETS {
        assert!(lists(&wanted.rootfs.secrets, secret), "{secret}");
    }
    for place in PLACES {
        assert!(lists(&wanted.rootfs.hidden, place), "{place}");
    }
    for name in VARIABLES {
        let passes = |pattern: &String| matches_variable(pattern.as_bytes(), name.as_bytes());
        assert!(!wanted.pass.iter().any(passes), "{name}");
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_by_their_places() {
    let content = "hostname = '-'\n[limits]\nfoo = 1\ntimeout = 'soon'\npids = 5\n\n[root]\nshm-size = -5\n\
                   [paths]\nread = ['~/ok', 7, 'rel', '']\n[nothing]\na = 1\n";
    let told: Vec<String> = bryo::profile::problems(&Text::from("p.toml"), content.as_bytes())
        .iter()
        .map(|error| chain(error))
        .collect();
    let lines: Vec<&str> = told
        .iter()
        .map(|text| text.strip_prefix("cannot use profile `p.toml`, ").unwrap())
        .map(|text| text.split(',').next().unwrap())
        .collect();
    let first = error(content.as_bytes());
    assert!(told.contains(&chain(&first)), "{told:#?}");
    let expected = [1, 3, 4, 5, 8, 10, 10, 10, 11].map(|line| format!("line {line}"));
    assert_eq!(lines, expected, "{told:#?}");
    // What is right has none, and what is no TOML one.
    assert!(bryo::profile::problems(&Text::from("p.toml"), b"hostname = 'a'").is_empty());
    assert_eq!(bryo::profile::problems(&Text::from("p.toml"), b"a = \nb = \n[").len(), 1);
    assert_eq!(bryo::profile::problems(&Text::from("p.toml"), b"\xff").len(), 1);
}

/// Whatever is wrong, each mistake of the list is found by both, and leaving it out ends.
#[test]
fn the_first_mistake_is_among_all_of_them() {
    for (content, ..) in MISTAKES {
        let all = bryo::profile::problems(&Text::from("p.toml"), content.as_bytes());
        let first = chain(&error(content.as_bytes()));
        assert!(all.iter().any(|error| chain(error) == first), "{content}: {all:?}");
    }
}
