use serde_json::{Value, json};

use super::common::Exchange;
use super::error::Failure;
use super::out;
use crate::ops::mode::Mode;
use crate::ops::parcel::{Holds, Line, Sent};
use crate::ops::push::{Push, Report, push};
use crate::render::escape;

/// Send sessions to a remote
///
/// Without names all sessions that are here go, those that have ended too; the remote comes first, then the names.
/// Their logs go, and the work that these name: commits, uncommitted changes, untracked files and the worker's state
/// directory (session.pushUntracked and session.pushState keep work here that has the latter two). The notes that say
/// which session made a commit (refs/notes/sessions) go along, added to those that are there; a remote that doesn't
/// take them gets the sessions all the same. The first push makes the remote the session's home, where its ownership
/// is decided. Output stays here unless it was recorded.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session push
  git session push origin fix-login
  git session push -n")]
pub struct Args {
    #[command(flatten)]
    exchange: Exchange,
    /// Only show what would be sent, as far as that is known without fetching
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = self.exchange.open("push")?;
        let ids = self.exchange.ids(&ws)?;
        let report = push(
            &mut ws,
            &Push {
                remote: self.exchange.remote(),
                ids: &ids,
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

/// Tells what went, a line a session; those that are up to date are counted.
pub fn tell(report: &Report, quiet: bool) {
    let is_quiet =
        |line: &&Line| line.log == Sent::UpToDate && matches!(line.work, None | Some(Sent::UpToDate));
    let same = report.lines.iter().filter(is_quiet).count();
    for line in report.lines.iter().filter(|line| !is_quiet(line)) {
        let refused = line
            .log
            .refusal()
            .or(line.work.as_ref().and_then(Sent::refusal))
            .is_some();
        if !quiet || refused {
            out::say(&format!("{}: {}", line.id, escape(&phrase(line))));
        }
    }
    if let Some(why) = &report.notes {
        out::say(&escape(&format!("notes: not sent ({why})")));
    }
    if !quiet && (same > 0 || report.lines.is_empty()) {
        let what = if same == 1 { "session is" } else { "sessions are" };
        out::say(&format!("{same} {what} up to date on {}", escape(&report.remote)));
    }
}

fn phrase(line: &Line) -> String {
    let log = match &line.log {
        Sent::Sent => "sent".to_owned(),
        Sent::UpToDate => "up to date".to_owned(),
        Sent::Behind => "the remote has newer events ('git session fetch' brings them)".to_owned(),
        Sent::Pending => "would be sent".to_owned(),
        Sent::WentOn => "refused: it went on there too ('git session sync' brings both together)".to_owned(),
        Sent::Refused(why) => format!("refused: {why}"),
    };
    let work = match &line.work {
        None | Some(Sent::UpToDate) => return log,
        Some(Sent::Sent | Sent::Behind) => "work: sent".to_owned(),
        Some(Sent::Pending) => "work: would be sent".to_owned(),
        Some(refused @ (Sent::WentOn | Sent::Refused(_))) => {
            format!("work: not sent ({})", refused.refusal().unwrap_or_default())
        }
    };
    match line.holds.as_ref().map(contents).filter(|text| !text.is_empty()) {
        Some(holds) => format!("{log}, {work} ({holds})"),
        None => format!("{log}, {work}"),
    }
}

fn contents(holds: &Holds) -> String {
    let count = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let mut parts = Vec::new();
    if let Some(changed) = holds.changed.as_ref().filter(|changed| changed.files > 0) {
        parts.push(count(changed.files, "changed file"));
    }
    if holds.untracked > 0 {
        parts.push(format!("{} untracked", holds.untracked));
    }
    if holds.state {
        parts.push("worker state".to_owned());
    }
    parts.join(", ")
}

/// The same as JSON.
pub fn to_json(report: &Report) -> Value {
    let lines = report.lines.iter().map(|line| {
        let mut value = json!({ "id": line.id.as_str(), "log": word(&line.log) });
        if let Some(why) = line.log.refusal() {
            value["reason"] = json!(why);
        }
        if let Some(work) = &line.work {
            value["work"] = json!(word(work));
            if let Some(why) = work.refusal() {
                value["workReason"] = json!(why);
            }
        }
        if let Some(holds) = &line.holds {
            value["untracked"] = json!(holds.untracked);
            value["workerState"] = json!(holds.state);
        }
        value
    });
    let mut json = json!({ "remote": report.remote, "sessions": lines.collect::<Vec<_>>() });
    if let Some(why) = &report.notes {
        json["notes"] = json!("refused");
        json["notesReason"] = json!(why);
    }
    json
}

fn word(sent: &Sent) -> &'static str {
    match sent {
        Sent::Sent => "sent",
        Sent::UpToDate => "up-to-date",
        Sent::Behind => "behind",
        Sent::Pending => "pending",
        Sent::WentOn | Sent::Refused(_) => "refused",
    }
}

/// 1 where a log was refused; work that a remote doesn't take is told, and no failure.
pub fn code(report: &Report) -> i32 {
    i32::from(report.lines.iter().any(|line| line.log.refusal().is_some()))
}
