//! A report, as tables for people and as one JSON object for scripts.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::Value;
use serde_json::json;

use super::super::Failure;
use super::super::Output;
use super::super::output::fields;
use super::super::output::or_dash;
use super::super::output::table;
use crate::bench::Figure;
use crate::bench::NodeUse;
use crate::bench::Report;
use crate::bench::Usage;

/// The quantiles that are shown, as they are called.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

pub(super) fn show(report: &Report, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        output.line(&json(report).to_string())?;
    } else {
        output.line(text(report).trim_end())?;
    }
    Ok(())
}

/// One object. Times in it are in milliseconds, and memory and disk in bytes.
pub(super) fn json(report: &Report) -> Value {
    let figures: serde_json::Map<String, Value> =
        report.figures.iter().map(|figure| (key(figure), json!(rounded(figure.value)))).collect();
    let facts: serde_json::Map<String, Value> =
        report.facts.iter().map(|(name, value)| ((*name).replace(' ', "_"), json!(value))).collect();
    let outcomes = &report.outcomes;
    let intervals = report.intervals.iter().map(|interval| {
        json!({
            "end_s": interval.end.as_secs_f64(),
            "per_second": rounded(interval.useful as f64 / interval.length.as_secs_f64().max(1e-9)),
            "p50_ms": ms(interval.p50),
            "p99_ms": ms(interval.p99),
        })
    });
    json!({
        "facts": facts,
        "seconds": report.measured.as_secs_f64(),
        "throughput_of": report.throughput_of,
        "throughput_per_second": report.throughput_of.map(|_| rounded(report.throughput())),
        "calls": report.calls,
        "outcomes": {
            "done": outcomes.done,
            "partial": outcomes.partial,
            "denied": outcomes.denied,
            "refused": outcomes.refused,
            "unknown": outcomes.unknown,
            "unsent": outcomes.unsent,
            "late": outcomes.late,
        },
        "latency_of": report.latency_of,
        "latency_ms": latency_json(&report.latency),
        "figures": figures,
        "nodes": report.nodes.iter().map(|node| node_json(node, report)).collect::<Vec<_>>(),
        "generator": usage_json(&report.generator, report),
        "intervals": intervals.collect::<Vec<_>>(),
        "problem": report.problem,
        "notes": report.notes,
    })
}

