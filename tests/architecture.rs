//! Who may know whom: the directions of dependency between the top-level modules, and what the
//! rules of the ledger must never touch. Read from the source text, so it holds for every build.
//!
//! Code under `#[cfg(test)]` obeys the import table too; it is free of the bans on words.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// Each top-level module with the modules of this crate that it may import.
const IMPORTS: [(&str, &[&str]); 19] = [
    ("planted", &[]),
    ("ledger", &[]),
    ("codec", &["ledger", "proto"]),
    ("store", &[]),
    ("net", &[]),
    ("clock", &[]),
    ("config", &[]),
    ("telemetry", &["config"]),
    ("proto", &[]),
    ("raft", &["ledger", "codec", "store", "net", "proto", "clock"]),
    ("projection", &["ledger", "codec", "store", "proto"]),
    ("rng", &[]),
    // What nodes relay to each other is protobuf, like what Raft sends.
    ("node", &["raft", "projection", "ledger", "clock", "rng", "codec", "store", "proto"]),
    ("api", &["node", "projection", "codec", "ledger", "store", "proto"]),
    ("client", &["proto", "codec"]),
    ("audit", &["ledger", "codec", "proto"]),
    // A client that asks for much; it also measures the rules by themselves.
    ("bench", &["client", "ledger"]),
    ("cli", &["client", "audit", "bench", "codec", "proto", "config"]),
    ("server", &ALL),
];

/// What the composition root wires together.
const ALL: [&str; 17] = [
    "ledger",
    "codec",
    "store",
    "net",
    "clock",
    "config",
    "telemetry",
    "proto",
    "raft",
    "projection",
    "rng",
    "node",
    "api",
    "client",
    "audit",
    "bench",
    "cli",
];

/// What every module may import besides: where a known bug is planted, one line asks for it. In a build
/// without that feature it is a constant.
const EVERYWHERE: [&str; 1] = ["planted"];

/// Files at the root that tie the modules together and may name all of them.
const ROOTS: [&str; 2] = ["lib.rs", "main.rs"];

/// Words that must not stand under `ledger`: the same command must have the same outcome on every
/// node, today and at every replay.
const BANNED_WORDS: [(&str, &str); 12] = [
    ("HashMap", "its order differs from run to run; use BTreeMap"),
    ("HashSet", "its order differs from run to run; use BTreeSet"),
    ("tokio", "rules do not wait"),
    ("async", "rules do not wait"),
    ("await", "rules do not wait"),
    ("rand", "rules do not throw dice"),
    ("serde", "encodings belong to codec"),
    ("prost", "encodings belong to codec"),
    ("tonic", "transport belongs to api"),
    ("proto", "encodings belong to codec"),
    ("f32", "amounts are decimals"),
    ("f64", "amounts are decimals"),
];

/// Modules of the standard library that must not be used under `ledger`.
const BANNED_STD: [(&str, &str); 7] = [
    ("time", "rules see log time only"),
    ("fs", "rules do no I/O"),
    ("io", "rules do no I/O"),
    ("net", "rules do no I/O"),
    ("env", "rules see state and command only"),
    ("process", "rules are total"),
    ("thread", "rules do not wait"),
];

/// Crates that one place alone may name, because it is all that would have to change with them.
const OWNED_CRATES: [(&str, &str); 2] = [("rocksdb", "store/rocks"), ("bincode", "codec")];

#[test]
fn the_source_obeys_the_architecture() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let violations = check_tree(&source);
    let list = violations.iter().map(|violation| format!("\n  {violation}")).collect::<String>();
    assert!(violations.is_empty(), "the architecture is violated:{list}");
}

/// One line of one file that breaks a rule.
#[derive(Debug)]
struct Violation {
    file: String,
    line: usize,
    problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file, self.line, self.problem)
    }
}

