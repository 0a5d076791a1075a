//! The supervisor with a stand-in for init, and a terminal that the test plays.
