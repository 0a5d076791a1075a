//! What is watched while the payload runs.

use std::fmt;

use crate::plan::step::WatchStep;

impl fmt::Display for WatchStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(after) => write!(f, "end the run after {} s", after.as_secs_f64()),
            Self::Denials => f.write_str("answer and count refused system calls"),
            Self::FreeSpace { floor } => write!(f, "end the run below {floor} % of free space"),
            Self::Network => f.write_str("end the run when its network does"),
        }
    }
}
