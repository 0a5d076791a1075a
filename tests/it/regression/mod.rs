//! One test for each bug that was fixed.

mod apply;
mod files;
mod limits;
mod memory;
mod places;
mod start;
mod store;
