//! The merge rule of each field; the table is in the module's header.

use super::network::Networking;
use super::settings::{
    Bounds, Confinement, Identity, Keyed, List, Places, Settings, Variables, View,
};
use crate::spec::order;

impl Settings {
    /// What holds when `later` extends `self`.
    #[must_use]
    pub fn merge(self, later: Self) -> Self {
        Self {
            ids: self.ids.merge(&later.ids),
            root: self.root.merge(later.root),
            paths: self.paths.merge(later.paths),
            environment: self.environment.merge(later.environment),
            network: self.network.merge(later.network),
            confine: self.confine.merge(later.confine),
            limits: self.limits.merge(later.limits),
            health: self.health.merge(later.health),
            hostname: later.hostname.or(self.hostname),
            umask: later.umask.or(self.umask),
        }
    }
}

impl Settings {
    /// What `later` removes and `self` does not have: removing it means nothing, and is likely a slip.
    #[must_use]
    pub fn idle_removals(&self, later: &Self) -> Self {
        let mut idle = Self::default();
        idle.paths.requests.removed = self.paths.requests.idle(&later.paths.requests);
        idle.paths.secrets.removed = self.paths.secrets.idle(&later.paths.secrets);
        idle.paths.hidden.removed = self.paths.hidden.idle(&later.paths.hidden);
        idle.paths.warned.removed = self.paths.warned.idle(&later.paths.warned);
        idle.paths.moved.removed = self.paths.moved.idle(&later.paths.moved);
        idle.environment.pass.removed = self.environment.pass.idle(&later.environment.pass);
        idle.environment.set.removed = self.environment.set.idle(&later.environment.set);
        idle.network.refuse.removed = self.network.refuse.idle(&later.network.refuse);
        idle.network.allow.removed = self.network.allow.idle(&later.network.allow);
        idle.network.deny.removed = self.network.deny.idle(&later.network.deny);
        idle.network.dns.removed = self.network.dns.idle(&later.network.dns);
        idle.network.dns_search.removed = self.network.dns_search.idle(&later.network.dns_search);
        idle.network.dns_options.removed =
            self.network.dns_options.idle(&later.network.dns_options);
        idle.network.hosts.removed = self.network.hosts.idle(&later.network.hosts);
        idle.network.publish.removed = self.network.publish.idle(&later.network.publish);
        idle.confine.capabilities.removed =
            self.confine.capabilities.idle(&later.confine.capabilities);
        idle.limits.ulimits.removed = self.limits.ulimits.idle(&later.limits.ulimits);
        idle
    }
}

impl Identity {
    fn merge(&self, later: &Self) -> Self {
        Self { user: later.user.or(self.user), mode: later.mode.or(self.mode) }
    }
}

impl View {
    fn merge(self, later: Self) -> Self {
        Self {
            base: later.base.or(self.base),
            overlay: later.overlay.or(self.overlay),
            workdir: later.workdir.or(self.workdir),
            home: later.home.or(self.home),
            read_only: later.read_only.or(self.read_only),
            tmpfs_size: later.tmpfs_size.or(self.tmpfs_size),
            shm_size: later.shm_size.or(self.shm_size),
        }
    }
}

impl Places {
    fn merge(self, later: Self) -> Self {
        Self {
            requests: self.requests.merge(later.requests),
            secrets: self.secrets.merge(later.secrets),
            hidden: self.hidden.merge(later.hidden),
            warned: self.warned.merge(later.warned),
            moved: self.moved.merge(later.moved),
        }
    }
}

impl Variables {
    fn merge(self, later: Self) -> Self {
        Self { pass: self.pass.merge(later.pass), set: self.set.merge(later.set) }
    }
}

impl Networking {
    fn merge(self, later: Self) -> Self {
        Self {
            mode: later.mode.or(self.mode),
            refuse: self.refuse.merge(later.refuse),
            allow: self.allow.merge(later.allow),
            deny: self.deny.merge(later.deny),
            allow_all: later.allow_all.or(self.allow_all),
            allow_any_sni: later.allow_any_sni.or(self.allow_any_sni),
            dns: self.dns.merge(later.dns),
            dns_search: self.dns_search.merge(later.dns_search),
            dns_options: self.dns_options.merge(later.dns_options),
            hosts: self.hosts.merge(later.hosts),
            publish: self.publish.merge(later.publish),
            rate: later.rate.or(self.rate),
            on_loss: later.on_loss.or(self.on_loss),
        }
    }
}

impl Confinement {
    fn merge(self, later: Self) -> Self {
        Self {
            capabilities: self.capabilities.merge(later.capabilities),
            landlock: later.landlock.or(self.landlock),
            seccomp: later.seccomp.or(self.seccomp),
            notify: later.notify.or(self.notify),
            nesting: later.nesting.or(self.nesting),
        }
    }
}

impl Bounds {
    fn merge(self, later: Self) -> Self {
        Self {
            processes: later.processes.or(self.processes),
            processes_need: later.processes_need.or(self.processes_need),
            disk: later.disk.or(self.disk),
            disk_need: later.disk_need.or(self.disk_need),
            ulimits: self.ulimits.merge(later.ulimits),
            timeout: later.timeout.or(self.timeout),
            group: self.group.merge(later.group),
        }
    }
}

impl<T: Keyed> List<T> {
    fn idle(&self, later: &Self) -> Vec<T::Key> {
        let known = |key: &&T::Key| !self.entries.iter().any(|entry| entry.key() == *key);
        later.removed.iter().filter(known).cloned().collect()
    }

    /// Takes out what `later` removes or says itself, then adds what it says.
    ///
    /// Associative: what is taken out of the first of three lists is, either way, what one of the other
    /// two removes or says, and what is said keeps the place of its last mention.
    #[must_use]
    pub fn merge(mut self, later: Self) -> Self {
        let gone: Vec<&T::Key> =
            later.removed.iter().chain(later.entries.iter().map(Keyed::key)).collect();
        order::retain_unknown(&mut self.entries, &gone, Keyed::key);
        self.entries.extend(later.entries);
        let mut removed = later.removed;
        let known: Vec<&T::Key> = self.removed.iter().collect();
        order::retain_unknown(&mut removed, &known, |key| key);
        self.removed.extend(removed);
        self
    }
}
