//! How a session ended.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// How a worker, or a session, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, with this exit code.
    Exit(i32),
    /// By a signal of this number that nobody here sent.
    Signal(i32),
    /// Its time limit was reached.
    Timeout,
    /// It could not be executed: 126 not executable, 127 not found.
    Failed(i32),
    /// A user ended it.
    Stopped,
    /// It was ended before it ever ran.
    Cancelled,
    /// Nobody saw how.
    Lost,
    /// A word of a later format.
    Other(String),
}

impl Outcome {
    /// The exit code that `run` and `wait` pass through.
    ///
    /// `timeout` is 124 as in timeout(1), what tells nothing about the command is 125 so that `git bisect run`
    /// skips, a signal is 128 + n as in a shell, and a stop by a user is that of TERM, 143.
    pub fn exit_code(&self) -> i32 {
        match self {
            Outcome::Exit(code) | Outcome::Failed(code) => *code,
            Outcome::Signal(number) => 128 + number,
            Outcome::Timeout => 124,
            Outcome::Stopped => 143,
            Outcome::Cancelled | Outcome::Lost | Outcome::Other(_) => 125,
        }
    }

    /// Whether it is the end that was hoped for.
    pub fn is_success(&self) -> bool {
        *self == Outcome::Exit(0)
    }

    /// Whether the worker failed, rather than succeeding or being ended by somebody.
    pub fn is_failure(&self) -> bool {
        !self.is_success() && !matches!(self, Outcome::Stopped | Outcome::Cancelled)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Exit(code) => write!(f, "exit:{code}"),
            Outcome::Signal(number) => write!(f, "signal:{number}"),
            Outcome::Timeout => f.write_str("timeout"),
            Outcome::Failed(code) => write!(f, "failed:{code}"),
            Outcome::Stopped => f.write_str("stopped"),
            Outcome::Cancelled => f.write_str("cancelled"),
            Outcome::Lost => f.write_str("lost"),
            Outcome::Other(word) => f.write_str(word),
        }
    }
}

impl FromStr for Outcome {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Outcome, Self::Err> {
        // What is no code of a process is no exit code of ours either: only what can be passed on is taken for one.
        let number = |prefix: &str, legal: RangeInclusive<i32>| {
            let number = text.strip_prefix(prefix)?.parse().ok()?;
            legal.contains(&number).then_some(number)
        };
        Ok(match text {
            "timeout" => Outcome::Timeout,
            "stopped" => Outcome::Stopped,
            "cancelled" => Outcome::Cancelled,
            "lost" => Outcome::Lost,
            _ => number("exit:", 0..=255)
                .map(Outcome::Exit)
                .or_else(|| number("signal:", 1..=127).map(Outcome::Signal))
                .or_else(|| number("failed:", 126..=127).map(Outcome::Failed))
                .unwrap_or_else(|| Outcome::Other(text.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_survives_the_way_out_and_back() {
        for word in [
            "exit:0",
            "exit:3",
            "signal:9",
            "timeout",
            "failed:127",
            "stopped",
            "cancelled",
            "lost",
            "odd",
        ] {
            let Ok(outcome) = word.parse::<Outcome>();
            assert_eq!(outcome.to_string(), word);
        }
    }

    #[test]
    fn what_no_process_ends_with_is_no_code_to_be_passed_on() {
        for word in [
            "exit:256",
            "exit:-1",
            "exit:2147483648",
            "signal:0",
            "signal:128",
            "signal:2147483647",
            "failed:0",
            "failed:512",
        ] {
            let Ok(outcome) = word.parse::<Outcome>();
            assert_eq!(outcome, Outcome::Other(word.to_owned()));
            assert_eq!(outcome.exit_code(), 125, "{word}");
        }
    }
}
