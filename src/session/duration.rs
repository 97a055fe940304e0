//! Durations as people type them in options and git config: `90s`, `30m`, `1h30m`, `2d`.

use std::time::Duration;

/// The text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a duration: seconds like 90, or numbers with ms, s, m, h, d or w, like 90s, 1h30m or 2d"
)]
pub struct DurationError(pub String);

const UNITS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Reads a duration; a bare number is in seconds, `ms` is understood too.
///
/// # Errors
/// What isn't one, or is longer than a hundred years.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let bad = || DurationError(text.to_owned());
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        let tail = &rest[digits..];
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let part = match &tail[..letters] {
            "ms" => Duration::from_millis(number),
            "" => Duration::from_secs(number),
            unit => {
                let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
                Duration::from_secs(number.checked_mul(*seconds).ok_or_else(bad)?)
            }
        };
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = &tail[letters..];
    }
    if total > Duration::from_secs(100 * 365 * 86_400) {
        Err(bad())
    } else {
        Ok(total)
    }
}

/// Writes a duration in the form that [`parse`] reads, exact to the millisecond.
pub fn format(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    let mut out = String::new();
    for (name, unit) in UNITS {
        if seconds >= unit && name != "w" {
            out.push_str(&format!("{}{name}", seconds / unit));
            seconds %= unit;
        }
    }
    if duration.subsec_millis() > 0 {
        out.push_str(&format!("{}ms", duration.subsec_millis()));
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// Writes the largest unit that says enough, for a table: `12s`, `3m`, `5h`, `2d`.
pub fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (name, unit) = match seconds {
        0..60 => ("s", 1),
        60..3_600 => ("m", 60),
        3_600..172_800 => ("h", 3_600),
        _ => ("d", 86_400),
    };
    format!("{}{name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_type_is_read() {
        let cases = [
            ("90", 90),
            ("90s", 90),
            ("30m", 1800),
            ("1h30m", 5400),
            ("2d", 172_800),
            ("0", 0),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        for text in [
            "",
            " ",
            "s",
            "10x",
            "-1s",
            "1.5h",
            "99999999999999999999",
            "9999999999d",
            "ten",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(milliseconds in 0u64..10_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }
}
