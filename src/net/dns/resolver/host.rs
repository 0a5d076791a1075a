//! What changes on the host while the name server serves.

use std::net::SocketAddr;

use std::time::Instant;

use super::super::{Action, Families, Over};
use super::{Cache, Lookup, Resolver, SERVERS};

impl Resolver {
    /// The host asks these servers now. Those that were asked and have not answered may be out of reach: others are
    /// asked at once.
    pub fn set_servers(&mut self, mut servers: Vec<SocketAddr>, now: Instant) {
        servers.truncate(SERVERS);
        if servers.is_empty() || self.settings.servers == servers {
            return;
        }
        self.settings.servers = servers;
        self.cache = Cache::default();
        for (number, lookup) in std::mem::take(&mut self.lookups) {
            self.actions.push_back(Action::Close(number));
            let fresh = Lookup { tries: 0, server: 0, over: Over::Datagram, ..lookup };
            self.send_lookup(fresh, now);
        }
    }

    /// The host can reach these families now.
    pub fn set_families(&mut self, families: Families) {
        if self.settings.families != families {
            self.settings.families = families;
            self.cache = Cache::default();
        }
    }
}