fn check_tree(source: &Path) -> Vec<Violation> {
    let mut paths = Vec::new();
    collect(source, &mut paths);
    assert!(!paths.is_empty(), "no source under {}", source.display());
    let texts: Vec<(String, String)> = paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(source).expect("is below").to_str().expect("is UTF-8").to_owned();
            (name, fs::read_to_string(path).expect("read a source file"))
        })
        .collect();
    check_files(&texts)
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("list a folder");
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("list a folder").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Checks files, each with its name relative to `src` and its text.
fn check_files(texts: &[(String, String)]) -> Vec<Violation> {
    let files: Vec<File<'_>> = texts.iter().map(|(name, text)| File::new(name, text)).collect();
    let test_modules: BTreeSet<String> = files.iter().flat_map(File::out_of_line_tests).collect();
    let is_test = |name: &str| {
        test_modules.iter().any(|module| {
            name.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    };
    files.iter().flat_map(|file| file.check(is_test(file.name))).collect()
}

/// A word or a mark of the source, without comments, texts and characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token<'a> {
    text: &'a str,
    line: usize,
    is_test: bool,
}

struct File<'a> {
    /// Relative to `src`, with `/`.
    name: &'a str,
    tokens: Vec<Token<'a>>,
}

impl<'a> File<'a> {
    fn new(name: &'a str, text: &'a str) -> Self {
        let mut tokens = tokenize(text);
        mark_tests(&mut tokens);
        Self { name, tokens }
    }

    /// The module this file is: `["config", "check"]` for `config/check.rs`.
    fn module(&self) -> Vec<&'a str> {
        let mut parts: Vec<&str> = self.name.trim_end_matches(".rs").split('/').collect();
        if parts.last().is_some_and(|last| matches!(*last, "mod" | "lib" | "main")) {
            parts.pop();
        }
        parts
    }

    fn violation(&self, line: usize, problem: String) -> Violation {
        Violation { file: self.name.to_owned(), line, problem }
    }

    fn check(&self, whole_file_is_test: bool) -> Vec<Violation> {
        if ROOTS.contains(&self.name) {
            return Vec::new();
        }
        let own = self.module()[0];
        let Some((_, allowed)) = IMPORTS.iter().find(|(module, _)| *module == own) else {
            let problem = format!("unknown top-level module {own}: give it a line in the import table");
            return vec![self.violation(1, problem)];
        };
        let mut violations = Vec::new();
        for (line, target) in self.crate_paths() {
            if target != own && !allowed.contains(&target) && !EVERYWHERE.contains(&target) {
                let may =
                    if allowed.is_empty() { "nothing of the crate".to_owned() } else { allowed.join(", ") };
                violations.push(self.violation(line, format!("{own} imports {target}; it may import {may}")));
            }
        }
        for token in &self.tokens {
            if let Some((name, owner)) = OWNED_CRATES.iter().find(|(name, _)| *name == token.text)
                && !self.name.starts_with(owner)
            {
                violations
                    .push(self.violation(token.line, format!("{name} may be named in src/{owner} alone")));
            }
        }
        if own == "ledger" && !whole_file_is_test {
            violations.extend(self.impurities());
        }
        violations
    }

    /// What makes the rules of the ledger depend on more than state and command.
    fn impurities(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (position, token) in self.tokens.iter().enumerate().filter(|(_, token)| !token.is_test) {
            if let Some((word, why)) = BANNED_WORDS.iter().find(|(word, _)| *word == token.text) {
                violations.push(self.violation(token.line, format!("{word} under ledger: {why}")));
            }
            if is_float(token.text) && !self.is_at(position.wrapping_sub(1), ".") {
                let problem = format!("floating point {} under ledger: amounts are decimals", token.text);
                violations.push(self.violation(token.line, problem));
            }
            if matches!(token.text, "std" | "core" | "alloc") {
                for (line, module) in self.children(position) {
                    if let Some((_, why)) = BANNED_STD.iter().find(|(banned, _)| *banned == module) {
                        let problem = format!("{}::{module} under ledger: {why}", token.text);
                        violations.push(self.violation(line, problem));
                    }
                }
            }
        }
        violations
    }

    /// Every `crate::x`, `use crate::{x, y}` and every chain of `super` that ends at the root,
    /// with its line.
    fn crate_paths(&self) -> Vec<(usize, &'a str)> {
        let mut found = Vec::new();
        let depth = self.module().len();
        // The inline modules that are open here, each by the depth of its braces.
        let mut inline: Vec<usize> = Vec::new();
        let mut braces = 0_usize;
        let mut position = 0;
        while position < self.tokens.len() {
            match self.tokens[position].text {
                "{" => {
                    braces += 1;
                    if self.is_at(position.wrapping_sub(2), "mod") {
                        inline.push(braces);
                    }
                }
                "}" => {
                    if inline.last() == Some(&braces) {
                        inline.pop();
                    }
                    braces = braces.saturating_sub(1);
                }
                "crate" => found.extend(self.children(position)),
                "super" => {
                    let mut levels = 1;
                    while self.is_at(position + 1, "::") && self.is_at(position + 2, "super") {
                        position += 2;
                        levels += 1;
                    }
                    if levels == depth + inline.len() {
                        found.extend(self.children(position));
                    }
                }
                _ => {}
            }
            position += 1;
        }
        found
    }

    /// The names directly below the path segment at `position`: one, or those of a group.
    fn children(&self, position: usize) -> Vec<(usize, &'a str)> {
        let mut names = Vec::new();
        if !self.is_at(position + 1, "::") {
            return names;
        }
        if !self.is_at(position + 2, "{") {
            names.extend(self.tokens.get(position + 2).map(|token| (token.line, token.text)));
            return names;
        }
        let mut depth = 0;
        let mut begins_a_path = false;
        for token in &self.tokens[position + 2..] {
            match token.text {
                "{" => depth += 1,
                "}" => depth -= 1,
                name if begins_a_path && is_word(name) => names.push((token.line, name)),
                _ => {}
            }
            if depth == 0 {
                break;
            }
            begins_a_path = depth == 1 && matches!(token.text, "{" | ",");
        }
        names
    }

    /// Modules in files of their own that exist for tests alone, as paths without `.rs`.
    fn out_of_line_tests(&self) -> Vec<String> {
        let folder = self.module().join("/");
        self.tokens
            .windows(3)
            .filter(|window| window[0].is_test && window[0].text == "mod" && window[2].text == ";")
            .map(|window| format!("{folder}/{}", window[1].text).trim_start_matches('/').to_owned())
            .collect()
    }

    fn is_at(&self, position: usize, text: &str) -> bool {
        self.tokens.get(position).is_some_and(|token| token.text == text)
    }
}

