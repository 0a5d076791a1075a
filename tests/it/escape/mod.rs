//! Attacks, one file for each class that broke a sandbox before. Every test has a control: the same
//! attack, succeeding where nothing stops it.
