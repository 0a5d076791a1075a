//! One file per thing a user can ask for; shared by all front ends.

pub mod doctor;
pub mod profile;
