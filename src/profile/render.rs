//! Settings as TOML that can be read again.

use std::fmt::Write as _;
use std::time::Duration;

use crate::spec::confine::Need;
use crate::spec::group::IoRates;
use crate::spec::ids::{IdMode, User};
use crate::spec::net::OnLoss;
use crate::spec::rootfs::{Access, Base, HomeView, OverlayChoice, Pattern, WorkdirView};
use crate::spec::{Network, Rlimit, Text};

use super::group::{GroupBounds, cpus};
use super::health::Checks;
use super::library::access_key;
use super::settings::{Ceiling, Keyed, List, PathEntry, Settings};

/// The keys of `[paths]` that hold places with an access, in the order they are written.
const ACCESSES: [&str; 8] =
    ["read", "write", "cow", "hide", "tmpfs", "socket", "device", "toolchain"];

/// Writing to a string cannot fail.
fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}

/// A table that is being written: its name, and its lines so far.
struct Table<'n> {
    name: &'n str,
    lines: String,
}

impl<'n> Table<'n> {
    fn new(name: &'n str) -> Self {
        Self { name, lines: String::new() }
    }

    fn raw(&mut self, key: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            append(&mut self.lines, format_args!("{key} = {value}\n"));
        }
    }

    fn text(&mut self, key: &str, value: Option<impl AsRef<str>>) {
        self.raw(key, value.map(|value| quote(value.as_ref())));
    }

    fn list(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().map(|value| quote(&value)).collect();
        let one_line = format!("{key} = [{}]\n", values.join(", "));
        match values.len() {
            0 => {}
            _ if one_line.len() <= 80 => self.lines.push_str(&one_line),
            _ => append(
                &mut self.lines,
                format_args!("{key} = [\n    {},\n]\n", values.join(",\n    ")),
            ),
        }
    }

    fn write_to(self, out: &mut String) {
        if !self.lines.is_empty() {
            let blank = if out.is_empty() { "" } else { "\n" };
            let Self { name, lines } = self;
            append(out, format_args!("{blank}[{name}]\n{lines}"));
        }
    }
}

/// Writes settings as a profile; `extends = []` stands first, for they are complete.
pub fn to_toml(description: Option<&str>, settings: &Settings) -> String {
    let mut top = Table::new("");
    top.text("description", description);
    top.raw("extends", Some("[]"));
    top.text("hostname", settings.hostname.as_ref());
    top.text("umask", settings.umask.map(|mask| format!("{mask:03o}")));
    let mut out = top.lines;
    for table in [
        ids(settings),
        root(settings),
        paths(settings),
        environment(settings),
        network(settings),
        confine(settings),
        limits(settings),
        health(&settings.health),
        removed(settings),
    ] {
        table.write_to(&mut out);
    }
    out
}

/// What a profile removes, as the lines of its `[remove]`.
pub fn removals(settings: &Settings) -> String {
    removed(settings).lines
}

fn ids(settings: &Settings) -> Table<'static> {
    let mut table = Table::new("ids");
    table.text(
        "user",
        settings.ids.user.map(|user| match user {
            User::Caller => "caller".to_owned(),
            User::Root => "root".to_owned(),
            User::Numeric { uid, gid } => format!("{uid}:{gid}"),
        }),
    );
    table.text(
        "mode",
        settings.ids.mode.map(|mode| match mode {
            IdMode::Single => "single",
            IdMode::Subid => "subid",
        }),
    );
    table
}

fn root(settings: &Settings) -> Table<'static> {
    let root = &settings.root;
    let mut table = Table::new("root");
    table.text(
        "base",
        root.base.as_ref().map(|base| match base {
            // A profile cannot name a directory; what cannot be is written as what is strictest.
            Base::Empty | Base::Directory(_) => "empty",
            Base::Host => "host",
        }),
    );
    table.text(
        "overlay",
        root.overlay.map(|overlay| match overlay {
            OverlayChoice::Auto => "auto",
            OverlayChoice::Kernel => "kernel",
            OverlayChoice::Fuse => "fuse",
        }),
    );
    table.text(
        "workdir",
        root.workdir.map(|view| match view {
            WorkdirView::Cow => "cow",
            WorkdirView::Read => "read",
        }),
    );
    table.text(
        "home",
        root.home.as_ref().map(|view| match view {
            HomeView::Cow => "cow",
            HomeView::Only => "only",
            HomeView::Empty => "empty",
        }),
    );
    table.raw("read-only", root.read_only);
    table.raw("tmpfs-size", root.tmpfs_size);
    table.raw("shm-size", root.shm_size);
    table
}

