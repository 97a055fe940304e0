use serde_json::json;

use super::common::{known_or_new, open_remotely};
use super::error::Failure;
use super::{fetch, out, push};
use crate::ops::requests::Answer;
use crate::ops::sync::sync;
use crate::render::escape;

/// Fetch, answer requests, merge, and push
///
/// What other clones asked of sessions of this clone (terminate, suspend, note) is carried out and answered in the log.
/// Logs that went on here and at home are merged by their owner; everybody else follows home.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The remote; else session.remote, the current branch's, or origin
    remote: Option<String>,
    /// Only these sessions, by id or as they are called here
    #[arg(value_name = "SESSION")]
    sessions: Vec<String>,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Print what came of each session as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open_remotely(self.quiet || self.json)?;
        let ids = known_or_new(&ws, &self.sessions)?;
        let report = sync(&mut ws, self.remote.as_deref(), &ids)?;
        if self.json {
            let answers: Vec<_> = report.answered.iter().map(to_json).collect();
            let merged: Vec<&str> = report.merged.iter().map(|id| id.as_str()).collect();
            out::json(&json!({
                "schema": 1,
                "fetched": fetch::to_json(&report.fetched),
                "answered": answers,
                "merged": merged,
                "sent": push::to_json(&report.sent),
            }));
        } else {
            fetch::tell(&report.fetched, true);
            if !self.quiet {
                report.answered.iter().for_each(tell);
                for id in &report.merged {
                    out::say(&format!("{id}: merged"));
                }
            }
            push::tell(&report.sent, self.quiet);
        }
        Ok(fetch::code(&report.fetched).max(push::code(&report.sent)))
    }
}

fn tell(answer: &Answer) {
    let Answer { id, ask, host, .. } = answer;
    let line = match &answer.refused {
        None => format!("{id}: {ask}, as '{host}' asked for"),
        Some(why) => format!("{id}: {ask}, asked for by '{host}', was refused: {why}"),
    };
    out::say(&escape(&line));
}

fn to_json(answer: &Answer) -> serde_json::Value {
    let mut value = json!({
        "id": answer.id.as_str(),
        "request": answer.nonce,
        "asked": answer.ask.word(),
        "host": answer.host,
    });
    if let Some(why) = &answer.refused {
        value["refused"] = json!(why);
    }
    value
}
