use serde_json::{Value, json};

use super::common::Exchange;
use super::error::Failure;
use super::out;
use crate::ops::branch::{Followed, Left};
use crate::ops::fetch::{Fate, Fetch, Report, fetch};
use crate::ops::mode::Mode;
use crate::render::escape;

/// Fetch sessions from a remote
///
/// Logs that went on there are followed here. One that is not legal or was rewound is named and left alone, one that
/// is gone there stays here, and what is no session is counted. Nothing that is fetched runs by itself. The remote's
/// notes that say which session made a commit are added to those here (refs/notes/sessions), except for lines that are
/// no such note. Work comes when it is needed, or with --work: then the branch that is named after a session of another
/// clone is made here, or follows where it is only behind and nowhere checked out. A session of this clone that was taken over by another
/// one is stopped, its work saved.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session fetch
  git session fetch --work origin fix-login-3f7q2a")]
pub struct Args {
    #[command(flatten)]
    exchange: Exchange,
    /// Bring the work of all clones too, and the sessions' branches
    #[arg(long)]
    work: bool,
    /// Only show what would come
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = self.exchange.open("fetch")?;
        let ids = self.exchange.ids_anywhere(&ws)?;
        let report = fetch(
            &mut ws,
            &Fetch {
                remote: self.exchange.remote(),
                ids: &ids,
                work: self.work,
                mode: Mode::of(self.dry_run),
            },
        )?;
        if self.exchange.json {
            let mut json = to_json(&report);
            json["schema"] = json!(1);
            out::json(&json);
        } else {
            tell(&report, self.exchange.quiet);
        }
        Ok(code(&report))
    }
}

/// Tells what came, a line a session; those that are the same are counted.
pub fn tell(report: &Report, quiet: bool) {
    for line in &report.lines {
        let says = match &line.fate {
            Fate::New => "new".to_owned(),
            Fate::Updated => "updated".to_owned(),
            Fate::Ahead => "not sent yet".to_owned(),
            Fate::Diverged => "went on here and there ('git session sync' merges them)".to_owned(),
            Fate::Merged => "merged".to_owned(),
            Fate::Fenced { host, work: None } => format!("taken over on '{host}': nothing of it runs here"),
            Fate::Fenced {
                host,
                work: Some(work),
            } => {
                format!(
                    "taken over on '{host}': nothing of it runs here, '{work}' keeps its work \
                     ('git session restore --work {work} {id}' puts it back)",
                    id = line.id
                )
            }
            Fate::Gone => "no longer there; it stays here".to_owned(),
            Fate::Pending => "would be fetched".to_owned(),
            refused @ (Fate::ChangedHere | Fate::Refused(_)) => {
                format!("set aside: {}", refused.refusal().unwrap_or_default())
            }
        };
        let matters = line.fate.refusal().is_some() || matches!(line.fate, Fate::Fenced { .. });
        if !quiet || matters {
            out::say(&format!("{}: {}", line.id, escape(&says)));
        }
    }
    for (name, why) in &report.works_set_aside {
        out::say(&escape(&format!("{name}: set aside: {why}")));
    }
    for (id, followed) in report.branches.iter().filter(|_| !quiet) {
        let branch = crate::store::names::branch(id);
        let says = match followed {
            Followed::Made => format!("branch '{branch}' is here now"),
            Followed::Moved => format!("branch '{branch}' follows"),
            Followed::Left(Left::CheckedOut(path)) => {
                format!(
                    "branch '{branch}' stays behind: it is checked out at '{}'",
                    path.display()
                )
            }
            Followed::Left(Left::Apart) => {
                format!("branch '{branch}' stays: it has commits here that the session lacks")
            }
        };
        out::say(&escape(&format!("{id}: {says}")));
    }
    if let Some(why) = &report.notes.set_aside {
        out::say(&escape(&format!("notes: set aside: {why}")));
    }
    if report.notes.left_out > 0 && !quiet {
        let count = report.notes.left_out;
        let what = if count == 1 { "line" } else { "lines" };
        out::say(&format!("notes: {count} {what} left out that name no session"));
    }
    if !quiet && (report.unchanged > 0 || report.lines.is_empty()) {
        let what = if report.unchanged == 1 {
            "session is"
        } else {
            "sessions are"
        };
        out::say(&format!(
            "{} {what} up to date with {}",
            report.unchanged,
            escape(&report.remote)
        ));
    }
    if !quiet && report.skipped > 0 {
        let what = if report.skipped == 1 {
            "ref there is no session"
        } else {
            "refs there are no sessions"
        };
        out::say(&format!("{} {what} of ours", report.skipped));
    }
}

/// Tells which sessions are new here or went on; the rest is told by who brings both sides together.
pub fn tell_news(report: &Report) {
    for line in &report.lines {
        match line.fate {
            Fate::New => out::say(&format!("{}: new", line.id)),
            Fate::Updated => out::say(&format!("{}: updated", line.id)),
            _ => {}
        }
    }
}

/// The same as JSON.
pub fn to_json(report: &Report) -> Value {
    let lines = report.lines.iter().map(|line| {
        let mut value = json!({ "id": line.id.as_str() });
        value["result"] = json!(match &line.fate {
            Fate::New => "new",
            Fate::Updated => "updated",
            Fate::Ahead => "ahead",
            Fate::Diverged => "diverged",
            Fate::Merged => "merged",
            Fate::Fenced { .. } => "fenced",
            Fate::Gone => "gone",
            Fate::Pending => "pending",
            Fate::ChangedHere | Fate::Refused(_) => "set-aside",
        });
        if let Fate::Fenced { host, work } = &line.fate {
            value["host"] = json!(host);
            if let Some(work) = work {
                value["work"] = json!(work);
            }
        }
        if let Some(why) = line.fate.refusal() {
            value["reason"] = json!(why);
        }
        value
    });
    let mut json = json!({
        "remote": report.remote,
        "sessions": lines.collect::<Vec<_>>(),
        "unchanged": report.unchanged,
        "skipped": report.skipped,
    });
    if !report.branches.is_empty() {
        let branches = report.branches.iter().map(|(id, followed)| {
            let result = match followed {
                Followed::Made => "made",
                Followed::Moved => "moved",
                Followed::Left(Left::CheckedOut(_)) => "checked-out",
                Followed::Left(Left::Apart) => "apart",
            };
            json!({ "id": id.as_str(), "result": result })
        });
        json["branches"] = json!(branches.collect::<Vec<_>>());
    }
    if !report.works_set_aside.is_empty() {
        let works = report.works_set_aside.iter();
        let works = works.map(|(name, why)| json!({ "ref": name, "result": "set-aside", "reason": why }));
        json["work"] = json!(works.collect::<Vec<_>>());
    }
    if report.notes.left_out > 0 {
        json["notesLeftOut"] = json!(report.notes.left_out);
    }
    if let Some(why) = &report.notes.set_aside {
        json["notes"] = json!("set-aside");
        json["notesReason"] = json!(why);
    }
    json
}

/// 1 where a log could not be followed, or work could not be had.
pub fn code(report: &Report) -> i32 {
    let refused = |line: &crate::ops::fetch::Line| line.fate.refusal().is_some();
    i32::from(report.lines.iter().any(refused) || !report.works_set_aside.is_empty())
}