fn paths(settings: &Settings) -> Table<'static> {
    let paths = &settings.paths;
    let mut table = Table::new("paths");
    for key in ACCESSES {
        let with_access = paths.requests.entries.iter().filter(|e| access_key(e.access) == key);
        table.list(key, with_access.map(request));
    }
    table.list("secrets", patterns(&paths.secrets.entries));
    table.list("hidden", patterns(&paths.hidden.entries));
    table.list("warned", patterns(&paths.warned.entries));
    table.list("moved", paths.moved.entries.iter().cloned());
    table
}

fn request(entry: &PathEntry) -> String {
    match entry.access {
        Access::Tmpfs { size: Some(size) } => format!("{}:{size}", lossless(&entry.path)),
        _ => lossless(&entry.path),
    }
}

fn patterns(list: &[Pattern]) -> impl Iterator<Item = String> {
    list.iter().map(lossless)
}

/// A pattern of a profile came from TOML, which is UTF-8.
fn lossless(pattern: &Pattern) -> String {
    text(&Text::from(pattern.clone()))
}

fn text(text: &Text) -> String {
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}

fn environment(settings: &Settings) -> Table<'static> {
    let mut table = Table::new("environment");
    table.list("pass", settings.environment.pass.entries.iter().cloned());
    let set = settings.environment.set.entries.iter();
    let set =
        set.map(|variable| format!("{} = {}", text(&variable.name), quote(&text(&variable.value))));
    inline_table(&mut table, "set", set);
    table
}

fn inline_table(table: &mut Table<'_>, key: &str, entries: impl Iterator<Item = String>) {
    let entries: Vec<String> = entries.collect();
    let all = (!entries.is_empty()).then(|| format!("{{ {} }}", entries.join(", ")));
    table.raw(key, all);
}

fn network(settings: &Settings) -> Table<'static> {
    let mut table = Table::new("network");
    table.text("mode", settings.network.mode.as_ref().map(Network::mode));
    table.list("refuse", settings.network.refuse.entries.iter().cloned());
    table.list("allow", settings.network.allow.entries.iter().map(ToString::to_string));
    table.list("deny", settings.network.deny.entries.iter().map(ToString::to_string));
    table.raw("allow-all", settings.network.allow_all);
    table.raw("allow-any-sni", settings.network.allow_any_sni);
    table.list("dns", settings.network.dns.entries.iter().map(ToString::to_string));
    table.list("dns-search", settings.network.dns_search.entries.iter().map(ToString::to_string));
    table.list("dns-option", settings.network.dns_options.entries.iter().map(ToString::to_string));
    table.list("add-host", settings.network.hosts.entries.iter().map(ToString::to_string));
    table.list("publish", settings.network.publish.entries.iter().map(ToString::to_string));
    table.text("rate", settings.network.rate.map(|rate| rate.to_string()));
    table.text("on-loss", settings.network.on_loss.map(OnLoss::word));
    table
}

fn confine(settings: &Settings) -> Table<'static> {
    let confine = &settings.confine;
    let mut table = Table::new("confine");
    table.list("capabilities", confine.capabilities.entries.iter().map(ToString::to_string));
    table.text("landlock", confine.landlock.map(need));
    table.text("seccomp", confine.seccomp.as_ref());
    table.raw("notify", confine.notify);
    table.raw("nesting", confine.nesting);
    table
}

fn need(need: Need) -> &'static str {
    match need {
        Need::Required => "required",
        Need::IfAvailable => "if-available",
        Need::Off => "off",
    }
}

fn limits(settings: &Settings) -> Table<'static> {
    let limits = &settings.limits;
    let mut table = Table::new("limits");
    match limits.processes {
        Some(Ceiling::Unlimited) => table.text("processes", Some("unlimited")),
        Some(Ceiling::At(count)) => table.raw("processes", Some(count)),
        None => {}
    }
    table.text("processes-need", limits.processes_need.map(need));
    match limits.disk {
        Some(Ceiling::Unlimited) => table.text("disk", Some("unlimited")),
        Some(Ceiling::At(bytes)) => table.raw("disk", Some(bytes)),
        None => {}
    }
    table.text("disk-need", limits.disk_need.map(need));
    group(&mut table, &limits.group);
    table.text("timeout", limits.timeout.map(duration));
    inline_table(&mut table, "ulimits", limits.ulimits.entries.iter().map(ulimit));
    table
}

