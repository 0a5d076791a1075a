//! What changes on the host while the name server serves.

use std::net::SocketAddr;

use super::super::Families;
use super::{Cache, Resolver, SERVERS};

impl Resolver {
    /// The host asks other servers now.
    pub fn set_servers(&mut self, mut servers: Vec<SocketAddr>) {
        servers.truncate(SERVERS);
        if self.settings.servers != servers {
            self.settings.servers = servers;
            self.cache = Cache::default();
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
