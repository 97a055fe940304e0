use serde_json::json;

use super::common::{number, one, open};
use super::error::Failure;
use super::out;
use crate::ops::Workspace;
use crate::ops::follow::{copy, follow, recorded, tail, tail_start};
use crate::ops::work::is_here;
use crate::store::Session;

/// Show what a session's worker wrote
///
/// It is kept in this clone and is no part of git, unless the session was made with --record-output: then what was kept
/// with its work is shown where the session ran elsewhere.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session output -f fix-login
  git session output --tail 20 fix-login")]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
    /// Go on as it grows, until the session runs no more
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<usize>)]
    tail: Option<usize>,
    /// Print it as JSON: text, and whether it was valid UTF-8
    #[arg(long, conflicts_with = "follow")]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let ws = open()?;
        let session = one(&ws, &self.session)?;
        let run_dir = ws.run_dir(session.id());
        let path = run_dir.output();
        let comes = self.follow && run_dir.is_supervised()?;
        if !comes && !path.exists() {
            return self.recorded(&ws, &session);
        }
        let start = match self.tail {
            Some(lines) => tail_start(&path, lines)?,
            None => 0,
        };
        if self.json {
            let mut bytes = Vec::new();
            copy(&path, start, &mut |piece: &[u8]| bytes.extend_from_slice(piece))?;
            print_json(&session, &bytes);
        } else if self.follow {
            follow(&run_dir, start, out::stream, out::is_closed)?;
        } else {
            copy(&path, start, &mut out::stream)?;
        }
        out::streamed().map(|()| 0)
    }

    /// Shows what came with the work.
    fn recorded(&self, ws: &Workspace, session: &Session) -> Result<i32, Failure> {
        let Some(all) = recorded(ws, session)? else {
            let message = format!("session '{}' has no output here", session.id());
            let failure = Failure::refused("no-output", message);
            return Err(match is_here(ws, &session.event.summary) {
                true => failure,
                false => failure.hint("'git session fetch --work' brings what was recorded with its work"),
            });
        };
        let shown = self.tail.map_or(all.as_slice(), |lines| tail(&all, lines));
        match self.json {
            true => print_json(session, shown),
            false => out::data(shown),
        }
        Ok(0)
    }
}

fn print_json(session: &Session, bytes: &[u8]) {
    let utf8 = std::str::from_utf8(bytes).is_ok();
    let output = String::from_utf8_lossy(bytes);
    out::json(&json!({ "schema": 1, "id": session.id().as_str(), "output": output, "utf8": utf8 }));
}
