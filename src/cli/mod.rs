//! The command line: one verb a file, each with its arguments, one operation, one way to show what came of it.

mod checkpoint;
mod common;
mod complete;
mod diff;
mod error;
mod exec;
mod list;
mod log;
mod new;
mod note;
mod out;
mod output;
mod path;
mod prune;
mod recover;
mod restore;
mod resume;
mod retry;
mod run;
mod setup;
mod show;
mod start;
mod supervise;
mod suspend;
mod terminate;
mod wait;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

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

#[derive(Debug, Subcommand)]
enum Verb {
    New(new::Args),
    Start(start::Args),
    Run(run::Args),
    Suspend(suspend::Args),
    Resume(resume::Args),
    #[command(visible_alias = "stop")]
    Terminate(terminate::Args),
    Wait(wait::Args),
    Retry(retry::Args),
    List(list::Args),
    Show(show::Args),
    Log(log::Args),
    #[command(visible_alias = "logs")]
    Output(output::Args),
    Diff(diff::Args),
    Path(path::Args),
    Exec(exec::Args),
    Checkpoint(checkpoint::Args),
    Note(note::Args),
    Restore(restore::Args),
    Recover(recover::Args),
    Prune(prune::Args),
    Setup(setup::Args),
    #[command(hide = true)]
    Complete(complete::Args),
    #[command(hide = true)]
    Supervise(supervise::Args),
}

impl Verb {
    fn run(self) -> Result<i32, Failure> {
        match self {
            Verb::New(args) => args.run(),
            Verb::Start(args) => args.run(),
            Verb::Run(args) => args.run(),
            Verb::Suspend(args) => args.run(),
            Verb::Resume(args) => args.run(),
            Verb::Terminate(args) => args.run(),
            Verb::Wait(args) => args.run(),
            Verb::Retry(args) => args.run(),
            Verb::List(args) => args.run(),
            Verb::Show(args) => args.run(),
            Verb::Log(args) => args.run(),
            Verb::Output(args) => args.run(),
            Verb::Diff(args) => args.run(),
            Verb::Path(args) => args.run(),
            Verb::Exec(args) => args.run(),
            Verb::Checkpoint(args) => args.run(),
            Verb::Note(args) => args.run(),
            Verb::Restore(args) => args.run(),
            Verb::Recover(args) => args.run(),
            Verb::Prune(args) => args.run(),
            Verb::Setup(args) => args.run(),
            Verb::Complete(args) => args.run(),
            Verb::Supervise(args) => args.run(),
        }
    }
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
    let parsed = Cli::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let result = match parsed {
        Ok(cli) => match cli.verb {
            Some(verb) => verb.run(),
            // What was meant for a verb is taken for a session.
            None => cli.list.run().map_err(|failure| match failure.word() {
                "not-found" => {
                    failure.hint("'git session -h' shows the verbs, 'git session list --all' the sessions")
                }
                _ => failure,
            }),
        },
        Err(error) if error.use_stderr() => Err(Failure::usage(&error)),
        Err(help) => {
            out::data(help.render().to_string().as_bytes());
            return 0;
        }
    };
    result.unwrap_or_else(|failure| failure.tell(json))
}
