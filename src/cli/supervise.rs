use std::path::PathBuf;

use super::error::Failure;
use crate::ops::Error;
use crate::ops::supervise::{Supervise, supervise};
use crate::session::SessionId;
use crate::worker::inherited;

/// Runs a session's worker; called by start and resume
#[derive(Debug, clap::Args)]
pub struct Args {
    id: String,
    common_dir: PathBuf,
    lock: i32,
    guard: i32,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let id: SessionId = self.id.parse().map_err(Error::from)?;
        let fd = |number| inherited(number).map_err(Error::io(format!("descriptor {number}")));
        let (lock, guard) = (fd(self.lock)?, fd(self.guard)?);
        let complain = |error: &Error| {
            Failure::of(error).say();
        };
        supervise(Supervise {
            id,
            common_dir: self.common_dir,
            lock,
            complain,
            guard,
        })?;
        Ok(0)
    }
}
