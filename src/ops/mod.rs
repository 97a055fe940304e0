//! One use case a file: facts come in as arguments, what happened goes out as values, and nothing is printed.
//!
//! [`Workspace`] is where everything begins. [`local`] are the files that a session's processes leave here, and its
//! guard is what makes changes of one session follow each other. [`record`] appends events, [`settle`] ends a run
//! with the event that is true, and [`recover`] finds out what that is after a crash.

pub mod approvals;
pub mod aside;
pub mod autopsy;
pub mod branch;
pub mod changed;
pub mod checkout;
pub mod claim;
pub mod clone;
pub mod create;
pub mod diff;
pub mod doctor;
pub mod environment;
pub mod error;
pub mod exec;
pub mod fence;
pub mod fetch;
pub mod files;
pub mod follow;
pub mod forget;
pub mod frozen;
pub mod gone;
pub mod ignored;
pub mod inbox;
pub mod intent;
pub mod interrupt;
pub mod job;
pub mod launch;
pub mod local;
pub mod machine;
pub mod mode;
pub mod note;
pub mod own_name;
pub mod parcel;
pub mod placing;
pub mod provenance;
pub mod prune;
pub mod push;
pub mod record;
pub mod records;
pub mod recover;
pub mod rejoin;
pub mod relay;
pub mod remotes;
pub mod requests;
pub mod restore;
pub mod select;
pub mod settings;
pub mod settle;
pub mod setup;
pub mod size;
pub mod standing;
pub mod stop;
pub mod supervise;
pub mod sync;
pub mod tracking;
pub mod trust;
pub mod verify;
pub mod view;
pub mod wait;
pub mod work;
pub mod workers;
pub mod workspace;

pub use error::{Candidate, Doing, Error, Result};
pub use workspace::Workspace;
