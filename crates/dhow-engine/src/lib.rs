//! Containers, execs, events: the state machine.
