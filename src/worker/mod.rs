//! Processes: started, watched, found again and stopped; nothing here has heard of git or of sessions.
//!
//! A caller [`detach()`]es a supervisor, which becomes a [`subreaper`], [`spawn()`]s one worker and waits in
//! [`watch`]. Who is alive is told by [`lease`]s (`flock`) and by [`identity`] (pid, start time, boot).
//! Everything that belongs to a job is found by [`scan()`], on top of the two forms of [`platform`], and is
//! ended by the ladder in [`stop()`] or held by [`freeze()`]. Signals go through `handle`, which proves a process
//! again right before each one. What runs between fork and exec is in `child`.

mod child;
pub mod detach;
pub mod foreground;
pub mod freeze;
mod handle;
pub mod identity;
pub mod lease;
pub mod platform;
pub mod rest;
pub mod scan;
pub mod signal;
pub mod spawn;
pub mod stop;
pub mod subreaper;
pub mod watch;

pub use detach::{Detach, DetachError, Ready, ReadyError, Reporter, detach, inherited};
pub use foreground::foreground;
pub use freeze::{Frozen, freeze, thaw};
pub use handle::signal_one;
pub use identity::{Liveness, ProcessId, Unsure};
pub use lease::{Lease, LeaseError, Probe, probe, wait_free};
pub use platform::{Platform, PlatformError};
pub use rest::give_back_code;
pub use scan::{Marker, Process, Target, scan};
pub use signal::{Signal, SignalError, on_signal};
pub use spawn::{Job, SpawnError, Worker, find_program, spawn};
pub use stop::{Ladder, Stopped, stop, stop_hurried, wait_gone};
pub use subreaper::become_subreaper;
pub use watch::{End, Wake, Watch};
