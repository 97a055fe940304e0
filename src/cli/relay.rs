use std::path::PathBuf;

use super::error::Failure;
use crate::ops::relay::relay;
use crate::ops::{Error, Workspace};
use crate::session::SessionId;

/// Sends a session's steps to its remote; started after a step
#[derive(Debug, clap::Args)]
pub struct Args {
    id: String,
    common_dir: PathBuf,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let id: SessionId = self.id.parse().map_err(Error::from)?;
        let mut ws = Workspace::open(&self.common_dir)?;
        relay(&mut ws, &id, |error| {
            Failure::of(error).say();
        })?;
        Ok(0)
    }
}