/// The name of a figure with its unit, as scripts like it.
fn key(figure: &Figure) -> String {
    let unit = if figure.unit == "/s" { "per second" } else { figure.unit };
    let name = format!("{} {unit}", figure.name);
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

fn latency_json(latency: &Histogram<u64>) -> Value {
    if latency.is_empty() {
        return Value::Null;
    }
    let mut json = json!({
        "count": latency.len(),
        "mean": ms(Duration::from_nanos(whole(latency.mean()))),
        "max": ms(Duration::from_nanos(latency.max())),
    });
    for (name, quantile) in QUANTILES {
        json[name] = json!(ms(at(latency, quantile)));
    }
    json
}

fn node_json(node: &NodeUse, report: &Report) -> Value {
    let mut json = node.usage.as_ref().map_or_else(|| json!({}), |usage| usage_json(usage, report));
    json["address"] = json!(node.address);
    json["leader"] = json!(node.is_leader);
    json
}

/// None where there are no operations to speak of.
fn per_operation(report: &Report, total: f64) -> Option<f64> {
    report.throughput_of.map(|_| total / report.outcomes.all().max(1) as f64)
}

fn usage_json(usage: &Usage, report: &Report) -> Value {
    json!({
        "cpu_seconds": usage.cpu.as_secs_f64(),
        "cpu_us_per_operation": per_operation(report, usage.cpu.as_secs_f64() * 1e6).map(rounded),
        "written_bytes": usage.written,
        "written_bytes_per_operation":
            usage.written.and_then(|bytes| per_operation(report, bytes as f64)).map(rounded),
        "peak_memory_bytes": usage.peak_memory,
        "memory_bytes": usage.memory,
    })
}

fn text(report: &Report) -> String {
    let mut rows: Vec<(&str, String)> =
        report.facts.iter().map(|(name, value)| (*name, value.clone())).collect();
    let seconds = report.measured.as_secs_f64();
    let seconds = if seconds < 1.0 { format!("{seconds:.3} s") } else { format!("{seconds:.1} s") };
    rows.push(("measured", seconds));
    if let Some(of) = report.throughput_of {
        rows.push(("throughput", format!("{}/s ({of})", thousands(report.throughput()))));
    }
    rows.push(("outcomes", outcomes(report)));
    for figure in &report.figures {
        rows.push((figure.name, format!("{} {}", number(figure.value), figure.unit).trim_end().to_owned()));
    }
    let mut parts = vec![fields(&rows)];
    if !report.latency.is_empty() {
        parts.push(latency(report));
    }
    parts.push(takers(report));
    parts.extend(report.problem.iter().map(|problem| format!("first problem: {problem}")));
    parts.extend(report.notes.iter().cloned());
    parts.iter().map(|part| part.trim_end()).collect::<Vec<_>>().join("\n\n")
}

fn latency(report: &Report) -> String {
    let headers = QUANTILES.map(|(name, _)| format!("#{name}"));
    let headers = ["latency"].into_iter().chain(headers.iter().map(String::as_str)).chain(["#max", "#of"]);
    let values = QUANTILES.iter().map(|(_, quantile)| at(&report.latency, *quantile));
    let values = values.chain([Duration::from_nanos(report.latency.max())]);
    let row = [report.latency_of.to_owned()].into_iter().chain(values.map(milliseconds));
    let row = row.chain([thousands(report.latency.len() as f64)]).collect();
    table(&headers.collect::<Vec<_>>(), [row])
}

/// Only what there was, but always what was done: denials must not be taken for throughput.
fn outcomes(report: &Report) -> String {
    let outcomes = &report.outcomes;
    let all = [
        ("done", outcomes.done),
        ("partial", outcomes.partial),
        ("denied", outcomes.denied),
        ("refused", outcomes.refused),
        ("unknown", outcomes.unknown),
        ("not sent", outcomes.unsent),
        ("not begun in time", outcomes.late),
    ];
    let shown = all.iter().filter(|(name, count)| *name == "done" || *count > 0);
    let rows: Vec<String> =
        shown.map(|(name, count)| format!("{} {name}", thousands(*count as f64))).collect();
    rows.join(", ")
}

/// What nodes and this program took.
fn takers(report: &Report) -> String {
    let row = |name: String, role: &str, usage: Option<&Usage>| {
        let Some(usage) = usage else {
            let unseen = ["-", "-", "-", "-"].map(str::to_owned);
            return [name, format!("{role}, not on this machine")].into_iter().chain(unseen).collect();
        };
        let cpu = usage.cpu.as_secs_f64();
        let written = usage.written.and_then(|bytes| per_operation(report, bytes as f64));
        let cpu_each = per_operation(report, cpu * 1e6);
        vec![
            name,
            role.to_owned(),
            format!("{cpu:.2}"),
            or_dash(cpu_each.map(|each| format!("{each:.2}"))),
            or_dash(written.map(thousands)),
            format!("{:.1}", usage.peak_memory as f64 / f64::from(1 << 20)),
        ]
    };
    let nodes = report.nodes.iter().map(|node| {
        let role = if node.is_leader { "leader" } else { "follower" };
        row(node.address.clone(), role, node.usage.as_ref())
    });
    let rows = nodes.chain([row("this program".to_owned(), "asks", Some(&report.generator))]);
    table(&["process", "role", "#CPU s", "#CPU us/op", "#written B/op", "#peak MB"], rows)
}

fn at(latency: &Histogram<u64>, quantile: f64) -> Duration {
    Duration::from_nanos(latency.value_at_quantile(quantile))
}

fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        _ if ms < 10.0 => format!("{ms:.3} ms"),
        _ if ms < 100.0 => format!("{ms:.2} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

/// To three digits behind the point.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// Cut to a whole number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It is neither negative nor huge.
fn whole(number: f64) -> u64 {
    number as u64
}

/// As many digits as tell something.
fn number(number: f64) -> String {
    if number < 100.0 && number.fract() != 0.0 { format!("{number:.2}") } else { thousands(number) }
}

/// A whole number with commas.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Interval;
    use crate::bench::Outcomes;

    fn report() -> Report {
        let mut latency = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("valid bounds");
        for ms in 1..=1_000_u64 {
            latency.record(ms * 1_000_000).expect("within the bounds");
        }
        let interval = Interval {
            end: Duration::from_secs(2),
            length: Duration::from_secs(2),
            useful: 4_000,
            p50: Duration::from_millis(3),
            p99: Duration::from_micros(4_500),
        };
        let usage = Usage {
            cpu: Duration::from_secs(1),
            written: Some(10_000),
            peak_memory: 100 << 20,
            memory: 50 << 20,
        };
        let node = |address: &str, usage| NodeUse { address: address.to_owned(), is_leader: false, usage };
        Report {
            facts: vec![("work", "one reservation per call".to_owned())],
            measured: Duration::from_secs(2),
            throughput_of: Some("reservations"),
            outcomes: Outcomes { done: 4_000, denied: 1_000, ..Outcomes::default() },
            calls: 5_000,
            latency_of: "of a call",
            latency,
            figures: vec![Figure { name: "in the last minute", value: 2.5, unit: "/s" }],
            intervals: vec![interval],
            nodes: vec![node("a:1", Some(usage)), node("b:1", None)],
            generator: Usage::default(),
            problem: Some("said so".to_owned()),
            notes: Vec::new(),
        }
    }

    #[test]
    fn json_has_what_scripts_look_for() {
        let json = json(&report());
        assert_eq!(json["throughput_per_second"], 2_000.0);
        assert_eq!(json["outcomes"]["done"], 4_000);
        assert_eq!(json["outcomes"]["denied"], 1_000);
        let is_about = |value: &Value, ms: f64| (value.as_f64().expect("a number") / ms - 1.0).abs() < 0.002;
        assert!(is_about(&json["latency_ms"]["p50"], 500.0));
        assert!(
            is_about(&json["latency_ms"]["p99.9"], 999.0) && is_about(&json["latency_ms"]["max"], 1_000.0)
        );
        // Of five thousand operations, denials included.
        assert_eq!(json["nodes"][0]["cpu_us_per_operation"], 200.0);
        assert_eq!(json["nodes"][0]["written_bytes_per_operation"], 2.0);
        assert!(json["nodes"][1].get("cpu_seconds").is_none());
        assert_eq!(json["intervals"][0]["p99_ms"], 4.5);
        assert_eq!(json["figures"]["in_the_last_minute_per_second"], 2.5);
        assert_eq!(json["problem"], "said so");
    }

    #[test]
    fn denials_are_no_throughput_and_are_shown_beside_it() {
        let text = text(&report());
        assert!(
            text.contains("2,000/s (reservations)") && text.contains("4,000 done, 1,000 denied"),
            "{text}"
        );
        assert!(text.contains("p99.9") && text.contains("not on this machine"), "{text}");
        assert!(text.contains("first problem: said so"), "{text}");
    }

    #[test]
    fn a_measurement_of_nothing_has_no_latency() {
        let empty = Report { latency: Histogram::new(3).expect("three digits"), ..report() };
        assert!(json(&empty)["latency_ms"].is_null());
        assert!(!text(&empty).contains("p99"));
    }

    #[test]
    fn large_numbers_have_commas() {
        assert_eq!([0.0, 999.0, 1_000.4, 1_234_567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
