use std::io::{self, IsTerminal};

use serde_json::{Value, json};

use super::common::{ids, open_remotely};
use super::error::Failure;
use super::out;
use crate::ops::forget::{Files, Holder, Report, Whose, check, forget};
use crate::ops::record::load;
use crate::ops::view::{Depth, view};
use crate::ops::{Error, Workspace};
use crate::render::escape;
use crate::render::fields::{self, path_value};
use crate::session::SessionId;

/// Drop the work of ended sessions, here and on their remotes, for leaked secrets
///
/// A session's log stays, and says that the work was forgotten: no clone sends it again. The references that keep it are removed
/// at the session's home, at other remotes that have it, and here; git lets go of what no reference keeps when it
/// collects garbage ('git gc --prune=now' here; a host does so when it likes, so a secret that was out is to be
/// changed all the same). What still holds some of it is named: branches, the parked worktree, the output. Clones that
/// have fetched the work keep it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes:
  0         forgotten here and at every remote, or nothing to forget
  1         refused, or something of it is left at a remote
  128, 129  broken, as without a repository; a usage error

Examples:
  git session forget fix-login
  git session forget --yes --local fix-login run-the-tests")]
pub struct Args {
    /// Sessions: id, unique prefix, branch, worktree path, @ (this worktree's) or - (the last one)
    #[arg(value_name = "SESSION", required = true)]
    sessions: Vec<String>,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Also a session of another clone, as of a CI job whose machine is gone; the log says so
    #[arg(long)]
    force: bool,
    /// Remove the parked worktree, the output and the worker's state too
    #[arg(long)]
    local: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open_remotely(true)?;
        let ids = ids(&ws, &self.sessions)?;
        if let [id] = ids.as_slice() {
            let report = self.forget(&mut ws, id)?;
            if self.json {
                let mut json = to_json(&ws, &report)?;
                json["schema"] = json!(1);
                out::json(&json);
            }
            return Ok(report.exit_code());
        }
        let mut worst = 0;
        let mut results = Vec::new();
        for id in &ids {
            match self.forget(&mut ws, id) {
                Ok(report) => {
                    worst = worst.max(report.exit_code());
                    if self.json {
                        results.push(to_json(&ws, &report)?);
                    }
                }
                Err(failure) if self.json => {
                    worst = worst.max(failure.code());
                    results.push(json!({ "id": id.as_str(), "error": failure.to_json() }));
                }
                Err(failure) => worst = worst.max(failure.say()),
            }
        }
        if self.json {
            out::json(&json!({ "schema": 1, "sessions": results }));
        }
        Ok(worst)
    }

    fn forget(&self, ws: &mut Workspace, id: &SessionId) -> Result<Report, Failure> {
        let whose = match self.force {
            true => Whose::Anybodys,
            false => Whose::Ours,
        };
        check(ws, &load(ws, id)?, whose).map_err(|error| match error {
            Error::OwnedElsewhere { .. } => Failure::of(&error)
                .hint("where its owner is gone or can't do it, '--force' does; the log says so"),
            _ => error.into(),
        })?;
        if !self.yes && !self.confirm(id.as_str())? {
            let message = format!("session '{id}': nothing was forgotten");
            return Err(Failure::refused("unconfirmed", message));
        }
        let files = match self.local {
            true => Files::Remove,
            false => Files::Keep,
        };
        let report = forget(ws, id, files, whose)?;
        if !self.json {
            tell(&report, self.quiet);
        }
        Ok(report)
    }

    /// Asks on a terminal; nowhere else is there anybody to ask.
    fn confirm(&self, id: &str) -> Result<bool, Failure> {
        if !io::stdin().is_terminal() || !out::is_terminal() {
            let message = format!("session '{id}': its work goes for good, which has to be confirmed");
            return Err(Failure::refused("unconfirmed", message).hint("'--yes' confirms it"));
        }
        let files = match self.local {
            true => ", its worktree, its output and its worker's state",
            false => "",
        };
        out::ask(&format!(
            "Forget the work of session {id}{files}, here and on its remotes, for good? [y/N] "
        ));
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .map_err(crate::ops::Error::io("cannot read the answer"))?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}

fn tell(report: &Report, quiet: bool) {
    let id = report.session.id();
    for remote in &report.remotes {
        if let Some(why) = &remote.left {
            let name = escape(&remote.name);
            out::say(&format!(
                "error: {id}: not all is forgotten on '{name}': {}",
                escape(why)
            ));
        }
    }
    if quiet {
        return;
    }
    let removed = |place: &str, names: &[String]| {
        for name in names {
            out::say(&format!("{id}: removed {}{place}", escape(name)));
        }
    };
    for remote in &report.remotes {
        removed(&format!(" on '{}'", escape(&remote.name)), &remote.removed);
    }
    removed("", &report.here);
    removed("", &report.files);
    for holder in &report.held {
        let what = match holder {
            Holder::Reference(name) => format!("{} has commits of it", escape(name)),
            Holder::Worktree(path) => format!("its worktree '{}' is there", escape(&path.to_string_lossy())),
            Holder::File(path) => format!("'{}' may hold it", escape(&path.to_string_lossy())),
        };
        out::say(&format!("{id}: {what}"));
    }
    match report.forgotten.is_empty() {
        true => out::say(&format!("{id}: it has no work to forget")),
        false => {
            out::say(&format!("{id}: its work is forgotten"));
            out::say(
                "hint: 'git gc --prune=now' removes what nothing keeps any more; clones that fetched it still have it",
            );
        }
    }
}

fn to_json(ws: &Workspace, report: &Report) -> Result<Value, Failure> {
    let view = view(ws, report.session.clone(), Depth::Full)?;
    let oids: Vec<String> = report.forgotten.iter().map(ToString::to_string).collect();
    let remotes = report.remotes.iter().map(|remote| {
        let mut value = json!({ "remote": remote.name, "removed": remote.removed });
        if let Some(why) = &remote.left {
            value["left"] = json!(why);
        }
        value
    });
    let held = report.held.iter().map(|holder| match holder {
        Holder::Reference(name) => json!({ "ref": name }),
        Holder::Worktree(path) => json!({ "worktree": path_value(path.as_os_str()) }),
        Holder::File(path) => json!({ "file": path_value(path.as_os_str()) }),
    });
    Ok(json!({
        "session": fields::session(&view),
        "forgotten": oids,
        "removed": report.here,
        "files": report.files,
        "remotes": remotes.collect::<Vec<_>>(),
        "held": held.collect::<Vec<_>>(),
    }))
}
