//! What is left when a process of a run is killed, at each step of the plan: nothing.
