//! The command line as people type it, each with a real run.

mod every;
mod foresee;
mod newcomer;
mod output;
mod review;
mod words;
