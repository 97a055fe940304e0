//! Rows: two things timed in turn, and the ratio of their medians.

use std::process::ExitCode;
use std::time::Duration;

/// What was measured so far.
pub struct Table {
    wanted: String,
    over: Vec<String>,
}

impl Table {
    /// Begins a table of the rows whose name holds a word.
    pub fn new(wanted: String) -> Table {
        println!(
            "{:<58} {:>10} {:>10} {:>7} {:>7} {:>5}",
            "", "ours", "git's", "ratio", "at most", "runs"
        );
        Table {
            wanted,
            over: Vec::new(),
        }
    }

    /// Whether a row is to be measured.
    pub fn wants(&self, name: &str) -> bool {
        name.contains(&self.wanted)
    }

    /// Times both, one after the other, as often as said.
    pub fn row(
        &mut self,
        name: &str,
        against: &str,
        limit: f64,
        runs: usize,
        ours: impl Fn(usize) -> Duration,
        stock: impl Fn(usize) -> Duration,
    ) {
        if !self.wants(name) {
            return;
        }
        // The first of each fills caches, and is left out.
        let pairs: Vec<(Duration, Duration)> =
            (0..=runs).map(|run| (ours(run), stock(run))).skip(1).collect();
        let ours = median(pairs.iter().map(|pair| pair.0));
        let stock = median(pairs.iter().map(|pair| pair.1));
        let ratio = ours.as_secs_f64() / stock.as_secs_f64();
        let mark = self.judge(name, ratio <= limit);
        println!(
            "{name:<58} {:>10} {:>10} {ratio:>7.3} {limit:>7} {runs:>5} {mark}\n  against {against}",
            milliseconds(ours),
            milliseconds(stock)
        );
    }

    /// Adds a row with a number of its own.
    pub fn fact(&mut self, name: &str, value: f64, unit: &str, limit: f64) {
        let mark = self.judge(name, value <= limit);
        println!("{name:<58} {value:>10.2} {unit:<18} {limit:>7} {mark}");
    }

    fn judge(&mut self, name: &str, good: bool) -> &'static str {
        if good {
            return "";
        }
        self.over.push(name.to_owned());
        "OVER"
    }

    /// Tells what is over its limit.
    pub fn finish(self) -> ExitCode {
        if self.over.is_empty() {
            println!("\nall within their limits");
            return ExitCode::SUCCESS;
        }
        println!("\nover their limits: {}", self.over.join("; "));
        ExitCode::FAILURE
    }
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}
