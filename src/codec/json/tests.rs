use std::collections::BTreeSet;

use prost::Message as _;

use super::*;
use crate::proto::v1;
use crate::proto::v1::export_record::Record;

fn exported(record: Record) -> v1::ExportRecord {
    v1::ExportRecord { record: Some(record), leaf_hash: vec![0xFB; 32] }
}

fn line(record: &v1::ExportRecord) -> String {
    serde_json::to_string(record).expect("JSON")
}

/// What a message is made of, and encoded to.
fn by_message(line: &str) -> Result<Vec<u8>, String> {
    let message: v1::ExportRecord = serde_json::from_str(line).map_err(|error| error.to_string())?;
    Ok(message.encode_to_vec())
}

fn event() -> v1::Event {
    let touched = v1::Touched { scope: "acme/\u{fc}".into(), resource: "gpu".into(), ..Default::default() };
    let line = v1::Line { scope: "acme".into(), amount: "1".into(), ..Default::default() };
    let labels = [("a", "1"), ("b", ""), ("", "c")].map(|(key, value)| (key.into(), value.into()));
    let reserve = v1::ReserveRequest {
        lines: vec![line],
        ttl_ms: Some(0),
        labels: labels.into(),
        mode: v1::Mode::Partial.into(),
        ..Default::default()
    };
    v1::Event {
        revision: u64::MAX,
        fingerprint: vec![255, 0, 7],
        touched: vec![touched, v1::Touched::default()],
        part: Some(v1::Part::default()),
        command: Some(v1::BatchCommand {
            tag: 0,
            command: Some(v1::batch_command::Command::Reserve(reserve)),
        }),
        body: Some(v1::event::Body::Unchanged(v1::Unchanged { command: "x".repeat(200), version: 1 })),
        ..Default::default()
    }
}

#[test]
fn what_is_exported_is_encoded_as_its_message_is() {
    let header = v1::ExportHeader {
        format: 1,
        origin: "quorate/a".into(),
        from_revision: 4,
        edge: vec![vec![], vec![1]],
    };
    let keys = vec![String::new(), "key".into()];
    let trailer = v1::ExportTrailer { to_revision: 9, verifier_keys: keys, ..Default::default() };
    for record in [Record::Header(header), Record::Event(event()), Record::Trailer(trailer)] {
        let record = exported(record);
        let (line, encoded) = (line(&record), record.encode_to_vec());
        assert_eq!(super::record(line.as_bytes()).as_ref(), Some(&encoded), "{line}");
        assert_eq!(super::record(format!("{line}\n").as_bytes()), Some(encoded));
    }
}

#[test]
fn fields_may_stand_in_any_order() {
    let line =
        r#"{"event":{"actor":"a","part":{"of":3,"index":2},"revision":"1","reason":""},"leaf_hash":"AA=="}"#;
    let turned = r#"{"leaf_hash":"AA==","event":{"revision":"1","actor":"a","part":{"index":2,"of":3}}}"#;
    let expected = by_message(line).expect("a record");
    assert_eq!(record(line.as_bytes()), Some(expected.clone()));
    assert_eq!(record(turned.as_bytes()), Some(expected));
}

