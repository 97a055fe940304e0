use std::collections::HashMap;
use std::mem::ManuallyDrop;

use jiff::Timestamp;
use serde_json::json;

use super::common::{one, open};
use super::error::Failure;
use super::out;
use crate::ops::view::{Depth, Filter, View, list, list_remote};
use crate::ops::{Error, Workspace};
use crate::render::format::Format;
use crate::render::porcelain::{Ending, record};
use crate::render::{escape, fields, table};
use crate::session::State;

/// List sessions
///
/// Shows those that have not ended, with their state, how long ago their newest event was, worker, title, branch and
/// what their saved work changes, the oldest session first. On a terminal columns are cut, or left out, where they don't
/// fit. Since when a session is in its state is shown by 'git session show'.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session list --all
  git session list --state running --state suspended
  git session list --format '%(id) %(state) %(title)'")]
pub struct Args {
    /// Only these sessions: id, unique prefix, branch, worktree path, @ or -
    #[arg(value_name = "SESSION")]
    sessions: Vec<String>,
    /// Show ended sessions too
    #[arg(short, long)]
    all: bool,
    /// Show what was last seen on a remote, or on each, ended sessions too; the remote itself isn't asked
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, conflicts_with = "sessions")]
    remote: Option<Option<String>>,
    /// Only sessions in this state: pending, running, suspended or terminated; may be given several times
    #[arg(long, value_name = "STATE")]
    state: Vec<State>,
    /// Only sessions of this issue
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    issue: Option<String>,
    /// Only sessions of this named worker
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

/// The machine-readable forms; shared by `list` and `log`.
#[derive(Debug, clap::Args)]
pub struct Shape {
    /// Print JSON
    #[arg(long, conflicts_with_all = ["format", "porcelain"])]
    pub json: bool,
    /// Print a line each: %(FIELD) is a field of the JSON, %% a percent sign, %09 the byte 09, a tab
    #[arg(long, value_name = "FORMAT", conflicts_with = "porcelain")]
    pub format: Option<String>,
    /// Print each field on a line of its own, in a form that stays the same
    #[arg(long)]
    pub porcelain: bool,
    /// With --porcelain, end lines with NUL and escape nothing
    #[arg(short = 'z', requires = "porcelain")]
    pub nul: bool,
}

impl Shape {
    /// Reads the format, where there is one.
    pub fn format(&self, known: &[&str]) -> Result<Option<Format>, Failure> {
        let bad = |error: crate::render::format::FormatError| {
            Failure::bad_usage(format!("option --format: {error}"))
        };
        self.format
            .as_deref()
            .map(|format| Format::parse(format, known).map_err(bad))
            .transpose()
    }

