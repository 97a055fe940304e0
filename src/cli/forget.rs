use std::io::{self, IsTerminal};

use serde_json::{Value, json};

use super::common::{one, open_remotely};
use super::error::Failure;
use super::out;
use crate::ops::Error;
use crate::ops::forget::{Files, Holder, Report, Whose, check, forget};
use crate::ops::view::{Depth, view};
use crate::render::escape;
use crate::render::fields::{self, path_value};

/// Drop an ended session's work, here and on its remotes, for leaked secrets
///
/// The log stays, and says that the work was forgotten: no clone sends it again. The references that keep it are removed
/// at the session's home, at other remotes that have it, and here; git lets go of what no reference keeps when it
/// collects garbage ('git gc --prune=now' here; a host does so when it likes, so a secret that was out is to be
/// changed all the same). What still holds some of it is named: branches, the parked worktree, the output. Clones that
/// have fetched the work keep it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
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
        let session = one(&ws, &self.session)?;
        let whose = match self.force {
            true => Whose::Anybodys,
            false => Whose::Ours,
        };
        check(&ws, &session, whose).map_err(|error| match error {
            Error::OwnedElsewhere { .. } => Failure::of(&error)
                .hint("where its owner is gone or can't do it, '--force' does; the log says so"),
            _ => error.into(),
        })?;
        let id = session.id().clone();
        if !self.yes && !self.confirm(id.as_str())? {
            return Err(Failure::refused("unconfirmed", "nothing was forgotten"));
        }
        let files = match self.local {
            true => Files::Remove,
            false => Files::Keep,
        };
        let report = forget(&mut ws, &id, files, whose)?;
        let left = report.remotes.iter().any(|remote| remote.left.is_some());
        if self.json {
            let view = view(&ws, report.session.clone(), Depth::Full)?;
            let mut json = to_json(&report);
            json["schema"] = json!(1);
            json["session"] = Value::Object(fields::session(&view));
            out::json(&json);
        } else {
            tell(&report, self.quiet);
        }
        Ok(i32::from(left))
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

fn to_json(report: &Report) -> Value {
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
    json!({
        "forgotten": oids,
        "removed": report.here,
        "files": report.files,
        "remotes": remotes.collect::<Vec<_>>(),
        "held": held.collect::<Vec<_>>(),
    })
}
