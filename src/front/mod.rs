//! Front ends: what was typed, turned into a [`Spec`](crate::spec::Spec) or a question for `ops`.
//!
//! The only code that knows a flag's name.

pub mod cli;