#[test]
fn what_is_said_and_empty_is_there_when_it_is_one_of_several_or_optional() {
    for event in [
        r#"{"quota_set":{"policy":{"limit":{"amount":""}}}}"#,
        r#"{"quota_set":{"policy":{"limit":{"unlimited":{}}}}}"#,
        r#"{"command":{"commit":{"final":false,"hold_id":"0"}}}"#,
        r#"{"command":{"reserve":{"ttl_ms":"0","mode":"MODE_UNSPECIFIED","lines":[],"labels":{}}}}"#,
        r#"{"scope_deleted":{"below":[]}}"#,
        r#"{"unchanged":{}}"#,
        "{}",
    ] {
        let line = format!(r#"{{"event":{event},"leaf_hash":""}}"#);
        assert_eq!(record(line.as_bytes()), Some(by_message(&line).expect("a record")), "{line}");
    }
}

/// Some of it is no JSON, or no record; the rest is left to what knows every form.
#[test]
fn of_anything_in_doubt_nothing_is_made() {
    for event in [
        r#"{"revision" :"1"}"#,
        r#"{"revision":"1",}"#,
        r#"{"actor":"a",}"#,
        r#"{"revision":"1""actor":"a"}"#,
        r#"{"revision":"1","revision":"1"}"#,
        r#"{"revision":1}"#,
        r#"{"revision":"-1"}"#,
        r#"{"revision":"18446744073709551616"}"#,
        r#"{"revision":""}"#,
        r#"{"revision":"007"}"#,
        r#"{"log_time_ms":"1","logTimeMs":"1"}"#,
        r#"{"revision":null}"#,
        r#"{"part":{"index":"1"}}"#,
        r#"{"part":{"index":01}}"#,
        r#"{"part":{"index":1.0}}"#,
        r#"{"part":{"index":1e0}}"#,
        r#"{"part":{"index":4294967296}}"#,
        r#"{"part":{"index":-1}}"#,
        r#"{"part":{"index":1"#,
        r#"{"part":[]}"#,
        r#"{"actor":"\u0041"}"#,
        "{\"actor\":\"a\tb\"}",
        r#"{"actor":"a}"#,
        r#"{"actor":["a"]}"#,
        r#"{"nobody":"a"}"#,
        r#"{"logTimeMs":"1"}"#,
        r#"{"fingerprint":"_w=="}"#,
        r#"{"fingerprint":"/w"}"#,
        r#"{"touched":{}}"#,
        r#"{"touched":[{},]}"#,
        r#"{"touched":[{}"#,
        r#"{"scope_created":{"labels":{"b":"1","a":"2"}}}"#,
        r#"{"scope_created":{"labels":{"a":"1","a":"2"}}}"#,
        r#"{"scope_created":{"labels":{"a":1}}}"#,
        r#"{"scope_created":{"labels":{},"labels":{}}}"#,
        r#"{"command":{"reserve":{"mode":2}}}"#,
        r#"{"command":{"reserve":{"mode":"MODE_OTHER"}}}"#,
        r#"{"scope_created":{},"scope_updated":{}}"#,
        r#"{"scope_deleted":{"below":[1,2]}}"#,
        r#"{"reserved":{}}}"#,
    ] {
        let line = format!(r#"{{"event":{event},"leaf_hash":"AA=="}}"#);
        assert_eq!(record(line.as_bytes()), None, "{line}");
    }
    let two = r#"{"header":{},"event":{},"leaf_hash":"AA=="}"#;
    assert_eq!(record(two.as_bytes()), None);
    for line in ["", "{", "[]", "null", "{}{}", "{}\n\n", " {}", "{} ", "\u{feff}{}"] {
        assert_eq!(record(line.as_bytes()), None, "{line}");
    }
    let text = b"{\"event\":{\"actor\":\"\xFF\"}}";
    assert_eq!(record(text), None);
}

#[test]
fn objects_that_are_too_deep_are_left_alone() {
    let failed = |count: usize| {
        let (open, close) = (r#"{"part_failed":{"rejection":"#.repeat(count), "}}".repeat(count));
        format!(r#"{{"event":{{"rejected":{{"rejection":{open}{{}}{close}}}}}}}"#)
    };
    for count in [0, 1, 10, 14] {
        let line = failed(count);
        assert_eq!(record(line.as_bytes()), Some(by_message(&line).expect("a record")), "{line}");
    }
    for count in [15, 100, 1_000_000] {
        assert_eq!(record(failed(count).as_bytes()), None, "{count}");
    }
}

#[test]
fn nearly_all_fields_are_known() {
    let fields = RECORD.messages.iter().flatten().filter(|field| field.kind == Kind::Other);
    let other: BTreeSet<_> = fields.map(|field| field.name.as_str()).collect();
    // Which fields are changed, and lists of numbers.
    assert_eq!(other, BTreeSet::from(["below", "change_mask", "transfer_ids", "update_mask"]));
}