fn health(checks: &Checks) -> Table<'static> {
    let mut table = Table::new("health");
    table.raw("disable", checks.disable);
    table.text("command", checks.command.as_ref());
    table.text("interval", checks.interval.map(duration));
    table.text("timeout", checks.timeout.map(duration));
    table.text("start-period", checks.start_period.map(duration));
    table.text("start-interval", checks.start_interval.map(duration));
    table.raw("retries", checks.retries);
    table
}

fn group(table: &mut Table<'_>, bounds: &GroupBounds) {
    let bytes = |ceiling: Ceiling| match ceiling {
        Ceiling::Unlimited => "unlimited".to_owned(),
        Ceiling::At(bytes) => bytes.to_string(),
    };
    table.text("memory", bounds.memory.map(bytes));
    table.text("memory-swap", bounds.memory_swap.map(bytes));
    table.text("memory-high", bounds.memory_high.map(bytes));
    let processors = |ceiling: Ceiling| match ceiling {
        Ceiling::Unlimited => "unlimited".to_owned(),
        Ceiling::At(time) => cpus(time),
    };
    table.text("cpus", bounds.cpus.map(processors));
    table.raw("cpu-weight", bounds.cpu_weight);
    table.text("cpuset-cpus", bounds.cpuset_cpus.as_ref().map(ToString::to_string));
    table.raw("io-weight", bounds.io_weight);
    // An empty list takes away what an earlier profile says.
    let disk = |(at, rates): &(Pattern, IoRates)| {
        quote(&format!("{}:{}", lossless(at), rates.to_string().replace(' ', ",")))
    };
    let disks = bounds.io_max.as_ref().map(|disks| disks.iter().map(disk).collect::<Vec<_>>());
    table.raw("io-max", disks.map(|disks| format!("[{}]", disks.join(", "))));
    let whose = |private| if private { "private" } else { "none" };
    table.text("cgroup", bounds.private.map(whose));
    table.text("cgroup-need", bounds.need.map(need));
}

fn duration(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

fn ulimit(limit: &Rlimit) -> String {
    let bound = |bound: Option<u64>| bound.map_or("unlimited".to_owned(), |n| n.to_string());
    format!("{} = \"{}:{}\"", limit.resource.name(), bound(limit.soft), bound(limit.hard))
}

fn removed(settings: &Settings) -> Table<'static> {
    fn keys<T: Keyed>(list: &List<T>, show: impl Fn(&T::Key) -> String) -> Vec<String> {
        list.removed.iter().map(show).collect()
    }
    let Settings { paths, environment, network, confine, limits, .. } = settings;
    let mut table = Table::new("remove");
    table.list("paths", keys(&paths.requests, lossless));
    table.list("secrets", keys(&paths.secrets, lossless));
    table.list("hidden", keys(&paths.hidden, lossless));
    table.list("warned", keys(&paths.warned, lossless));
    table.list("moved", keys(&paths.moved, Clone::clone));
    table.list("pass", keys(&environment.pass, Clone::clone));
    table.list("set", keys(&environment.set, text));
    table.list("refuse", keys(&network.refuse, Clone::clone));
    table.list("allow", keys(&network.allow, ToString::to_string));
    table.list("deny", keys(&network.deny, ToString::to_string));
    table.list("dns", keys(&network.dns, ToString::to_string));
    table.list("dns-search", keys(&network.dns_search, ToString::to_string));
    table.list("dns-option", keys(&network.dns_options, ToString::to_string));
    table.list("add-host", keys(&network.hosts, ToString::to_string));
    table.list("publish", keys(&network.publish, ToString::to_string));
    table.list("capabilities", keys(&confine.capabilities, ToString::to_string));
    table.list("ulimits", keys(&limits.ulimits, |resource| resource.name().to_owned()));
    table
}

/// A basic string of TOML.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // Control characters must be escaped; those that mislead a reader are too.
            c if c.is_control()
                || !c.is_ascii() && crate::spec::text::escape(c.to_string()) != c.to_string() =>
            {
                append(&mut quoted, format_args!("\\U{:08X}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
