use jiff::Timestamp;
use serde_json::json;

use super::common::{one, open};
use super::error::Failure;
use super::list::Shape;
use super::out;
use crate::ops::Error;
use crate::render::porcelain::record;
use crate::render::{fields, history};

/// Show a session's history: who did what, when and why
///
/// Each event is a commit. The last line says how long the session was in each state. What its worker wrote is shown
/// by 'git session output'.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session log fix-login
  git session log --format '%(at) %(event) %(by)' fix-login")]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
    #[command(flatten)]
    shape: Shape,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let ws = open()?;
        let format = self.shape.format(&fields::EVENT)?;
        let session = one(&ws, &self.session)?;
        let events = ws.store().history(&session).map_err(Error::from)?;
        let each = events.iter().map(|(commit, event)| fields::event(*commit, event));
        if self.shape.json {
            let events: Vec<_> = each.collect();
            out::json(&json!({ "schema": 1, "id": session.id().as_str(), "events": events }));
            return Ok(0);
        }
        let bytes: Vec<u8> = match &format {
            Some(format) => each.flat_map(|fields| format.line(&fields)).collect(),
            None if self.shape.porcelain => each
                .flat_map(|fields| record(&fields, self.shape.ending()))
                .collect(),
            None => history::story(&events, Timestamp::now(), out::paint(&ws.repo)).into_bytes(),
        };
        out::data(&bytes);
        Ok(0)
    }
}
