//! A report, as tables for people and as one JSON object for scripts.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::Value;
use serde_json::json;

use super::super::Failure;
use super::super::Output;
use super::super::output::fields;
use super::super::output::table;
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
        "per_second": rounded(report.throughput()),
        "calls": report.calls,
        "outcomes": {
            "done": outcomes.done,
            "partial": outcomes.partial,
            "denied": outcomes.denied,
            "refused": outcomes.refused,
            "unknown": outcomes.unknown,
            "unsent": outcomes.unsent,
        },
        "latency_ms": latency_json(&report.latency),
        "nodes": report.nodes.iter().map(|node| node_json(node, report)).collect::<Vec<_>>(),
        "generator": usage_json(&report.generator, report),
        "intervals": intervals.collect::<Vec<_>>(),
        "problem": report.problem,
        "notes": report.notes,
    })
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

fn usage_json(usage: &Usage, report: &Report) -> Value {
    let operations = report.outcomes.all().max(1) as f64;
    json!({
        "cpu_seconds": usage.cpu.as_secs_f64(),
        "cpu_us_per_operation": rounded(usage.cpu.as_secs_f64() * 1e6 / operations),
        "written_bytes": usage.written,
        "written_bytes_per_operation": usage.written.map(|bytes| rounded(bytes as f64 / operations)),
        "peak_memory_bytes": usage.peak_memory,
        "memory_bytes": usage.memory,
    })
}

fn text(report: &Report) -> String {
    let mut rows: Vec<(&str, String)> =
        report.facts.iter().map(|(name, value)| (*name, value.clone())).collect();
    rows.push(("measured", format!("{:.1} s, {} calls", report.measured.as_secs_f64(), report.calls)));
    let all = fields(&rows);
    let outcomes = outcomes(report);
    let throughput = format!("{}/s", thousands(report.throughput()));
    let mut text = format!("{all}\nthroughput  {throughput}\n{outcomes}");
    if !report.latency.is_empty() {
        let names = QUANTILES.map(|(name, _)| name).into_iter().chain(["max"]);
        let headers: Vec<String> =
            std::iter::once("latency".to_owned()).chain(names.map(|name| format!("#{name}"))).collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let values = QUANTILES.iter().map(|(_, quantile)| at(&report.latency, *quantile));
        let values = values.chain([Duration::from_nanos(report.latency.max())]);
        let row = std::iter::once("of a call".to_owned()).chain(values.map(milliseconds)).collect();
        text = format!("{text}\n{}\n", table(&headers, [row]));
    }
    text = format!("{text}\n{}\n", takers(report));
    if let Some(problem) = &report.problem {
        text = format!("{text}\nfirst problem: {problem}\n");
    }
    for note in &report.notes {
        text = format!("{text}\n{note}\n");
    }
    text
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
    ];
    let shown = all.iter().filter(|(name, count)| *name == "done" || *count > 0);
    let rows: Vec<String> =
        shown.map(|(name, count)| format!("{} {name}", thousands(*count as f64))).collect();
    format!("outcomes    {}\n", rows.join(", "))
}

/// What nodes and this program took.
fn takers(report: &Report) -> String {
    let operations = report.outcomes.all().max(1) as f64;
    let row = |name: String, role: &str, usage: Option<&Usage>| {
        let Some(usage) = usage else {
            let unseen = ["-", "-", "-", "-"].map(str::to_owned);
            return [name, format!("{role}, not on this machine")].into_iter().chain(unseen).collect();
        };
        let cpu = usage.cpu.as_secs_f64();
        let written = |per: f64| usage.written.map_or("-".to_owned(), |bytes| thousands(bytes as f64 / per));
        vec![
            name,
            role.to_owned(),
            format!("{cpu:.2}"),
            format!("{:.2}", cpu * 1e6 / operations),
            written(operations),
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
