//! What a supervisor costs while its worker is silent, and how large the program is.

use std::fs;
use std::time::Duration;

use crate::place::Place;
use crate::table::Table;

const MIB: f64 = 1024.0 * 1024.0;
/// How long the wake-ups are counted.
const REST: Duration = Duration::from_secs(10);

pub fn measure(table: &mut Table) {
    if table.wants("release binary") {
        let size = fs::metadata(env!("CARGO_BIN_EXE_git-session")).map_or(f64::NAN, |meta| meta.len() as f64);
        table.fact("release binary", size / MIB, "MiB", 10.0);
    }
    if !table.wants("supervisor at rest") {
        return;
    }
    let place = Place::small();
    let script = "run -d --id silent -- sh -c 'echo $PPID > pid; exec sleep 100000'";
    place.session(script).time();
    let file = place.worktree("silent").join("pid");
    let supervisor = loop {
        match fs::read_to_string(&file) {
            Ok(pid) if pid.ends_with('\n') => break pid.trim().to_owned(),
            _ => std::thread::yield_now(),
        }
    };
    std::thread::sleep(Duration::from_secs(1));
    let before = wake_ups(&supervisor);
    std::thread::sleep(REST);
    let woken = wake_ups(&supervisor) - before;
    table.fact("supervisor at rest: wake-ups in ten seconds", woken, "", 2.0);
    table.fact(
        "supervisor at rest: resident",
        status(&supervisor, "VmRSS") / 1024.0,
        "MiB",
        6.0,
    );
    place.session("terminate --kill silent").time();
}

/// How often its threads gave up the processor by themselves, or were made to.
fn wake_ups(pid: &str) -> f64 {
    status(pid, "voluntary_ctxt_switches") + status(pid, "nonvoluntary_ctxt_switches")
}

fn status(pid: &str, key: &str) -> f64 {
    let mut sum = 0.0;
    let tasks: Vec<_> = match key {
        "VmRSS" => vec![format!("/proc/{pid}/status").into()],
        _ => fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|task| task.path().join("status"))
            .collect(),
    };
    for task in tasks {
        let text = fs::read_to_string(task).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        sum += number.unwrap_or(f64::NAN);
    }
    sum
}
