//! What people and programs read: errors with their chain and hint, tables, sizes, quoting.
//!
//! # Theory of operation
//! Everything here makes text; `main` and the ops write it. Names chosen by a payload, a file or an
//! argument arrive as [`Text`](crate::spec::Text) or as paths and are shown escaped; [`Failure`] escapes
//! its whole text once more, since causes come from anywhere.

pub mod amount;
pub mod failure;
pub mod footer;
pub mod frame;
pub mod notice;
pub mod pager;
pub mod quote;
pub mod remedy;
pub mod table;
pub mod terminal;

pub use failure::{EXIT_FAILED, Explain, Failure};
pub use footer::{Detail, Kept, footer};
pub use pager::{Pager, Screen};
pub use quote::shell_quote;
pub use table::Table;
pub use terminal::{Colour, Look};
