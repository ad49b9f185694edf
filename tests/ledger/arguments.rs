//! The words and keys behind a command of a script, and the values in them.

use std::collections::BTreeMap;

use goldenscript::Argument;
use quorate::ledger::*;
use rust_decimal::Decimal;

use super::Result;

pub struct Arguments {
    words: Vec<String>,
    keys: Vec<(String, String)>,
}

impl Arguments {
    pub fn new(arguments: &[Argument]) -> Self {
        let mut words = Vec::new();
        let mut keys = Vec::new();
        for argument in arguments {
            match argument {
                Argument::Positional(word) => words.push(word.clone()),
                Argument::KeyValue(key, value) => keys.push((key.clone(), value.clone())),
                _ => unreachable!("there are no other arguments"),
            }
        }
        Self { words, keys }
    }

    /// Arguments within an argument, separated by spaces.
    pub fn of_text(text: &str) -> Self {
        let (keys, words): (Vec<&str>, Vec<&str>) =
            text.split_whitespace().partition(|word| word.contains('='));
        let keys = keys.into_iter().filter_map(|key| key.split_once('='));
        Self {
            words: words.into_iter().map(String::from).collect(),
            keys: keys.map(|(key, value)| (key.into(), value.into())).collect(),
        }
    }

    /// Takes the first word away.
    pub fn shift(&mut self) -> Result<String> {
        if self.words.is_empty() { Err("a word is missing".into()) } else { Ok(self.words.remove(0)) }
    }

    /// The same with a number in the place of every "_N".
    pub fn numbered(&self, number: usize) -> Self {
        let with = |text: &String| text.replace("_N", &number.to_string());
        Self {
            words: self.words.iter().map(with).collect(),
            keys: self.keys.iter().map(|(key, value)| (with(key), with(value))).collect(),
        }
    }

    /// Puts the revision that has a name in the place of a word that is this name.
    pub fn replace(&mut self, position: usize, named: &BTreeMap<String, Revision>) {
        if let Some(word) = self.words.get_mut(position)
            && let Some(revision) = named.get(word)
        {
            *word = revision.to_string();
        }
    }

    /// A mistake in a script must not go unnoticed.
    pub fn check_keys(&self, known: &[&str]) -> Result<()> {
        let common = ["as", "id", "made", "named"];
        let is_known = |key: &str| {
            known.contains(&key)
                || common.contains(&key)
                || known.contains(&"@") && key.contains('@')
                || known.contains(&"label.") && key.starts_with("label.")
        };
        match self.keys.iter().find(|(key, _)| !is_known(key)) {
            Some((key, _)) => Err(format!("no key {key:?} here").into()),
            None => Ok(()),
        }
    }

    pub fn word(&self, position: usize) -> Result<&str> {
        Ok(self.words.get(position).ok_or_else(|| format!("argument {position} is missing"))?)
    }

    pub fn has_word(&self, word: &str) -> bool {
        self.words.iter().any(|other| other == word)
    }

    pub fn key(&self, name: &str) -> Option<&str> {
        self.keys.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keys.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub fn required(&self, name: &str) -> Result<&str> {
        Ok(self.key(name).ok_or_else(|| format!("{name}= is missing"))?)
    }

    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.key(name).map(str::parse).transpose()?)
    }

    pub fn duration(&self, name: &str) -> Result<Option<u64>> {
        self.key(name).map(duration).transpose()
    }

    /// A time that is said as a duration from now.
    pub fn time_in(&self, name: &str, now: LogTime) -> Result<Option<LogTime>> {
        Ok(self.duration(name)?.map(|from_now| now + from_now))
    }

    pub fn path(&self, position: usize) -> Result<Path> {
        Ok(Path::parse(self.word(position)?)?)
    }

    pub fn name(&self, position: usize) -> Result<Name> {
        name_of(self.word(position)?)
    }

    pub fn quota(&self) -> Result<(Path, Name)> {
        Ok((self.path(0)?, self.name(1)?))
    }

    /// What stands behind `label.`.
    pub fn labels(&self) -> impl Iterator<Item = (String, String)> {
        self.keys()
            .filter_map(|(key, value)| Some((key.strip_prefix("label.")?.to_owned(), value.to_owned())))
    }

    pub fn lines(&self) -> Result<Vec<command::Line>> {
        let mut lines: Vec<command::Line> = Vec::new();
        for (key, value) in self.keys() {
            if let Some((scope, resource)) = key.split_once('@') {
                let (scope, resource) = (Path::parse(scope)?, name_of(resource)?);
                let amount = decimal(value)?;
                lines.push(command::Line { scope, resource, amount, minimum: None, if_sequence: None });
                continue;
            }
            let line = lines.last_mut().ok_or("stands after its line");
            match key {
                "if_sequence" => line?.if_sequence = Some(value.parse()?),
                "min" => line?.minimum = Some(decimal(value)?),
                _ => {}
            }
        }
        Ok(lines)
    }

    pub fn hold_amounts(&self) -> Result<Vec<command::HoldAmount>> {
        let lines = self.lines()?.into_iter();
        let amounts = lines.map(|line| {
            let command::Line { scope, resource, amount, .. } = line;
            command::HoldAmount { scope, resource, amount }
        });
        Ok(amounts.collect())
    }
}

pub fn name_of(text: &str) -> Result<Name> {
    Ok(Name::parse(text)?)
}

pub fn decimal(text: &str) -> Result<Decimal> {
    Ok(Decimal::from_str_exact(text)?)
}

const UNITS: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

/// Reads "1h30m".
pub fn duration(text: &str) -> Result<u64> {
    let mut rest = text;
    let mut sum = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or("a duration has a unit")?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let unit = &rest[digits..unit_end];
        let (_, ms) =
            UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| format!("no unit {unit:?}"))?;
        sum += rest[..digits].parse::<u64>()? * ms;
        rest = &rest[unit_end..];
    }
    Ok(sum)
}

/// Writes "1h30m".
pub fn duration_text(mut ms: u64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (name, unit) in UNITS {
        if ms >= unit {
            text.push_str(&format!("{}{name}", ms / unit));
            ms %= unit;
        }
    }
    text
}

/// Reads "1h_ago" or "1h_ahead" as a time.
pub fn off(text: &str, now: LogTime) -> Result<LogTime> {
    match text.rsplit_once('_') {
        Some((text, "ago")) => Ok(now - duration(text)?),
        Some((text, "ahead")) => Ok(now + duration(text)?),
        _ => Err("is like 1h_ago or 1h_ahead".into()),
    }
}
