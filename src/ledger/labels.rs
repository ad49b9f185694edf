//! Labels: what clients attach to scopes and holds, to find them again.

use std::sync::Arc;

use super::rejection::Malformed;

/// Most labels on one thing.
pub const MAX_LABELS: usize = 16;

/// Most characters of a key or a value.
pub const MAX_LABEL: usize = 63;

/// Sorted by key, each key once. Cloning shares them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(Option<Arc<[Label]>>);

/// A key and a value.
type Label = (Box<str>, Box<str>);

impl Labels {
    /// Checks labels; `field` names them in the error.
    pub fn new(field: &str, labels: impl IntoIterator<Item = (String, String)>) -> Result<Self, Malformed> {
        let mut sorted: Vec<Label> = Vec::new();
        for (key, value) in labels {
            let malformed = |problem: String| Malformed::new(format!("{field}[{key:?}]"), problem);
            check_key(&key).map_err(&malformed)?;
            check_text(&value).map_err(|problem| malformed(format!("has a value that {problem}")))?;
            sorted.push((key.into(), value.into()));
        }
        if sorted.len() > MAX_LABELS {
            return Err(Malformed::new(
                field,
                format!("has {}; at most {MAX_LABELS} are allowed", sorted.len()),
            ));
        }
        sorted.sort();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Malformed::new(field, format!("has the key {:?} twice", pair[0].0)));
        }
        Ok(if sorted.is_empty() { Self(None) } else { Self(Some(sorted.into())) })
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|labels| labels.iter().map(|(key, value)| (&**key, &**value)))
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether these are among them, with the same values.
    pub fn include(&self, wanted: &Self) -> bool {
        wanted.iter().all(|(key, value)| self.get(key) == Some(value))
    }
}

fn check_key(key: &str) -> Result<(), String> {
    if !key.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("is a key that does not begin with a letter or digit".into());
    }
    if let Some(bad) = key.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-/".contains(*c))) {
        return Err(format!(
            "is a key with {bad:?}; only letters, digits, '.', '_', '-' and '/' are allowed"
        ));
    }
    check_text(key)
}

/// Checks what clients attach: short, and without characters that upset a terminal.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    if text.chars().count() > MAX_LABEL {
        return Err(format!("has more than {MAX_LABEL} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("has a control character".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels, Malformed> {
        Labels::new("labels", pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())))
    }

    #[test]
    fn labels_are_the_same_in_any_order() {
        assert_eq!(labels(&[("a", "1"), ("b", "2")]), labels(&[("b", "2"), ("a", "1")]));
        assert_eq!(labels(&[]), Ok(Labels::default()));
    }

    #[test]
    fn bad_labels_are_refused() {
        let long = "a".repeat(MAX_LABEL + 1);
        for bad in [("", "x"), ("-a", "x"), ("a b", "x"), (&long, "x"), ("a", &long), ("a", "\n")] {
            assert!(labels(&[bad]).is_err(), "{bad:?} was accepted");
        }
        assert!(labels(&[("a", "1"), ("a", "2")]).is_err());
        let many = (0..=MAX_LABELS).map(|number| (format!("k{number}"), String::new()));
        assert!(Labels::new("labels", many).is_err());
    }

    #[test]
    fn wanted_labels_are_included_when_all_values_are_equal() {
        let all = labels(&[("a", "1"), ("b", "2")]).expect("labels");
        assert!(all.include(&Labels::default()));
        assert!(all.include(&labels(&[("b", "2")]).expect("labels")));
        assert!(!all.include(&labels(&[("b", "1")]).expect("labels")));
        assert!(!all.include(&labels(&[("c", "1")]).expect("labels")));
    }
}
