//! Sessions as pure data and rules: no clock, path, process or repository is known here.
//!
//! An [`Event`] is one step in a session's life, a [`State`] is where it stands, and [`state::next`] is the one
//! table of legal steps. [`Spec`] says what is to be run. [`text`] and [`duration`] are the forms that values
//! have in trailers and options.

pub mod duration;
pub mod event;
pub mod id;
pub mod log;
pub mod merge;
pub mod outcome;
pub mod request;
pub mod spec;
pub mod state;
pub mod text;

pub use event::{Event, Summary};
pub use id::{IdError, SessionId};
pub use merge::Relation;
pub use outcome::Outcome;
pub use request::{Ask, Request};
pub use spec::{Arg, Limits, RecordOutput, Spec};
pub use state::{Claim, Kind, Refused, State};
