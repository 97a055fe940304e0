use std::time::Duration;

use serde_json::json;

use super::common::{one, open};
use super::error::Failure;
use super::out;
use crate::ops::mode::Mode;
use crate::ops::prune::{Finding, Ignored, Kept, Prune, Pruned, What, prune};
use crate::render::escape;
use crate::render::fields::path_value;
use crate::session::{SessionId, duration};

/// Remove worktrees and merged branches of ended sessions
///
/// Only what is saved goes: a worktree that was changed since, that holds something no snapshot has, or that has
/// ignored files is kept, and named with the reason. The sessions' logs and work stay.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session prune -n
  git session prune --older-than 30d")]
pub struct Args {
    /// Only these sessions: id, unique prefix, branch, worktree path, @ or -
    #[arg(value_name = "SESSION")]
    sessions: Vec<String>,
    /// Only show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Only sessions that ended longer ago than this; their branches go too, where HEAD has all that is on them
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// Remove worktrees that have ignored files, with these
    #[arg(long)]
    discard_ignored: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open()?;
        let ids = self
            .sessions
            .iter()
            .map(|selector| Ok(one(&ws, selector)?.id().clone()));
        let asked = Prune {
            ids: ids.collect::<Result<_, Failure>>()?,
            older_than: self.older_than,
            mode: Mode::of(self.dry_run),
            ignored: if self.discard_ignored {
                Ignored::Discard
            } else {
                Ignored::Keep
            },
        };
        let Pruned { findings, failed } = prune(&mut ws, &asked)?;
        let failed = failed.into_iter().map(|(id, error)| (id, Failure::from(error)));
        let failed: Vec<(SessionId, Failure)> = failed.collect();
        if self.json {
            let findings: Vec<_> = findings.iter().map(to_json).collect();
            let mut value = json!({ "schema": 1, "dryRun": self.dry_run, "findings": findings });
            if !failed.is_empty() {
                let failed = failed.iter();
                value["failed"] = failed
                    .map(|(id, failure)| json!({ "id": id.as_str(), "error": failure.to_json() }))
                    .collect();
            }
            out::json(&value);
            return Ok(failed
                .iter()
                .map(|(_, failure)| failure.code())
                .max()
                .unwrap_or(0));
        }
        if !self.quiet {
            for finding in &findings {
                out::say(&line(finding, self.dry_run));
            }
            if findings.is_empty() && failed.is_empty() {
                out::say("nothing to prune");
            }
            if findings
                .iter()
                .any(|finding| finding.kept == Some(Kept::HasIgnored))
            {
                out::say("hint: '--discard-ignored' removes a worktree with its ignored files");
            }
            if findings
                .iter()
                .any(|finding| matches!(finding.kept, Some(Kept::Unsaved(_))))
            {
                out::say(
                    "hint: 'git switch -c BRANCH' there, and a commit, keep what is wanted, 'git push' in a submodule what that \
                     has; 'git worktree remove --force PATH' removes the rest",
                );
            }
        }
        Ok(failed.iter().map(|(_, failure)| failure.say()).max().unwrap_or(0))
    }
}

fn line(finding: &Finding, dry_run: bool) -> String {
    let what = match &finding.what {
        What::Worktree(path) => format!("worktree '{}'", escape(&path.to_string_lossy())),
        What::Branch(name) => format!("branch '{}'", escape(name)),
    };
    let ignored = finding
        .ignored
        .as_deref()
        .map_or_else(String::new, |what| match finding.kept {
            Some(Kept::HasIgnored) => format!(": {}", escape(what)),
            _ => format!(", ignored: {}", escape(what)),
        });
    match (&finding.kept, dry_run) {
        (Some(why), _) => format!(
            "{}: keeps {what}: {}{ignored}",
            finding.id,
            escape(&why.to_string())
        ),
        (None, true) => format!("{}: would remove {what}{ignored}", finding.id),
        (None, false) => format!("{}: removed {what}{ignored}", finding.id),
    }
}

fn to_json(finding: &Finding) -> serde_json::Value {
    let mut value = json!({ "id": finding.id.as_str() });
    let kept = finding.kept.as_ref().map(Kept::to_string);
    for (name, what) in [("kept", &kept), ("ignored", &finding.ignored)] {
        if let Some(what) = what {
            value[name] = json!(what);
        }
    }
    match &finding.what {
        What::Worktree(path) => value["worktree"] = path_value(path.as_os_str()),
        What::Branch(name) => value["branch"] = json!(name),
    }
    value
}
