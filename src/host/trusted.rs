//! What later runs of bryo trust where it lies in places that a run writes: the folders of its settings, and the links on
//! the way to them and to the stores; and what the caller trusts: bryo's own file, and the directories of `PATH`.
//!
//! # Theory of operation
//! A mask keeps a directory in its place, and the directories above it; nothing keeps a link, which stands in a
//! directory that is written beside. So every way is walked name by name, and each link on it is listed.
//!
//! # Not here
//! What is done about it: `plan` refuses to have one written.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::plan::facts::{Match, Way};
use crate::spec::HostPath;
use crate::spec::link::names;

use super::resolve::{Last, MOST_LINKS};
use super::store::{self, Variables};
use super::{HostError, Probe, twins};

/// Most profiles that are looked at for being links.
const MOST_PROFILES: usize = 4096;

impl Probe {
    /// The folders of bryo's own settings.
    pub fn settings(&mut self) -> Result<(), HostError> {
        for path in self.settings_folders()? {
            let found = self.resolver.resolve(&path, Last::Follow);
            let settings = &mut self.facts.settings;
            if !settings.iter().any(|known| known.path == found.real) {
                settings.push(Match { path: found.real, kind: found.kind });
            }
        }
        Ok(())
    }

    /// The links on the ways to the settings, to the profiles in them, and to the stores. After [`Probe::mounts`], whose
    /// twins links have.
    pub fn ways(&mut self) -> Result<(), HostError> {
        let settings = self.settings_folders()?;
        let homes = self.own_homes()?;
        let caller = &self.facts.caller;
        let stores = store::candidates(&Variables::from_environment(), caller, &homes)?;
        let stores = stores.iter().map(|(_, path)| path);
        // What a later run makes of `$HOME` begins there.
        let kept = settings.iter().chain(stores).chain(&caller.home_spelt);
        let mut ways: Vec<Way> = kept.map(|name| Way { end: None, ..way(name) }).collect();
        let profiles = settings.iter().filter_map(|folder| folder.join("profiles").ok());
        for folder in profiles {
            ways.extend(profile_links(&folder).iter().map(way));
            ways.push(way(&folder));
        }
        ways.retain(|way| !way.links.is_empty());
        for way in &mut ways {
            let twins = &self.facts.twins;
            let more: Vec<HostPath> =
                way.links.iter().flat_map(|link| twins::names_of(link, twins)).collect();
            way.links.extend(more);
        }
        self.facts.ways = ways;
        Ok(())
    }

    /// Where programs come from that the caller starts by name, and this one.
    pub fn commands(&mut self) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let here = self.facts.caller.workdir.path().map(|here| here.as_path().to_owned());
        let mut found: Vec<HostPath> = Vec::new();
        for directory in std::env::split_paths(&path) {
            // An empty one, and a relative one, is looked up from the current directory.
            let whole =
                here.as_ref().map_or_else(|| directory.clone(), |here| here.join(&directory));
            found.extend(HostPath::new(whole).ok().filter(|whole| !found.contains(whole)));
        }
        self.facts.commands = found.iter().map(way).collect();
        let own = std::env::current_exe().ok().filter(|own| own.is_file());
        self.facts.own_file = own.and_then(|own| HostPath::new(own).ok());
    }

    /// Where runs look for settings: this one, and others of the caller with other variables.
    fn settings_folders(&mut self) -> Result<Vec<HostPath>, HostError> {
        let homes = self.own_homes()?;
        let variable = std::env::var_os("XDG_CONFIG_HOME").and_then(|dir| HostPath::new(dir).ok());
        let own = self.facts.caller.home.iter().chain(homes.iter());
        let below = own.filter_map(|home| home.join(".config").ok());
        let folders = variable.into_iter().chain(below);
        Ok(folders.filter_map(|folder| folder.join("bryo").ok()).collect())
    }
}

/// The profiles of a folder that are links.
fn profile_links(folder: &HostPath) -> Vec<HostPath> {
    let entries = std::fs::read_dir(folder.as_path()).into_iter().flatten().take(MOST_PROFILES);
    let links = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let is_link = entry.file_type().ok()?.is_symlink();
        folder.join(entry.file_name()).ok().filter(|_| is_link)
    });
    links.collect()
}

/// The links that are followed from the root to a path, its last name's too, each below a parent without links.
fn way(name: &HostPath) -> Way {
    way_by(name, |path| std::fs::read_link(path.as_path()).ok().map(OsString::from))
}

/// The same by what is known of links.
pub(super) fn way_by(name: &HostPath, target_of: impl Fn(&HostPath) -> Option<OsString>) -> Way {
    let mut links = Vec::new();
    let mut here = HostPath::root();
    let mut rest: VecDeque<OsString> = name.names().map(OsStr::to_owned).collect();
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            here = here.parent().unwrap_or(here);
            continue;
        }
        // Longer than the kernel takes: nothing is there.
        let Ok(next) = here.join(&name) else { break };
        let Some(target) = target_of(&next) else {
            here = next;
            continue;
        };
        let target = Path::new(&target);
        links.push(next);
        if links.len() > MOST_LINKS {
            break;
        }
        if target.is_absolute() {
            here = HostPath::root();
        }
        for name in names(target).into_iter().rev() {
            rest.push_front(name);
        }
    }
    Way { name: name.clone(), links, end: Some(here) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_of_a_way_is_listed_where_it_stands_and_the_end_without_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = HostPath::new(std::fs::canonicalize(dir.path()).unwrap()).unwrap();
        let at = |path: &str| root.join(path).unwrap();
        std::fs::create_dir_all(at("far/config").as_path()).unwrap();
        std::fs::create_dir(at("dot").as_path()).unwrap();
        symlink("../far/config", at("dot/config").as_path()).unwrap();
        symlink("dot/../dot/config", at("c").as_path()).unwrap();
        let found = way(&at("c/bryo/profiles"));
        assert_eq!(found.links, [at("c"), at("dot/config")]);
        assert_eq!(found.end, Some(at("far/config/bryo/profiles")));
        assert_eq!(way(&at("far/config")).links, []);
        symlink("loop", at("loop").as_path()).unwrap();
        assert_eq!(way(&at("loop/x")).links[0], at("loop"));
        // One that leads nowhere yet is one all the same.
        symlink("/nowhere", at("dangling").as_path()).unwrap();
        assert_eq!(way(&at("dangling/x")).links, [at("dangling")]);
    }
}