/// Marks what `#[cfg(test)]` governs: up to the end of its block, or its semicolon.
fn mark_tests(tokens: &mut [Token<'_>]) {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut position = 0;
    while position + attribute.len() <= tokens.len() {
        let here = tokens[position..position + attribute.len()].iter().map(|token| token.text);
        if !here.eq(attribute) {
            position += 1;
            continue;
        }
        let mut depth = 0_usize;
        position += attribute.len();
        while let Some(token) = tokens.get_mut(position) {
            token.is_test = true;
            position += 1;
            match token.text {
                "{" | "(" | "[" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                "}" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        break;
                    }
                }
                ";" if depth == 0 => break,
                _ => {}
            }
        }
    }
}

/// Splits Rust source into words, numbers and marks (`::` is one mark). Comments, texts and
/// characters are left out: they may say what they like.
fn tokenize(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut position = 0;
    let mut line = 1;
    while let Some(next) = text[position..].chars().next() {
        let rest = &text[position..];
        let (length, is_token) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (block_comment(rest), false)
        } else if let Some(length) = quoted(rest) {
            (length, false)
        } else if next.is_whitespace() {
            (next.len_utf8(), false)
        } else if next.is_ascii_digit() {
            (number(rest), true)
        } else if next.is_alphabetic() || next == '_' {
            (rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()), true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (next.len_utf8(), true)
        };
        if is_token {
            tokens.push(Token { text: &rest[..length], line, is_test: false });
        }
        line += rest[..length].matches('\n').count();
        position += length;
    }
    tokens
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut position = 0;
    while position < rest.len() {
        let here = &rest.as_bytes()[position..];
        if here.starts_with(b"/*") {
            depth += 1;
            position += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return position;
            }
        } else {
            position += 1;
        }
    }
    rest.len()
}

