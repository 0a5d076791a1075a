//! Which keys a profile can have, and what stands under each.

use toml::de::DeTable;

use crate::spec::confine::{Capability, Need};
use crate::spec::ids::IdMode;
use crate::spec::rootfs::{Access, Base, HomeView, OverlayChoice, Pattern, WorkdirView};
use crate::spec::seccomp::file::FOR_PAYLOADS;
use crate::spec::{EnvironmentVariable, Text};

use super::error::Located;
use super::group::parse_ceiling;
use super::health::read_health;
use super::moved::check_moved;
use super::network::{
    read_host_entry, read_network, read_network_name, read_option, read_published, read_rule,
    read_search, read_server,
};
use super::read::{Cursor, ProfileFile, each_key};
use super::settings::{Ceiling, Keyed, List, PathEntry, Settings};
use super::value::{
    ValueError, check_hostname, parse_count, parse_duration, parse_limit, parse_resource,
    parse_size, parse_umask, parse_user,
};
use super::variable::{check_variable_pattern, is_variable_name};

const TOP: &[&str] = &[
    "description",
    "extends",
    "hostname",
    "umask",
    "ids",
    "root",
    "paths",
    "environment",
    "network",
    "confine",
    "limits",
    "health",
    "remove",
];
const IDS: &[&str] = &["user", "mode"];
const ROOT: &[&str] =
    &["base", "overlay", "workdir", "home", "read-only", "tmpfs-size", "shm-size"];
const PATHS: &[&str] = &[
    "read",
    "write",
    "cow",
    "hide",
    "tmpfs",
    "socket",
    "device",
    "toolchain",
    "secrets",
    "hidden",
    "warned",
    "moved",
];
const ENVIRONMENT: &[&str] = &["pass", "set"];
const CONFINE: &[&str] = &["capabilities", "landlock", "seccomp", "notify", "nesting"];
const LIMITS: &[&str] = &[
    "processes",
    "processes-need",
    "ulimits",
    "timeout",
    "memory",
    "memory-swap",
    "memory-high",
    "cpus",
    "cpu-weight",
    "cpuset-cpus",
    "io-weight",
    "io-max",
    "cgroup",
    "cgroup-need",
    "disk",
    "disk-need",
];
const REMOVE: &[&str] = &[
    "paths",
    "secrets",
    "hidden",
    "warned",
    "moved",
    "pass",
    "set",
    "refuse",
    "allow",
    "deny",
    "dns",
    "dns-search",
    "dns-option",
    "add-host",
    "publish",
    "capabilities",
    "ulimits",
];

/// How much something is wanted.
const NEEDS: &[&str] = &["required", "if-available", "off"];

pub(super) fn read_fields(table: &DeTable<'_>) -> Result<ProfileFile, Located> {
    let mut file = ProfileFile::default();
    let settings = &mut file.settings;
    each_key(table, "at the top", TOP, |at| {
        match at.key() {
            "description" => file.description = Some(at.text()?.to_owned()),
            "extends" => file.extends = Some(read_names(at)?),
            "hostname" => {
                settings.hostname =
                    Some(at.parsed(|text| check_hostname(text).map(|()| text.to_owned()))?);
            }
            "umask" => settings.umask = Some(at.parsed(parse_umask)?),
            "ids" => read_ids(at, settings)?,
            "root" => read_root(at, settings)?,
            "paths" => read_paths(at, settings)?,
            "environment" => read_environment(at, settings)?,
            "network" => read_network(at, settings)?,
            "confine" => read_confine(at, settings)?,
            "limits" => read_limits(at, settings)?,
            "health" => read_health(at, settings)?,
            _ => read_remove(at, settings)?,
        }
        Ok(())
    })?;
    Ok(file)
}

