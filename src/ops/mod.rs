//! What a user can ask for, one file each; shared by all front ends.
//!
//! An operation takes what was asked for, does it, and gives back what there is to show. Where that may
//! be long it is written to the caller's `Write`, piece by piece. Nothing here prints by itself, reads
//! the environment, or knows a flag's name.

pub mod account;
pub mod apply;
pub mod asked;
pub mod attach;
pub mod control;
pub mod cp;
pub mod detach;
pub mod diff;
pub mod discard;
pub mod doctor;
pub mod error;
pub mod events;
pub mod exec;
pub mod export;
pub mod filter;
mod foreign;
pub mod generate;
pub mod image;
pub mod inspect;
pub mod logs;
pub mod measure;
pub mod merge;
pub mod network;
pub mod pause;
pub mod port;
pub mod profile;
pub mod ps;
mod removal;
pub mod rename;
pub mod rm;
pub mod run;
pub mod start;
pub mod stats;
pub mod stop;
pub mod stores;
pub mod sweep;
pub mod system;
pub mod template;
pub mod top;

pub use error::OpsError;
