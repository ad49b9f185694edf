//! Where the log of the program goes: standard error, as text or JSON.
//!
//! Knows the log settings and nothing else. Standard output stays free for the answers of the
//! client verbs.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::LogFormat;
use crate::config::LogSettings;

/// Libraries whose `info` is about their own insides. They are heard from `warn` on unless the
/// settings name them.
const QUIET: [&str; 4] = ["openraft", "h2", "hyper", "tower"];

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The directives cannot be parsed.
    #[error("log.level {level:?}: {source}; use a level such as info, or info,quorate::raft=debug")]
    Level {
        /// The directives.
        level: String,
        /// What is wrong with them.
        source: ParseError,
    },
    /// There is a subscriber already.
    #[error("set up logging: {0}; it can be set up once in a process")]
    Again(Box<dyn std::error::Error + Send + Sync>),
}

/// Sends the log of this process to standard error. Once, before anything is logged.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(&settings.level)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    }
    .map_err(TelemetryError::Again)
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let directives = with_quiet_libraries(level);
    EnvFilter::builder()
        .parse(directives)
        .map_err(|source| TelemetryError::Level { level: level.to_owned(), source })
}

/// The directives with one for each quiet library that they do not name; never louder than what
/// was asked for.
fn with_quiet_libraries(level: &str) -> String {
    let general = level.split(',').filter_map(|directive| directive.parse::<LevelFilter>().ok()).next_back();
    let quiet = general.unwrap_or(LevelFilter::ERROR).min(LevelFilter::WARN);
    let mut directives = level.to_owned();
    for library in QUIET.iter().filter(|library| !level.contains(*library)) {
        directives.push_str(&format!(",{library}={quiet}"));
    }
    directives
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        assert_eq!(with_quiet_libraries("info"), "info,openraft=warn,h2=warn,hyper=warn,tower=warn");
        assert_eq!(
            with_quiet_libraries("debug,openraft=info,h2=off,hyper=off,tower=off")
                .matches("openraft")
                .count(),
            1
        );
    }

    #[test]
    fn quiet_libraries_are_never_louder_than_what_was_asked_for() {
        assert!(with_quiet_libraries("error").contains("openraft=error"));
        assert!(with_quiet_libraries("off").contains("openraft=off"));
        assert!(with_quiet_libraries("quorate=debug").contains("openraft=error"));
    }

    #[test]
    fn levels_and_directives_become_filters() {
        for level in ["info", "INFO", "off", "info,quorate::raft=debug", "warn,openraft=trace"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        assert!(filter("info,quorate=loud").is_err());
    }
}