    /// How lines of `--porcelain` end.
    pub fn ending(&self) -> Ending {
        if self.nul { Ending::Nul } else { Ending::Newline }
    }
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let ws = open()?;
        let format = self.shape.format(&fields::SESSION)?;
        let ids = self
            .sessions
            .iter()
            .map(|selector| Ok(one(&ws, selector)?.id().clone()));
        let filter = Filter {
            all: self.all,
            states: self.state.clone(),
            issue: self.issue.clone(),
            worker: self.worker.clone(),
            ids: ids.collect::<Result<_, Failure>>()?,
        };
        if let Some(remote) = &self.remote {
            let filter = Filter { all: true, ..filter };
            return self.remote(&ws, remote.as_deref(), &filter, format.as_ref());
        }
        let machine = self.shape.json || self.shape.porcelain || format.is_some();
        // The process ends with it, and takes its time to free many.
        let overview = ManuallyDrop::new(list(
            &ws,
            &filter,
            if machine { Depth::Full } else { Depth::Row },
        )?);
        for (id, why) in &overview.unread {
            out::say(&format!("warning: {id}: {}", escape(why)));
        }
        if self.shape.json {
            let sessions: Vec<_> = overview.views.iter().map(fields::session).collect();
            let skipped = overview.skipped.len();
            out::json(&json!({ "schema": 1, "sessions": sessions, "skipped": skipped }));
            return Ok(0);
        }
        if machine {
            self.lines(&overview.views, format.as_ref());
            return Ok(0);
        }
        if overview.views.is_empty() {
            let rest = if ws.store().list().map_err(Error::from)?.sessions.is_empty() {
                " yet; 'git session run -- COMMAND' makes one and runs the command in it"
            } else if self.all || !filter.states.is_empty() {
                ""
            } else {
                "; --all shows those that have ended"
            };
            out::say(&format!("no sessions{rest}"));
        } else {
            out::data(
                table::sessions(
                    &overview.views,
                    Timestamp::now(),
                    out::width(),
                    out::paint(&ws.repo),
                )
                .as_bytes(),
            );
        }
        say_skipped(&overview.skipped);
        Ok(0)
    }

    /// Writes a line, or a record, a session.
    fn lines(&self, views: &[View], format: Option<&Format>) {
        let mut bytes = Vec::new();
        for view in views {
            let fields = fields::session(view);
            bytes.extend(match format {
                Some(format) => format.line(&fields),
                None => record(&fields, self.shape.ending()),
            });
        }
        out::data(&bytes);
    }

    /// Shows what was seen on remotes, and how old that news is.
    fn remote(
        &self,
        ws: &Workspace,
        remote: Option<&str>,
        filter: &Filter,
        format: Option<&Format>,
    ) -> Result<i32, Failure> {
        let seen = list_remote(ws, remote, filter)?;
        if self.shape.json {
            let remotes = seen.iter().map(|seen| {
                let sessions: Vec<_> = seen.overview.views.iter().map(fields::session).collect();
                let at = seen.at.map(fields::at);
                json!({
                    "remote": seen.remote,
                    "asked": at,
                    "sessions": sessions,
                    "skipped": seen.overview.skipped.len(),
                })
            });
            out::json(&json!({ "schema": 1, "remotes": remotes.collect::<Vec<_>>() }));
            return Ok(0);
        }
        if self.shape.porcelain || format.is_some() {
            seen.iter()
                .for_each(|seen| self.lines(&seen.overview.views, format));
            return Ok(0);
        }
        if seen.is_empty() {
            out::say("no remote was ever asked; 'git session fetch' does it");
        }
        let now = Timestamp::now();
        for seen in &seen {
            let age = seen
                .at
                .map_or("some time".to_owned(), |at| crate::render::time::age(at, now));
            let name = escape(&seen.remote);
            if seen.overview.views.is_empty() {
                out::say(&format!("no sessions on {name}, {age} ago"));
                continue;
            }
            out::say(&format!("on {name}, {age} ago:"));
            out::data(
                table::sessions(&seen.overview.views, now, out::width(), out::paint(&ws.repo)).as_bytes(),
            );
            say_skipped(&seen.overview.skipped);
        }
        Ok(0)
    }
}

/// Refs that are none of ours are counted, by the reason.
fn say_skipped(skipped: &[(gix::bstr::BString, String)]) {
    let mut reasons: HashMap<String, (usize, &(gix::bstr::BString, String))> = HashMap::new();
    for one @ (name, why) in skipped {
        // A reason has the ref's name in it, or the end of that, which is another one each time.
        let name = name.to_string();
        let ends = name.match_indices('/').map(|(at, _)| &name[at + 1..]);
        let reason = [&*name]
            .into_iter()
            .chain(ends)
            .fold(why.clone(), |why, end| why.replace(&format!("'{end}'"), "it"));
        reasons.entry(reason).or_insert((0, one)).0 += 1;
    }
    let mut lines: Vec<String> = reasons
        .into_iter()
        .map(|(reason, (count, (name, why)))| match count {
            1 => format!("skipped: {}", escape(why)),
            _ => format!(
                "skipped {count} refs like '{}': {}",
                escape(&name.to_string()),
                escape(&reason)
            ),
        })
        .collect();
    lines.sort();
    lines.iter().for_each(|line| out::say(line));
}
