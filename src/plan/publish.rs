//! Plans which ports of the host are opened for the sandbox, and says how one that is open is told.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::error::PlanError;
use super::step::{Action, Stage};
use crate::spec::Spec;
use crate::spec::net::{Publish, Transport};

/// Each is a descriptor or two of launcher and netstack, of which 1,024 are usual.
const MOST: usize = 256;

/// A port of the host that is open for a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedPort {
    /// The sandbox's port.
    pub port: u16,
    /// Of which protocol.
    pub transport: Transport,
    /// Where the host listens.
    pub at: SocketAddr,
}

/// Appends a step for each port.
pub(super) fn plan_published(spec: &Spec, draft: &mut Draft) -> Result<(), PlanError> {
    let all: Vec<Publish> = spec.publish.iter().flat_map(|publish| publish.each()).collect();
    if all.len() > MOST {
        return Err(PlanError::TooManyPublished { wanted: all.len(), most: MOST });
    }
    for publish in all {
        draft.push(Stage::Prepare, Action::Publish(publish));
    }
    Ok(())
}
