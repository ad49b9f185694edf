//! Deadlines of calls, as the gRPC protocol carries them.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Request;

/// How long before the caller gives up an answer must be on its way.
const MARGIN: Duration = Duration::from_millis(50);

/// The longest a call may wait, whatever it asks for.
const LONGEST: Duration = Duration::from_secs(3600);

/// When a call must be answered, by the timeout its caller set: a little before it, or the caller
/// would hear of a time-out instead of what the node has to say.
pub fn deadline<T>(request: &Request<T>, default: Duration) -> Instant {
    let timeout = request
        .metadata()
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok())
        .and_then(parse_timeout)
        .unwrap_or(default);
    let timeout = timeout.min(LONGEST);
    Instant::now() + timeout - (timeout / 10).min(MARGIN)
}

/// Reads the `grpc-timeout` of the gRPC protocol: up to 8 digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount.checked_mul(3600)?),
        "M" => Duration::from_secs(amount.checked_mul(60)?),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_the_protocol_are_understood() {
        assert_eq!(parse_timeout("10S"), Some(Duration::from_secs(10)));
        assert_eq!(parse_timeout("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "S", "10", "10x", "-1S", "é"] {
            assert_eq!(parse_timeout(bad), None, "{bad:?}");
        }
    }
}