/// The length of the text or character that begins here, if one does. A lifetime is neither.
fn quoted(rest: &str) -> Option<usize> {
    let unprefixed = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let prefix = rest.len() - unprefixed.len();
    if let Some(raw) = unprefixed.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let content = prefix + 1 + hashes + 1;
            return Some(rest[content..].find(&end).map_or(rest.len(), |at| content + at + end.len()));
        }
    }
    if unprefixed.starts_with('"') {
        return Some(prefix + closing(unprefixed, '"'));
    }
    let mut inside = unprefixed.strip_prefix('\'')?.chars();
    let first = inside.next()?;
    (first == '\\' || inside.next() == Some('\'')).then(|| prefix + closing(unprefixed, '\''))
}

fn closing(quoted: &str, mark: char) -> usize {
    let mut escaped = false;
    for (position, character) in quoted.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == mark {
            return position + 1;
        }
    }
    quoted.len()
}

/// Digits, letters of a suffix, and a point that a digit follows: `0..10` is not one number.
fn number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut length = 0;
    while let Some(byte) = bytes.get(length) {
        let point = *byte == b'.' && bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
        if !byte.is_ascii_alphanumeric() && *byte != b'_' && !point {
            break;
        }
        length += 1;
    }
    length
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn is_float(text: &str) -> bool {
    let number = text.starts_with(|c: char| c.is_ascii_digit()) && !text.starts_with("0x");
    number && (text.contains('.') || text.ends_with("f32") || text.ends_with("f64"))
}

/// The checker itself: each rule is broken once, and must be reported.
mod the_checker {
    use super::*;

    fn problems(name: &str, text: &str) -> Vec<String> {
        check_files(&[(name.to_owned(), text.to_owned())]).iter().map(Violation::to_string).collect()
    }

