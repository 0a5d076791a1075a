//! The numbers of an account of this machine, for whoever types its name.

pub use crate::host::account::{Numbers, numbers};