fn read_names(at: Cursor<'_, '_>) -> Result<Vec<String>, Located> {
    let mut names: Vec<String> = Vec::new();
    for item in at.list()? {
        let name = item.text()?;
        if name.is_empty() {
            return Err(item.bad(name, ValueError::Empty));
        }
        if names.iter().any(|known| known == name) {
            return Err(item.twice(Text::from(name), at.key()));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn read_ids(at: Cursor<'_, '_>, settings: &mut Settings) -> Result<(), Located> {
    each_key(at.table()?, "in `[ids]`", IDS, |at| {
        if at.key() == "user" {
            settings.ids.user = Some(at.number_or_text(parse_user)?);
        } else {
            let modes = [IdMode::Single, IdMode::Subid];
            settings.ids.mode = Some(at.choice(&["single", "subid"], &modes)?);
        }
        Ok(())
    })
}

fn read_root(at: Cursor<'_, '_>, settings: &mut Settings) -> Result<(), Located> {
    let root = &mut settings.root;
    each_key(at.table()?, "in `[root]`", ROOT, |at| {
        match at.key() {
            "base" => {
                root.base = Some(at.choice(&["host", "empty"], &[Base::Host, Base::Empty])?);
            }
            "overlay" => {
                let choices = [OverlayChoice::Auto, OverlayChoice::Kernel, OverlayChoice::Fuse];
                root.overlay = Some(at.choice(&["auto", "kernel", "fuse"], &choices)?);
            }
            "workdir" => {
                let views = [WorkdirView::Cow, WorkdirView::Read];
                root.workdir = Some(at.choice(&["cow", "read"], &views)?);
            }
            "home" => {
                let views = [HomeView::Cow, HomeView::Only, HomeView::Empty];
                root.home = Some(at.choice(&["cow", "only", "empty"], &views)?);
            }
            "read-only" => root.read_only = Some(at.boolean()?),
            "tmpfs-size" => root.tmpfs_size = Some(at.number_or_text(parse_size)?),
            _ => root.shm_size = Some(at.number_or_text(parse_size)?),
        }
        Ok(())
    })
}

fn read_paths(at: Cursor<'_, '_>, settings: &mut Settings) -> Result<(), Located> {
    let paths = &mut settings.paths;
    // Which key a place stands under, for the error when it stands twice.
    let mut seen: Vec<(Pattern, &str)> = Vec::new();
    each_key(at.table()?, "in `[paths]`", PATHS, |at| {
        let list = match at.key() {
            "moved" => {
                paths.moved = read_list(at, read_moved)?;
                return Ok(());
            }
            "secrets" => &mut paths.secrets,
            "hidden" => &mut paths.hidden,
            "warned" => &mut paths.warned,
            _ => return read_requests(at, &mut paths.requests, &mut seen),
        };
        *list = read_list(at, |at| at.parsed(|text| Ok(Pattern::new(text)?)))?;
        Ok(())
    })
}

fn read_requests<'t>(
    at: Cursor<'t, '_>,
    requests: &mut List<PathEntry>,
    seen: &mut Vec<(Pattern, &'t str)>,
) -> Result<(), Located> {
    for item in at.list()? {
        let entry = item.parsed(|text| read_request(at.key(), text))?;
        if let Some((_, one)) = seen.iter().find(|(path, _)| *path == entry.path) {
            return Err(item.twice(Text::from(entry.path), one));
        }
        seen.push((entry.path.clone(), at.key()));
        requests.entries.push(entry);
    }
    Ok(())
}

fn read_request(key: &str, text: &str) -> Result<PathEntry, ValueError> {
    let (path, access) = match key {
        "read" => (text, Access::Read),
        "write" => (text, Access::Write),
        "cow" => (text, Access::Cow),
        "hide" => (text, Access::Hide),
        "socket" => (text, Access::Socket),
        "device" => (text, Access::Device),
        "toolchain" => (text, Access::Toolchain),
        _ => match text.rsplit_once(':') {
            Some((path, size)) => (path, Access::Tmpfs { size: Some(parse_size(size)?) }),
            None => (text, Access::Tmpfs { size: None }),
        },
    };
    if path.contains(['*', '?']) {
        return Err(ValueError::Wildcard);
    }
    Ok(PathEntry { path: Pattern::new(path)?, access })
}

/// A list whose entries are told apart by their key.
pub(super) fn read_list<'t, 'i, T: Keyed>(
    at: Cursor<'t, 'i>,
    mut read: impl FnMut(Cursor<'t, 'i>) -> Result<T, Located>,
) -> Result<List<T>, Located> {
    Ok(List {
        entries: read_unique(at, &mut read, |entry| entry.key().clone())?,
        removed: Vec::new(),
    })
}

fn read_unique<'t, 'i, T, K: Ord>(
    at: Cursor<'t, 'i>,
    read: &mut impl FnMut(Cursor<'t, 'i>) -> Result<T, Located>,
    key: impl Fn(&T) -> K,
) -> Result<Vec<T>, Located> {
    let mut entries = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for item in at.list()? {
        let entry = read(item)?;
        if !seen.insert(key(&entry)) {
            return Err(item.twice(Text::from(item.text()?), at.key()));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn read_environment(at: Cursor<'_, '_>, settings: &mut Settings) -> Result<(), Located> {
    let environment = &mut settings.environment;
    each_key(at.table()?, "in `[environment]`", ENVIRONMENT, |at| {
        if at.key() == "pass" {
            environment.pass = read_list(at, read_variable_pattern)?;
            return Ok(());
        }
        for (name, value) in at.table()? {
            let value = Cursor::new(name.get_ref(), value);
            if !is_variable_name(name.get_ref()) {
                return Err(value.bad(name.get_ref(), ValueError::NotAVariable));
            }
            environment.set.entries.push(EnvironmentVariable {
                name: Text::from(name.get_ref().as_ref()),
                value: Text::from(value.text()?),
            });
        }
        Ok(())
    })
}

fn read_variable_pattern(at: Cursor<'_, '_>) -> Result<String, Located> {
    at.parsed(|text| check_variable_pattern(text).map(|()| text.to_owned()))
}

fn read_moved(at: Cursor<'_, '_>) -> Result<String, Located> {
    at.parsed(|text| check_moved(text).map(|()| text.to_owned()))
}

fn read_confine(at: Cursor<'_, '_>, settings: &mut Settings) -> Result<(), Located> {
    let confine = &mut settings.confine;
    each_key(at.table()?, "in `[confine]`", CONFINE, |at| {
        match at.key() {
            "capabilities" => confine.capabilities = read_list(at, read_capability)?,
            "landlock" => {
                let needs = [Need::Required, Need::IfAvailable, Need::Off];
                confine.landlock = Some(at.choice(NEEDS, &needs)?);
            }
            "seccomp" => {
                confine.seccomp = Some(at.choice(&FOR_PAYLOADS, &FOR_PAYLOADS)?.to_owned());
            }
            "notify" => confine.notify = Some(at.boolean()?),
            _ => confine.nesting = Some(at.boolean()?),
        }
        Ok(())
    })
}

fn read_capability(at: Cursor<'_, '_>) -> Result<Capability, Located> {
    at.parsed(|text| Ok(Capability::from_name(text)?))
}

fn read_limits(at: Cursor<'_, '_>, settings: &mut Settings) -> Result<(), Located> {
    let limits = &mut settings.limits;
    each_key(at.table()?, "in `[limits]`", LIMITS, |at| {
        match at.key() {
            "processes" => {
                limits.processes = Some(at.number_or_text(|text| match text {
                    "unlimited" => Ok(Ceiling::Unlimited),
                    count => parse_count(count).map(Ceiling::At),
                })?);
            }
            "processes-need" => {
                // Without any ceiling is `processes = "unlimited"`.
                let needs = [Need::Required, Need::IfAvailable];
                limits.processes_need = Some(at.choice(&NEEDS[..2], &needs)?);
            }
            "disk" => limits.disk = Some(at.number_or_text(|t| parse_ceiling(t, parse_size))?),
            "disk-need" => {
                let needs = [Need::Required, Need::IfAvailable];
                limits.disk_need = Some(at.choice(&NEEDS[..2], &needs)?);
            }
            "timeout" => limits.timeout = Some(at.number_or_text(parse_duration)?),
            "ulimits" => {
                for (name, value) in at.table()? {
                    let value = Cursor::new(name.get_ref(), value);
                    let resource = parse_resource(name.get_ref())
                        .map_err(|source| value.bad(name.get_ref(), source))?;
                    let limit = value.number_or_text(|text| parse_limit(resource, text))?;
                    limits.ulimits.entries.push(limit);
                }
            }
            _ => limits.group.read(at)?,
        }
        Ok(())
    })
}

fn read_remove(at: Cursor<'_, '_>, settings: &mut Settings) -> Result<(), Located> {
    fn keys<'t, 'i, K: Ord + Clone>(
        at: Cursor<'t, 'i>,
        mut read: impl FnMut(Cursor<'t, 'i>) -> Result<K, Located>,
    ) -> Result<Vec<K>, Located> {
        read_unique(at, &mut read, Clone::clone)
    }
    let pattern = |at: Cursor<'_, '_>| at.parsed(|text| Ok(Pattern::new(text)?));
    let Settings { paths, environment, network, confine, limits, .. } = settings;
    each_key(at.table()?, "in `[remove]`", REMOVE, |at| {
        match at.key() {
            "paths" => paths.requests.removed = keys(at, pattern)?,
            "secrets" => paths.secrets.removed = keys(at, pattern)?,
            "hidden" => paths.hidden.removed = keys(at, pattern)?,
            "warned" => paths.warned.removed = keys(at, pattern)?,
            "moved" => paths.moved.removed = keys(at, read_moved)?,
            "pass" => environment.pass.removed = keys(at, read_variable_pattern)?,
            "set" => environment.set.removed = keys(at, |at| at.text().map(Text::from))?,
            "refuse" => network.refuse.removed = keys(at, read_network_name)?,
            "allow" => network.allow.removed = keys(at, read_rule)?,
            "deny" => network.deny.removed = keys(at, read_rule)?,
            "dns" => network.dns.removed = keys(at, read_server)?,
            "dns-search" => network.dns_search.removed = keys(at, read_search)?,
            "dns-option" => network.dns_options.removed = keys(at, read_option)?,
            "add-host" => network.hosts.removed = keys(at, read_host_entry)?,
            "publish" => network.publish.removed = keys(at, read_published)?,
            "capabilities" => confine.capabilities.removed = keys(at, read_capability)?,
            _ => limits.ulimits.removed = keys(at, |at| at.parsed(parse_resource))?,
        }
        Ok(())
    })
}
