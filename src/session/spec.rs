//! What is to be run, and how: the content of `session.json`.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::duration;
use super::text::quote;

/// The specification of a session, fixed when it is created.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The command as an argument list; a named worker's still has its placeholders.
    pub command: Vec<Arg>,
    /// What a named worker runs on resume instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resume: Vec<Arg>,
    /// Whether `command` and `resume` are templates with `{title} {issue} {id} {worktree}`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub template: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<String>,
    /// The commit to begin from, in hexadecimal; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The branch's short name; absent for a detached worktree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Whether the branch existed before the session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub existing_branch: bool,
    /// Where its creator wanted the worktree; other clones put it in their own place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<Arg>,
    /// Names of environment variables whose values come from whoever starts it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub labels: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_output: Option<RecordOutput>,
    /// Fields that this version doesn't know, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How long, how often and how gently.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// How long one attempt may run.
    #[serde(default, with = "as_text", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long a stopped worker may take to end before it is killed.
    #[serde(default, with = "as_text", skip_serializing_if = "Option::is_none")]
    pub grace: Option<Duration>,
    /// The signal that asks it to end, by name; TERM if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// How many more attempts follow a failure.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
}

/// How much of a worker's output is kept in git when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordOutput {
    /// The last 64 KiB.
    Tail,
    /// All of it.
    Full,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// An argument or path: any bytes. In JSON a string where it is UTF-8, else an array of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg(OsString);

impl Arg {
    /// Gives it as the system takes it.
    pub fn as_os_str(&self) -> &std::ffi::OsStr {
        &self.0
    }
}

impl From<OsString> for Arg {
    fn from(text: OsString) -> Arg {
        Arg(text)
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Arg {
        Arg(text.into())
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

impl Serialize for Arg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => self.0.as_bytes().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Arg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Arg, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(text) => Arg(text.into()),
            Form::Bytes(bytes) if bytes.contains(&0) => {
                return Err(D::Error::custom("an argument holds a NUL byte"));
            }
            Form::Bytes(bytes) => Arg(OsString::from_vec(bytes)),
        })
    }
}

/// Durations in the form that people type.
mod as_text {
    use super::*;

    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(duration::format).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| duration::parse(&text).map_err(D::Error::custom))
            .transpose()
    }
}

impl Spec {
    /// Gives the content of `session.json`.
    pub fn to_json(&self) -> Vec<u8> {
        // Maps with text keys and plain values always serialize.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Reads the content of `session.json`.
    ///
    /// # Errors
    /// What isn't JSON of that shape.
    pub fn from_json(json: &[u8]) -> serde_json::Result<Spec> {
        serde_json::from_slice(json)
    }

    /// The command as one line for people, who may type it into a shell. Nothing in it steers a terminal.
    pub fn command_line(&self) -> String {
        line(&self.command)
    }

    /// The same of what runs on resume; empty where that is the command.
    pub fn resume_line(&self) -> String {
        line(&self.resume)
    }
}

fn line(words: &[Arg]) -> String {
    let words: Vec<String> = words
        .iter()
        .map(|word| quote(word.as_os_str().as_bytes()))
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_version_does_not_know_survives() {
        let json = br#"{"command":["make"],"limits":{"timeout":"30m"},"colour":{"deep":[1,2]}}"#;
        let spec = Spec::from_json(json).unwrap();
        assert_eq!(spec.limits.timeout, Some(Duration::from_secs(1800)));
        let again = Spec::from_json(&spec.to_json()).unwrap();
        assert_eq!(again.other["colour"]["deep"][1], 2);
        assert_eq!(again, spec);
    }

    #[test]
    fn an_argument_that_is_not_utf8_is_kept_byte_for_byte() {
        let odd = Arg::from(OsString::from_vec(vec![b'a', 0xff]));
        let spec = Spec {
            command: vec!["é".into(), odd],
            ..Spec::default()
        };
        let json = String::from_utf8(spec.to_json()).unwrap();
        assert!(json.contains("\"é\""));
        assert_eq!(Spec::from_json(json.as_bytes()).unwrap(), spec);
        assert!(Spec::from_json(br#"{"command":[[97,0]]}"#).is_err());
    }
}
