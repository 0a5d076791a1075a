//! One test for each bug that was fixed.

mod apply;
mod files;
mod memory;
mod places;
mod store;
