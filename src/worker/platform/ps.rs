//! The POSIX form: `ps`, with the two columns beyond POSIX (`stat`, `lstart`) that Linux, macOS and the BSDs share.

use std::{
    collections::{HashMap, HashSet},
    os::unix::ffi::OsStrExt,
    process::{Command, Output, Stdio},
};

use super::{Entry, PlatformError, State};
use crate::worker::scan::Marker;

const COLUMNS: [&str; 12] = [
    "-o", "pid=", "-o", "ppid=", "-o", "pgid=", "-o", "stat=", "-o", "lstart=", "-o", "comm=",
];

pub(super) fn table() -> Result<Vec<Entry>, PlatformError> {
    let (own, output) = ps(Command::new("ps").arg("-A").args(COLUMNS))?;
    let mut table = lines(&output)?;
    table.retain(|entry| entry.pid != own);
    Ok(table)
}

pub(super) fn entry(pid: i32) -> Result<Option<Entry>, PlatformError> {
    // `ps` takes what is no pid for a mistake, or for the end of a list.
    if pid <= 0 {
        return Ok(None);
    }
    let (_, output) = ps(Command::new("ps").args(COLUMNS).args(["-p", &pid.to_string()]))?;
    Ok(lines(&output)?.into_iter().find(|entry| entry.pid == pid))
}

/// `ps` prints an environment as words after the command, so a value is taken for ours when what follows it is
/// a space or the end; that may take in a process whose value is longer and has a space just there.
pub(super) fn marked(marker: &Marker) -> Result<HashSet<i32>, PlatformError> {
    let wanted = [b" ", marker.name.as_bytes(), b"=", marker.value.as_bytes()].concat();
    let mut full = commands("axeww")?;
    full.retain(|_, line| has_word(line, &wanted));
    if full.is_empty() {
        return Ok(HashSet::new());
    }
    // The marker counts in the environment only, not where it is a mere argument (of env, of grep).
    let bare = commands("axww")?;
    full.retain(|pid, line| {
        let arguments = bare.get(pid).map(|bare| bare.trim_ascii_end());
        arguments
            .and_then(|arguments| line.strip_prefix(arguments))
            .is_some_and(|environment| has_word(environment, &wanted))
    });
    Ok(full.into_keys().collect())
}

/// What `ps` prints as each process's command, by pid.
fn commands(flags: &str) -> Result<HashMap<i32, Vec<u8>>, PlatformError> {
    let (own, output) = ps(Command::new("ps").args([flags, "-o", "pid=", "-o", "command="]))?;
    let split = |line: &[u8]| {
        let line = line.trim_ascii_start();
        let end = line.iter().position(|byte| *byte == b' ')?;
        let pid = str::from_utf8(&line[..end]).ok()?.parse().ok()?;
        (pid != own).then(|| (pid, line[end..].to_vec()))
    };
    Ok(output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(split)
        .collect())
}

fn has_word(line: &[u8], wanted: &[u8]) -> bool {
    line.windows(wanted.len())
        .enumerate()
        .any(|(at, window)| window == wanted && matches!(line.get(at + wanted.len()), None | Some(b' ')))
}

/// Runs `ps` in an environment that fixes its language, zone and form; gives its own pid with the answer.
fn ps(command: &mut Command) -> Result<(i32, Output), PlatformError> {
    command.env_clear().env("LC_ALL", "C").env("TZ", "UTC0");
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(PlatformError::Ps)?;
    let own = i32::try_from(child.id()).unwrap_or_default();
    let output = child.wait_with_output().map_err(PlatformError::Ps)?;
    // With -p a pid that doesn't exist is exit 1 and silence.
    if !output.status.success() && !output.stderr.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(PlatformError::Answer(
            said.lines().next().unwrap_or_default().to_owned(),
        ));
    }
    Ok((own, output))
}

fn lines(output: &Output) -> Result<Vec<Entry>, PlatformError> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| parse(line).ok_or_else(|| PlatformError::Answer(line.to_owned())))
        .collect()
}

fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace();
    let [pid, parent, group] = [words.next()?, words.next()?, words.next()?];
    let state = match words.next()?.as_bytes().first()? {
        b'Z' | b'X' => State::Zombie,
        b'T' | b't' => State::Stopped,
        _ => State::Moving,
    };
    let lstart: Vec<&str> = words.by_ref().take(5).collect();
    let started = jiff::civil::DateTime::strptime("%a %b %d %H:%M:%S %Y", lstart.join(" ")).ok()?;
    let started = started.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Entry {
        pid: pid.parse().ok()?,
        parent: parent.parse().ok()?,
        // One that is about to be gone has none, which some write as a number that there can't be.
        group: group.parse::<i64>().ok()?.try_into().unwrap_or(-1),
        state,
        start_time: started.timestamp().as_second().try_into().ok()?,
        name: words.collect::<Vec<_>>().join(" "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_its_padding() {
        let entry = parse("   17     1    17 Ts+  Thu Jan  1 00:01:05 1970 my tool").unwrap();
        assert_eq!((entry.pid, entry.parent, entry.group), (17, 1, 17));
        assert_eq!(entry.state, State::Stopped);
        assert_eq!(entry.start_time, 65);
        assert_eq!(entry.name, "my tool");
    }

    #[test]
    fn nonsense_is_no_process() {
        for line in ["", "17", "17 1 17 S", "17 1 17 S Thu Jan 1 1970"] {
            assert!(parse(line).is_none(), "{line}");
        }
    }

    #[test]
    fn a_process_without_a_group_is_no_unknown_form() {
        let entry = parse(" 1500     0 4294967295 XN+ Fri Nov 27 07:40:13 2026 git").unwrap();
        assert_eq!((entry.pid, entry.parent, entry.group), (1500, 0, -1));
        assert_eq!((entry.state, entry.name.as_str()), (State::Zombie, "git"));
        assert!(parse("one 0 1 S Fri Nov 27 07:40:13 2026 git").is_none());
    }
}
