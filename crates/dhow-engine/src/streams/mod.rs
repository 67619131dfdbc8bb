//! What a container says, and what is said to it: attaching, detaching, logs.

pub mod attach;
pub mod detach;
pub mod logs;
