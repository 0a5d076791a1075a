//! One test for each bug that was fixed.

mod files;
mod memory;
mod places;
