//! The Dockerfile language, as `docker/dockerfile:1` documents it and BuildKit does it.
//!
//! [`parser`] makes statements of bytes, [`instructions`] makes stages of those, [`expand`] replaces variables, whose
//! values [`scope`] knows, and [`ignore`] says what of a context is left out. [`checks`] go through all of it.
//!
//! Everything here is a function of bytes and of values that are handed in: it must never know files, sockets, images
//! or how a step is executed.

pub mod checks;
pub mod expand;
pub mod from;
pub mod ignore;
pub mod instructions;
pub mod parser;
mod problem;
pub mod scope;
mod source;
mod suggest;
mod text;

pub use expand::{Env, Expansion, Lex};
pub use ignore::{Ignore, IgnoreError};
pub use instructions::{Action, Dockerfile, Instruction, Stage};
pub use problem::{LONGEST_LINE, LocatedProblem, Problem};
pub use source::{Lines, excerpt};
