//! What is seen of an event, against its message. The events come from where all kinds of them are.

use super::Change;
use super::Happened;
use super::Line;
use super::Lines;
use super::Stored;
use crate::codec::fields::Writer;
use crate::codec::number;
use crate::proto::v1;
use crate::proto::v1::event::Body;

/// What is seen of an event in its bytes is what its message says.
pub(in crate::codec) fn look_into(message: &v1::Event, bytes: &[u8]) {
    // What a newer version adds is passed over.
    let mut bytes = bytes.to_vec();
    Writer(&mut bytes).number(15, 1u64);
    Writer(&mut bytes).text(10_000, "new");
    let event = Stored::new(&bytes).expect("an event");
    assert_eq!((event.revision, event.time), (message.revision, message.log_time_ms));
    assert_eq!((event.position.term, event.position.index), (message.raft_term, message.raft_index));
    assert_eq!((event.request_id, event.actor), (message.request_id.as_str(), message.actor.as_str()));
    assert_eq!(event.fingerprint, message.fingerprint);
    assert_eq!(event.part.map(|part| v1::Part { index: part.index, of: part.of }), message.part);
    let touched = event.touched().map(|touched| touched.expect("it is read"));
    let seen = touched.map(|touched| v1::Touched {
        scope_id: touched.scope,
        scope: touched.path.to_owned(),
        resource_id: touched.resource,
        used: touched.used.to_string(),
        held: touched.held.to_string(),
        used_change: number::write_change(touched.used_change),
        held_change: number::write_change(touched.held_change),
        ..Default::default()
    });
    let unseen = |touched: &v1::Touched| v1::Touched {
        resource: String::new(),
        sequence: 0,
        grace: None,
        burst: None,
        ..touched.clone()
    };
    assert_eq!(seen.collect::<Vec<_>>(), message.touched.iter().map(unseen).collect::<Vec<_>>());
    let of = |lines: Lines<'_>| {
        let line = |line: Result<Line<'_>, _>| {
            let line = line.expect("it is read");
            (line.scope, line.path.to_owned(), line.resource, line.held.to_string(), line.used.to_string())
        };
        lines.iter().map(line).collect::<Vec<_>>()
    };
    let line = |line: &v1::EventLine| {
        (line.scope_id, line.scope.clone(), line.resource_id, line.held.clone(), line.used.clone())
    };
    let change = |change: Change<'_>, hold: u64, after: &Option<v1::HoldAfter>| {
        assert_eq!(change.hold, hold);
        let told = after.as_ref().map(|after| after.lines.iter().map(line).collect::<Vec<_>>());
        assert_eq!(change.after.map(of), told);
    };
    match (event.happened().expect("a body"), message.body.as_ref().expect("a body")) {
        (Happened::ScopeMoved(seen), Body::ScopeMoved(body)) => assert_eq!(seen, *body),
        (Happened::ResourceRegistered(seen), Body::ResourceRegistered(body)) => {
            assert_eq!(seen, *body);
        }
        (Happened::TimeRefused(seen), Body::TimeRefused(body)) => assert_eq!(seen, *body),
        (Happened::Rejected(seen), Body::Rejected(body)) => assert_eq!(seen, *body),
        (Happened::Renewed(hold), Body::Renewed(body)) => assert_eq!(hold, body.hold_id),
        (Happened::Reserved(seen), Body::Reserved(body)) => {
            assert_eq!((seen.job, seen.consumer), (body.job.as_str(), body.consumer.as_str()));
            assert_eq!(of(seen.lines()), body.lines.iter().map(line).collect::<Vec<_>>());
        }
        (Happened::Committed(seen), Body::Committed(body)) => {
            change(seen, body.hold_id, &body.after);
        }
        (Happened::Released(seen), Body::Released(body)) => change(seen, body.hold_id, &body.after),
        (Happened::Expired(seen), Body::Expired(body)) => change(seen, body.hold_id, &body.after),
        (Happened::Resized(seen), Body::Resized(body)) => change(seen, body.hold_id, &body.after),
        (
            Happened::Other,
            Body::ScopeMoved(_)
            | Body::ResourceRegistered(_)
            | Body::TimeRefused(_)
            | Body::Rejected(_)
            | Body::Renewed(_)
            | Body::Reserved(_)
            | Body::Committed(_)
            | Body::Released(_)
            | Body::Expired(_)
            | Body::Resized(_),
        ) => panic!("it is not seen: {message:?}"),
        (Happened::Other, _) => {}
        (seen, body) => panic!("{seen:?} was seen of {body:?}"),
    }
}
