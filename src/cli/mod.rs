//! The command line: one verb a file, each with its arguments, one operation, one way to show what came of it.

mod checkpoint;
mod claim;
mod common;
mod complete;
mod diff;
mod doctor;
mod error;
mod exec;
mod fetch;
mod forget;
mod list;
mod log;
mod new;
mod note;
mod out;
mod output;
mod path;
mod prune;
mod push;
mod recover;
mod relay;
mod restore;
mod resume;
mod retry;
mod run;
mod setup;
mod show;
mod start;
mod supervise;
mod suspend;
mod sync;
mod terminate;
mod trust;
mod usage;
mod verify;
mod wait;

use std::ffi::OsString;
use std::mem::ManuallyDrop;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::ops::Error;
use error::Failure;

/// Run workers in git worktrees of their own, with their life kept in git.
///
/// A session is one run of a worker (a coding agent, a build, any command) in a worktree and on a branch of its own.
/// Every step of its life is a commit on refs/sessions/ID, so it survives a reboot and can be read with stock git.
/// Without a verb the sessions that have not ended are listed.
#[derive(Debug, Parser)]
#[command(name = "git-session", bin_name = "git session", version, max_term_width = 100)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_help_heading = "Verbs",
    subcommand_value_name = "VERB"
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: list::Args,
}

/// Makes the verbs of their names, in the order of the help: a name, its module, what else clap is to know.
macro_rules! verbs {
    ($($verb:ident $name:literal $(or $alias:literal)? in $module:ident $(: $hide:ident)?,)*) => {
        #[derive(Debug, Subcommand)]
        enum Verb {
            $(
                #[command($(visible_alias = $alias,)? $($hide = true)?)]
                $verb($module::Args),
            )*
        }

        impl Verb {
            /// Reads a command line by the definition of the one verb that it names, since making those of all others
            /// takes longer than most verbs do; none where it names no verb, or where there is something to be said
            /// about it.
            fn alone(words: &[OsString]) -> Option<Verb> {
                let Some(verb) = words.first() else {
                    return only(words).map(Verb::List);
                };
                match verb.to_str()? {
                    $($name $(| $alias)? => only(words).map(Verb::$verb),)*
                    _ => None,
                }
            }

            fn run(self) -> Result<i32, Failure> {
                match self {
                    $(Verb::$verb(args) => args.run(),)*
                }
            }
        }
    };
}

verbs! {
    New "new" in new,
    Start "start" in start,
    Run "run" in run,
    Suspend "suspend" in suspend,
    Resume "resume" in resume,
    Terminate "terminate" or "stop" in terminate,
    Wait "wait" in wait,
    Retry "retry" in retry,
    List "list" in list,
    Show "show" in show,
    Log "log" in log,
    Output "output" or "logs" in output,
    Diff "diff" in diff,
    Path "path" in path,
    Exec "exec" in exec,
    Checkpoint "checkpoint" in checkpoint,
    Note "note" in note,
    Restore "restore" in restore,
    Push "push" in push,
    Fetch "fetch" in fetch,
    Sync "sync" in sync,
    Claim "claim" in claim,
    Trust "trust" in trust,
    Forget "forget" in forget,
    Recover "recover" in recover,
    Prune "prune" in prune,
    Verify "verify" in verify,
    Doctor "doctor" in doctor,
    Setup "setup" in setup,
    Complete "complete" in complete: hide,
    Supervise "supervise" in supervise: hide,
    Relay "relay" in relay: hide,
}

/// Reads what one verb takes.
fn only<A: Args>(words: &[OsString]) -> Option<A> {
    let mut definition = ManuallyDrop::new(A::augment_args(clap::Command::default()));
    let matches = definition.try_get_matches_from_mut(words).ok()?;
    A::from_arg_matches(&matches).ok()
}

/// Reads any command line, and knows what to say of it.
fn whole(mut arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    // The parser's own 'help' knows no help of itself.
    if arguments.get(1).is_some_and(|verb| verb == "help") {
        arguments.retain(|word| word != "-h" && word != "--help");
    }
    // Taking it apart is left to the end of the process.
    let mut definition = ManuallyDrop::new(command());
    let matches = definition.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches)
}

/// The whole command line, from which the man pages are made.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program and gives its exit code.
pub fn main() -> i32 {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let json = arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json");
    if let Some(verb) = Verb::alone(arguments.get(1..).unwrap_or_default()) {
        return verb.run().unwrap_or_else(|failure| failure.tell(json));
    }
    let words = arguments.get(1..).unwrap_or_default().to_vec();
    let result = match whole(arguments) {
        Ok(cli) => match cli.verb {
            Some(verb) => verb.run(),
            // What was meant for a verb is taken for a session.
            None => cli.list.run().map_err(|failure| {
                let first = words.first().and_then(|word| word.to_str()).unwrap_or_default();
                match failure.tells(&Error::NotFound(first.to_owned())) {
                    true => usage::neither(first, &words),
                    false => failure,
                }
            }),
        },
        Err(error) if error.use_stderr() => Err(usage::usage(&error, &words)),
        Err(help) => {
            out::data(help.render().to_string().as_bytes());
            return 0;
        }
    };
    result.unwrap_or_else(|failure| failure.tell(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_is_read_alone_as_it_is_among_the_others() {
        let lines = [
            "new --id x -- true",
            "start x",
            "run -d -- true",
            "suspend --freeze x",
            "resume x y",
            "terminate --kill x",
            "stop x",
            "wait --any x",
            "retry x",
            "list --all",
            "show --json x",
            "log x",
            "output -f x",
            "logs x",
            "diff x",
            "path x",
            "exec x -- true -h",
            "checkpoint x",
            "note x -m -h",
            "restore x --at 1",
            "recover --all",
            "prune",
            "verify --remote=origin x",
            "doctor --remote origin",
            "setup --completions bash",
            "push origin x",
            "fetch -n",
            "sync",
            "claim x",
            "trust --revoke x",
            "forget --yes x",
            "relay x /x",
            "complete -- li",
            "supervise x /x 3 4",
        ];
        for line in lines {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let all = [vec![OsString::from("git-session")], words.clone()].concat();
            let among = whole(all).expect(line).verb.expect(line);
            let alone = Verb::alone(&words).expect(line);
            assert_eq!(format!("{alone:?}"), format!("{among:?}"), "{line}");
        }
        for verb in command().get_subcommands() {
            for name in std::iter::once(verb.get_name()).chain(verb.get_all_aliases()) {
                let is_read = lines.iter().any(|line| line.split(' ').next() == Some(name));
                assert!(is_read, "{name}");
            }
        }
    }
}
