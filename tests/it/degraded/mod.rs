//! Hosts that lack something, made for real. The whole text on stderr is asserted.

mod doctor;
