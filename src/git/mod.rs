//! What git-session knows of git, and nothing of sessions.
//!
//! [`Repo`] is an opened repository: gix for everything it does well in process, and [`command`], the one door to
//! the git executable, for the rest. References go through [`refs::Refs`], one interface over both formats.

pub mod batch;
pub mod command;
mod config;
mod error;
mod given;
mod loose;
pub mod notes;
pub mod objects;
mod pack;
mod packs;
mod reflog;
pub mod refs;
pub mod remote;
pub mod repo;
pub mod signature;
pub mod snapshot;
mod terminal;
pub mod time;
pub mod unsynced;
mod watched;
pub mod whole;
pub mod worktree;

pub use error::{Error, Result, of_the_system};
pub use repo::{RefFormat, Repo};

/// Whether a write is pressed to disk before it is said to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    Durable,
    Relaxed,
}
