use serde_json::json;

use super::common::Exchange;
use super::error::Failure;
use super::{fetch, out, push};
use crate::ops::inbox::Waited;
use crate::ops::requests::Answer;
use crate::ops::sync::sync;
use crate::render::escape;

/// Fetch, answer requests, merge, and push
///
/// What other clones asked of sessions of this clone (terminate, suspend, note) is carried out and answered in the log.
/// Logs that went on here and at home are merged by their owner; everybody else follows home. Notes go both ways, as
/// with fetch and push.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session sync
  git session sync origin fix-login")]
pub struct Args {
    #[command(flatten)]
    exchange: Exchange,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = self.exchange.open("sync")?;
        let ids = self.exchange.ids_anywhere(&ws)?;
        let report = sync(&mut ws, self.exchange.remote(), &ids)?;
        if self.exchange.json {
            let answers: Vec<_> = report.answered.iter().map(to_json).collect();
            let left: Vec<_> = report
                .left
                .iter()
                .map(|(name, why)| json!({ "name": name, "reason": why }))
                .collect();
            let (asked, unsent): (Vec<_>, Vec<_>) =
                report.waited.iter().partition(|waited| waited.unsent.is_none());
            let asked: Vec<_> = asked.into_iter().map(asked_json).collect();
            let unsent: Vec<_> = unsent
                .into_iter()
                .map(|waited| json!({ "id": waited.id.as_str(), "reason": waited.unsent }))
                .collect();
            let merged: Vec<&str> = report.merged.iter().map(|id| id.as_str()).collect();
            out::json(&json!({
                "schema": 1,
                "fetched": fetch::to_json(&report.fetched),
                "answered": answers,
                "merged": merged,
                "left": left,
                "asked": asked,
                "unsent": unsent,
                "sent": push::to_json(&report.sent),
            }));
        } else {
            fetch::tell(&report.fetched, true);
            if !self.exchange.quiet {
                fetch::tell_news(&report.fetched);
                report.answered.iter().for_each(tell);
                for (name, why) in &report.left {
                    out::say(&escape(&format!("{name}: left alone: {why}")));
                }
                for id in &report.merged {
                    out::say(&format!("{id}: merged"));
                }
            }
            for waited in &report.waited {
                let Waited { id, ask, host, .. } = waited;
                match &waited.unsent {
                    Some(why) => out::say(&escape(&format!("{id}: request not sent ({why})"))),
                    None if self.exchange.quiet => {}
                    None => out::say(&escape(&format!("{id}: asked '{host}' to {}", ask.phrase()))),
                }
            }
            push::tell(&report.sent, self.exchange.quiet);
        }
        let code = fetch::code(&report.fetched).max(push::code(&report.sent));
        let is_unsent = report.waited.iter().any(|waited| waited.unsent.is_some());
        Ok(code.max(i32::from(is_unsent)))
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

fn asked_json(waited: &Waited) -> serde_json::Value {
    json!({
        "id": waited.id.as_str(),
        "request": waited.nonce,
        "asked": waited.ask.word(),
        "host": waited.host,
    })
}