    #[track_caller]
    fn assert_reports(name: &str, text: &str, expected: &str) {
        let found = problems(name, text);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "wanted one report with {expected:?} for {name}: {text}\ngot {found:?}"
        );
    }

    #[track_caller]
    fn assert_accepts(name: &str, text: &str) {
        let found = problems(name, text);
        assert!(found.is_empty(), "{name}: {text}\ngot {found:?}");
    }

    #[test]
    fn reports_an_import_against_the_direction() {
        assert_reports(
            "ledger/mod.rs",
            "use crate::codec::Row;",
            "src/ledger/mod.rs:1: ledger imports codec",
        );
        assert_reports(
            "store/rocks.rs",
            "\n\nuse crate::raft::Log;",
            "src/store/rocks.rs:3: store imports raft",
        );
        assert_reports("api/mod.rs", "fn f() { crate::raft::g(); }", "api imports raft");
        assert_reports("node.rs", "pub(crate) use crate::api as other;", "node imports api");
    }

    #[test]
    fn lets_every_module_ask_for_a_planted_bug_and_that_module_for_nothing() {
        assert_accepts("ledger/a.rs", "use crate::planted::planted;");
        assert_reports("planted.rs", "use crate::clock::Clock;", "planted imports clock");
    }

    #[test]
    fn reports_every_name_of_a_group() {
        let found =
            problems("client/mod.rs", "use crate::{proto::v1::{self, Line}, node::{a, b}, client, api};");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("imports node") && found[1].contains("imports api"), "{found:?}");
    }

    #[test]
    fn reports_the_way_round_through_super() {
        assert_reports("net.rs", "use super::store::Batch;", "net imports store");
        assert_reports("store/rocks.rs", "use super::super::net::Net;", "store imports net");
        assert_reports("net.rs", "mod inner { use super::super::clock::Clock; }", "net imports clock");
        assert_accepts("store/rocks.rs", "use super::net; mod inner { use super::super::node; }");
    }

    #[test]
    fn reports_a_module_that_is_not_in_the_table() {
        assert_reports("helpers.rs", "", "unknown top-level module helpers");
        assert_reports("util/mod.rs", "use crate::ledger;", "unknown top-level module util");
    }

    #[test]
    fn reports_each_banned_word_under_ledger_and_nowhere_else() {
        for (word, _) in BANNED_WORDS {
            assert_reports("ledger/state.rs", &format!("use {word};"), word);
            assert_accepts("node.rs", &format!("use {word};"));
        }
    }

    #[test]
    fn reports_each_banned_part_of_the_standard_library_however_it_is_named() {
        for (module, _) in BANNED_STD {
            assert_reports("ledger/a.rs", &format!("use std::{module}::X;"), module);
            assert_reports("ledger/a.rs", &format!("use std::{{fmt, {module}::{{X, Y}}}};"), module);
            assert_reports("ledger/a.rs", &format!("fn f() {{ ::core::{module}::x() }}"), module);
        }
        assert_accepts("ledger/a.rs", "use std::{fmt, collections::{BTreeMap, time}}; let time = 1;");
    }

    #[test]
    fn reports_floating_point_and_not_ranges_and_tuples() {
        assert_reports("ledger/a.rs", "let a = 1.5;", "floating point 1.5");
        assert_reports("ledger/a.rs", "let a = 1f64;", "floating point 1f64");
        assert_accepts("ledger/a.rs", "for i in 0..10 { pair.0.1; 0xf64; 1_000u64; }");
    }

    #[test]
    fn reports_an_owned_crate_outside_of_its_owner() {
        assert_reports("raft/log.rs", "use rocksdb::DB;", "rocksdb may be named in src/store/rocks alone");
        assert_reports("node.rs", "bincode::encode(x);", "bincode may be named in src/codec alone");
        assert_accepts("store/rocks.rs", "use rocksdb::DB;");
        assert_accepts("codec/local.rs", "use bincode::config;");
    }

    #[test]
    fn is_not_misled_by_comments_texts_and_lifetimes() {
        assert_accepts(
            "ledger/mod.rs",
            r####"
            //! No HashMap, no `use crate::codec`.
            /* async /* nested: tokio */ f64 */
            fn f<'tokio_>(c: char) -> &'static str {
                let quote = '"'; let escaped = '\''; let byte = b'"';
                r#"HashMap "quoted" rand"#; "\" serde"; b"prost"
            }
            "####,
        );
        assert_reports("ledger/mod.rs", "let a = '\"'; use tokio; let b = '\"';", "tokio");
        assert_reports("ledger/mod.rs", "let a = \"text \\\\\"; use tokio;", "tokio");
    }

    #[test]
    fn lets_tests_of_the_ledger_use_what_rules_may_not_but_not_import_against_the_direction() {
        assert_accepts("ledger/a.rs", "#[cfg(test)] mod tests { use std::fs; fn f() { HashMap; } }");
        assert_reports("ledger/a.rs", "#[cfg(test)] mod tests { use x; } use HashSet;", "HashSet");
        assert_reports("ledger/a.rs", "#[cfg(test)] use x::f; use HashSet;", "HashSet");
        assert_reports("ledger/a.rs", "#[cfg(test)] mod tests { use crate::codec; }", "ledger imports codec");
    }

    #[test]
    fn knows_the_files_that_exist_for_tests_alone() {
        let check = |declaration: &str| {
            let files = [("ledger/mod.rs", declaration), ("ledger/tests.rs", "use std::fs;")];
            check_files(&files.map(|(name, text)| (name.to_owned(), text.to_owned()))).len()
        };
        assert_eq!(check("#[cfg(test)]\nmod tests;"), 0);
        assert_eq!(check("mod tests;"), 1);
    }

    #[test]
    fn finds_no_circle_in_the_import_table() {
        let mut below: BTreeSet<&str> = BTreeSet::new();
        while below.len() < IMPORTS.len() {
            let next = IMPORTS.iter().find(|(module, allowed)| {
                !below.contains(module) && allowed.iter().all(|import| below.contains(import))
            });
            let (module, _) = next.expect("some module imports only modules that are below it");
            below.insert(module);
        }
    }
}
