//! The merge rule: associative, and what each field's row of the table says.
#![expect(
    clippy::unwrap_used,
    reason = "allow-unwrap-in-tests does not reach helper functions of integration tests"
)]

use bryo::profile::render::to_toml;
use bryo::profile::settings::{Keyed, List};
use bryo::profile::{Library, Reference, Settings, parse_profile};
use bryo::spec::Text;
use proptest::prelude::*;

fn settings(toml: &str) -> Settings {
    parse_profile(&Text::from("test.toml"), toml.as_bytes()).unwrap().settings
}

/// A few values for each key, so that two profiles often say something about the same thing.
fn line(table: &'static str, lines: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::subsequence(lines, 0..=lines.len()).prop_map(move |chosen| {
        let mut seen = Vec::new();
        let first_of_key = |line: &&&str| {
            let key = line.split('=').next().unwrap_or_default().to_owned();
            let new = !seen.contains(&key);
            seen.push(key);
            new
        };
        let chosen: Vec<_> = chosen.iter().filter(first_of_key).copied().collect();
        format!("[{table}]\n{}\n", chosen.join("\n"))
    })
}

fn words(key: &'static str, words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::subsequence(words, 0..=words.len()).prop_shuffle().prop_map(move |chosen| {
        let quoted: Vec<_> = chosen.iter().map(|word| format!("\"{word}\"")).collect();
        format!("{key} = [{}]\n", quoted.join(", "))
    })
}

const PLACES: &[&str] = &["/a", "~/b", "./c", "/d/*"];
const RULES: &[&str] = &["a.test", "*.b.test:443", "192.0.2.0/24:1-9/udp", "2001:db8::1"];
const NAMES: &[&str] = &["A", "B_*", "C"];
const MOVED: &[&str] = &["A=~/a", "A=~/b", "B/c=~/a"];

prop_compose! {
    fn any_lists()(
        secrets in words("secrets", PLACES), hidden in words("hidden", PLACES),
        warned in words("warned", PLACES), moved in words("moved", MOVED), pass in words("pass", NAMES),
        capabilities in words("capabilities", &["CHOWN", "KILL"]),
        refuse in words("refuse", &["host", "none"]),
        allow in words("allow", RULES), deny in words("deny", RULES),
        hosts in words("add-host", &["a:192.0.2.1", "b:192.0.2.2"]),
        dns in words("dns", &["192.0.2.53:53", "[2001:db8::53]:53"]),
        places in proptest::collection::vec(0_usize..6, 3),
    ) -> [String; 4] {
        let mut by_access = vec![Vec::new(); 6];
        for (path, access) in ["/a", "~/b", "./c"].iter().zip(places) {
            by_access[access].push(format!("\"{path}\""));
        }
        let keys = ["read", "write", "cow", "hide", "tmpfs"];
        let requests: Vec<_> = keys.iter().zip(&by_access)
            .map(|(key, paths)| format!("{key} = [{}]", paths.join(", "))).collect();
        let requests = requests.join("\n");
        [format!("[paths]\n{secrets}{hidden}{warned}{moved}{requests}\n"), pass, capabilities,
            format!("{refuse}{allow}{deny}{hosts}{dns}")]
    }
}

prop_compose! {
    fn any_removals()(
        paths in words("paths", &["/a", "~/b", "./c"]), secrets in words("secrets", PLACES),
        hidden in words("hidden", PLACES), pass in words("pass", NAMES),
        set in words("set", &["A", "B"]), capabilities in words("capabilities", &["CHOWN", "KILL"]),
        ulimits in words("ulimits", &["core", "nofile"]), refuse in words("refuse", &["host"]),
        allow in words("allow", RULES), hosts in words("add-host", &["a:192.0.2.1"]),
        moved in words("moved", MOVED),
    ) -> String {
        format!("[remove]\n{paths}{secrets}{hidden}{pass}{set}{capabilities}{ulimits}{refuse}{allow}{hosts}{moved}")
    }
}

