//! `octroi key`: makes keys for `auth_api_key`, hashes those that there are, and lists what a
//! configuration knows. Nothing but `new` ever shows a key, and it shows it once.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use crate::base::base64;
use crate::conf::Disk;
use crate::features;
use crate::features::api_key::{self, table::show_hash};
use crate::http::date;
use crate::pipeline::veil::hash;
use crate::process;

/// What keys made here begin with: searches for keys that leaked look for it.
const PREFIX: &str = "octroi_";

/// Random bytes of a key: as many as its hash has.
const KEY_BYTES: usize = 32;

/// Bytes of a key that `hash` reads, at most.
const READ_MAX: u64 = 16 * 1024;

const USAGE: &str = "usage: octroi key new consumer [expires=2027-01-31]
       octroi key hash [key]        (without a key it is read from the standard input)
       octroi key list [file]       (the keys that a configuration knows, by their hashes)";

/// Runs the verb with what follows it on the command line.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let words: Option<Vec<&str>> = arguments.iter().map(|word| word.to_str()).collect();
    let done = match words.unwrap_or_default().as_slice() {
        ["new", consumer] => new(consumer, None),
        ["new", consumer, expires] => new(consumer, Some(expires)),
        ["hash"] => hash_of_input(),
        ["hash", key] => Ok(line_of(key.as_bytes(), None)),
        ["list"] => list(process::default_conf()),
        // The file is relative to where one stands.
        ["list", file] => list(&std::env::current_dir().unwrap_or_default().join(file)),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(text) => {
            // A pager that was left early has shown enough.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("octroi: {message}");
            ExitCode::FAILURE
        }
    }
}

/// A new key, and the line that makes it known.
fn new(consumer: &str, expires: Option<&str>) -> Result<String, String> {
    if !features::consumer::is_name(consumer.as_bytes()) {
        return Err(format!("invalid consumer name \"{consumer}\""));
    }
    let expires = match expires {
        None => None,
        Some(word) => {
            let day = word.strip_prefix("expires=").filter(|day| date::parse_day(day.as_bytes()).is_some());
            Some(day.ok_or_else(|| format!("invalid parameter \"{word}\""))?)
        }
    };
    let mut random = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| "no random numbers are to be had".to_owned())?;
    let mut key = PREFIX.as_bytes().to_vec();
    base64::encode_url(&random, &mut key);
    let line = line_of(&key, expires);
    let key = String::from_utf8_lossy(&key);
    Ok(format!(
        "The key, which is shown this once:\n\n    {key}\n\n\
         The line that makes it known:\n\n    consumer {consumer} {{\n        {}\n    }}\n",
        line.trim_end()
    ))
}

fn hash_of_input() -> Result<String, String> {
    let mut key = Vec::new();
    io::stdin().take(READ_MAX).read_to_end(&mut key).map_err(|error| error.to_string())?;
    let end = key.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    match key.get(..end) {
        Some(key) if !key.is_empty() => Ok(line_of(key, None)),
        _ => Err("no key was given".to_owned()),
    }
}

/// The directive for a key.
fn line_of(key: &[u8], expires: Option<&str>) -> String {
    let expires = expires.map_or_else(String::new, |day| format!(" expires={day}"));
    format!("api_key sha256:{}{expires};\n", show_hash(&hash(key)))
}

fn list(conf: &Path) -> Result<String, String> {
    let origin = process::resolve(Some(conf), None, None, String::new());
    let keys = api_key::list(&origin, &mut Disk)?;
    let mut text = String::new();
    for key in keys {
        let until = key.until_s.map_or_else(
            || "-".to_owned(),
            |at| String::from_utf8_lossy(&date::iso8601(i64::from(at), 0)[..10]).into_owned(),
        );
        text += &format!("{}\t{}\t{until}\n", show_hash(&key.hash), key.consumer);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_new_key_and_its_line_belong_together() {
        let text = new("mobile", Some("expires=2027-01-31")).unwrap();
        let key = text.lines().find_map(|line| line.trim().strip_prefix(PREFIX)).unwrap();
        let line = line_of(format!("{PREFIX}{key}").as_bytes(), Some("2027-01-31"));
        assert!(key.len() == 43 && text.contains(line.trim_end()), "{text}");
        assert_ne!(new("mobile", None).unwrap(), new("mobile", None).unwrap());
        assert_eq!(new("a,b", None), Err("invalid consumer name \"a,b\"".to_owned()));
        assert_eq!(new("a", Some("expires=soon")), Err("invalid parameter \"expires=soon\"".to_owned()));
    }
}
