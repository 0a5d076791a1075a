//! One test for each bug that was fixed, named by what went wrong.