prop_compose! {
    fn any_settings()(
        top in line("top", &["hostname = 'a'", "hostname = 'b'", "umask = '022'", "umask = '077'"]),
        ids in line("ids", &["user = 'root'", "user = 7", "mode = 'subid'", "mode = 'single'"]),
        root in line("root", &["home = 'only'", "home = 'cow'", "base = 'host'", "base = 'empty'",
            "workdir = 'read'", "overlay = 'fuse'", "read-only = true", "read-only = false",
            "tmpfs-size = '1m'", "shm-size = 5"]),
        limits in line("limits", &["processes = 5", "processes = 'unlimited'", "timeout = '5m'",
            "processes-need = 'if-available'", "ulimits = { core = 0 }",
            "ulimits = { core = 1, nofile = '5:9' }", "memory = '64m'", "memory = 'unlimited'",
            "memory-swap = '1g'", "cpus = '1.25'", "cpu-weight = 7", "cpuset-cpus = '0-2,5'",
            "io-weight = 7", "io-max = ['.:rbps=1m,wiops=7', '/a:b:wbps=1']", "io-max = []",
            "cgroup = 'private'", "cgroup = 'none'", "cgroup-need = 'if-available'"]),
        confine in line("confine", &["landlock = 'off'", "landlock = 'required'",
            "seccomp = 'default-32'", "notify = false", "nesting = true"]),
        health in line("health", &["disable = true", "disable = false", "command = 'true'",
            "command = 'a \"b\"'", "interval = '5s'", "timeout = '1m'", "start-period = 0",
            "start-interval = 1", "retries = 2"]),
        environment in line("environment", &["set = { A = '1' }", "set = { A = '2', B = '3' }"]),
        network in line("network", &["mode = 'host'", "mode = 'none'", "mode = 'user'",
            "allow-all = true", "allow-any-sni = false", "rate = '10M'", "rate = '1M/16k'"]),
        lists in any_lists(),
        removals in any_removals(),
    ) -> Settings {
        let [paths, pass, capabilities, refuse] = lists;
        let top = top.replace("[top]\n", "");
        settings(&format!(
            "{top}{ids}{root}{limits}{health}{confine}{capabilities}{environment}{pass}{network}{refuse}{paths}{removals}"
        ))
    }
}

proptest! {
    #[test]
    fn merging_is_associative(a in any_settings(), b in any_settings(), c in any_settings()) {
        let left = a.clone().merge(b.clone()).merge(c.clone());
        let right = a.merge(b.merge(c));
        prop_assert_eq!(left, right);
    }

    #[test]
    fn nothing_merged_with_a_profile_is_that_profile(a in any_settings()) {
        prop_assert_eq!(Settings::default().merge(a.clone()), a.clone());
        prop_assert_eq!(a.clone().merge(Settings::default()), a);
    }

    #[test]
    fn what_a_later_profile_says_holds(a in any_settings(), b in any_settings()) {
        let merged = a.merge(b.clone());
        prop_assert!(b.root.home.is_none() || merged.root.home == b.root.home);
        prop_assert!(b.limits.processes.is_none() || merged.limits.processes == b.limits.processes);
        for entry in &b.paths.requests.entries {
            prop_assert!(merged.paths.requests.entries.contains(entry));
        }
        for removed in &b.paths.secrets.removed {
            prop_assert_eq!(
                merged.paths.secrets.entries.contains(removed),
                b.paths.secrets.entries.contains(removed)
            );
        }
        prop_assert!(has_no_double(&merged.paths.requests) && has_no_double(&merged.paths.secrets));
        prop_assert!(has_no_double(&merged.environment.set) && has_no_double(&merged.limits.ulimits));
    }

    #[test]
    fn settings_written_as_toml_read_back_the_same(a in any_settings()) {
        let toml = to_toml(Some("x"), &a);
        prop_assert!(settings(&toml).finish() == a.finish(), "{}", toml);
    }
}

fn has_no_double<T: Keyed>(list: &List<T>) -> bool {
    let mut keys: Vec<_> = list.entries.iter().map(Keyed::key).collect();
    keys.sort();
    keys.windows(2).all(|pair| pair[0] != pair[1])
}

#[test]
fn two_profiles_that_extend_the_same_do_not_bring_it_back() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(format!("{name}.toml")), text).unwrap();
    };
    write("quiet", "extends = ['default']\n[root]\nhome = 'empty'\n");
    write("fast", "extends = ['default']\n[limits]\nprocesses = 9\n");
    write("both", "extends = ['quiet', 'fast']\n");
    let library = Library::new(Some(directory.path().to_owned()));
    let resolved = library.resolve(&Reference::Name("both".to_owned())).unwrap();
    assert_eq!(resolved.row, ["default", "quiet", "fast", "both"]);
    let wanted = resolved.settings.finish();
    assert_eq!(wanted.rootfs.home, bryo::spec::rootfs::HomeView::Empty);
    assert_eq!(wanted.limits.processes, Some(9));
}

#[test]
fn every_built_in_profile_resolves_and_reads_back() {
    for name in bryo::profile::builtin::NAMES {
        let resolved = Library::default().resolve(&Reference::Name(name.to_owned())).unwrap();
        let toml = to_toml(resolved.description.as_deref(), &resolved.settings);
        assert!(settings(&toml).finish() == resolved.settings.finish(), "{name}: {toml}");
        assert!(resolved.description.is_some(), "{name}");
    }
}
