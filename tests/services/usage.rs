//! What is made of the events, as one node answers it.

use super::*;

fn hold_of(consumer: &str, amount: &str) -> v1::ReserveRequest {
    v1::ReserveRequest { consumer: consumer.into(), job: "train".into(), ..reserve(amount) }
}

impl Bench {
    async fn held(&mut self, request: v1::ReserveRequest) -> u64 {
        self.ledger.reserve(request).await.expect("room").into_inner().hold_id
    }

    async fn history(&mut self, of: v1::get_history_request::Of, newest_first: bool) -> Vec<u64> {
        let mut revisions = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::GetHistoryRequest {
                of: Some(of.clone()),
                newest_first,
                page_size: 2,
                page_token,
                ..Default::default()
            };
            let page = self.query.get_history(request).await.expect("a history").into_inner();
            revisions.extend(page.events.iter().map(|event| event.revision));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return revisions;
            }
        }
    }

    async fn holders(&mut self) -> Vec<(String, String, String)> {
        self.page_of_holders(0, "").await.expect("holders").0
    }

    async fn page_of_holders(
        &mut self,
        limit: u32,
        page_token: &str,
    ) -> Result<(Vec<(String, String, String)>, String), Status> {
        let request = v1::ListHoldersRequest {
            scope: "acme".into(),
            resource: "instances".into(),
            limit,
            page_token: page_token.into(),
            ..Default::default()
        };
        let answer = self.query.list_holders(request).await?.into_inner();
        let holder = |holder: v1::HolderSum| (holder.consumer, holder.used, holder.held);
        Ok((answer.holders.into_iter().map(holder).collect(), answer.next_page_token))
    }
}

#[tokio::test]
async fn a_subtree_is_summed_up_and_a_client_of_it_sees_no_more_than_its_own() {
    let mut bench = Bench::new().await;
    bench.held(reserve("4")).await;
    let request = v1::GetUsageRequest { scope: "acme".into(), ..Default::default() };
    let usage = bench.query.get_usage(request).await.expect("usage").into_inner();
    let rows: Vec<_> =
        usage.usages.iter().map(|row| (row.scope.as_str(), row.held.as_str(), row.depth)).collect();
    assert_eq!(rows, [("acme", "4", 0), ("acme/ml", "4", 1)]);
    assert_eq!(usage.usages[0].utilisation.as_deref(), Some("0.4"));
    let sum = &usage.sums[0];
    assert_eq!((sum.resource.as_str(), sum.used.as_str(), sum.held.as_str()), ("instances", "0", "4"));
    let counts = sum.counts.as_ref().expect("counts");
    assert_eq!((counts.scopes, counts.quotas, counts.over, counts.idle), (2, 2, 0, 0));
    assert_eq!((counts.fullest_scope.as_str(), counts.fullest_utilisation.as_str()), ("acme", "0.4"));
    let request = v1::GetUsageRequest {
        scope: "acme".into(),
        depth: Some(0),
        resource: "instances".into(),
        ..Default::default()
    };
    assert_eq!(bench.query.get_usage(request).await.expect("usage").into_inner().usages.len(), 1);

    // There is less room above than the scope itself would allow.
    let policy =
        v1::Policy { limit: limit("7"), on_reduce: v1::OnReduce::Freeze.into(), ..Default::default() };
    let narrow = v1::SetQuotaRequest { ..set_quota("acme/ml", policy) };
    bench.quotas.set_quota(narrow).await.expect("a quota");
    let request = v1::GetConsumerViewRequest { scope: "acme/ml".into(), ..Default::default() };
    let view = bench.query.get_consumer_view(request).await.expect("a view").into_inner();
    let view: Vec<_> = view
        .quotas
        .into_iter()
        .map(|quota| (quota.resource, quota.limit, quota.used, quota.available))
        .collect();
    assert_eq!(view, [("instances".to_owned(), Some("7".to_owned()), "4".to_owned(), Some("3".to_owned()))]);
    let request = v1::GetConsumerViewRequest { scope: "acme/nobody".into(), ..Default::default() };
    assert_eq!(bench.query.get_consumer_view(request).await.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test]
async fn holders_come_page_by_page_the_largest_first() {
    let mut bench = Bench::new().await;
    for (consumer, amount) in [("b", "2"), ("a:1", "2"), ("c", "3"), ("", "1")] {
        bench.held(v1::ReserveRequest { consumer: consumer.into(), ..reserve(amount) }).await;
    }
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let (page, next) = bench.page_of_holders(1, &token).await.expect("a page");
        found.extend(page.into_iter().map(|(consumer, _, held)| (consumer, held)));
        if next.is_empty() {
            break;
        }
        token = next;
    }
    let expected = [("c", "3"), ("a:1", "2"), ("b", "2"), ("", "1")];
    assert_eq!(found, expected.map(|(consumer, held)| (consumer.to_owned(), held.to_owned())));
    for bad in ["x", "2:consumer", "two:consumer:b", "2:nobody:b"] {
        let refused = bench.page_of_holders(1, bad).await.expect_err("nobody gave it");
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad}");
    }
}

#[tokio::test]
async fn who_takes_what_when_and_what_was_denied_is_known_at_once_and_made_anew() {
    use v1::get_history_request::Of;
    let mut bench = Bench::new().await;
    let first = bench.held(hold_of("team", "2")).await;
    let second = bench.held(hold_of("", "3")).await;
    bench.ledger.reserve(hold_of("team", "9")).await.expect_err("no room");
    let release = v1::ReleaseRequest { request_id: id(), hold_id: first, ..Default::default() };
    bench.ledger.release(release).await.expect("released");
    let last = bench.revision().await;
    for round in ["as it came", "made anew"] {
        assert_eq!(bench.holders().await, [(String::new(), "0".to_owned(), "3".to_owned())], "{round}");
        assert_eq!(bench.history(Of::HoldId(first), false).await, [first, last]);
        assert_eq!(bench.history(Of::HoldId(first), true).await, [last, first]);
        assert_eq!(bench.history(Of::Job("train".into()), false).await, [first, second, last]);
        let quota = v1::QuotaName { scope: "acme/ml".into(), resource: "instances".into() };
        let of_quota = bench.history(Of::Quota(quota), false).await;
        assert!(of_quota.ends_with(&[first, second, last]) && of_quota.len() > 3, "{of_quota:?}");
        assert!(bench.history(Of::HoldId(last), false).await.is_empty(), "it is no hold");

        let denials = bench.query.get_denials(v1::GetDenialsRequest::default()).await.expect("denials");
        let denials: Vec<_> = denials
            .into_inner()
            .denials
            .into_iter()
            .map(|denial| (denial.reason, denial.scope, denial.count))
            .collect();
        let of = |scope: &str| ("denied".to_owned(), scope.to_owned(), 1);
        assert_eq!(denials, [of("acme"), of("acme/ml")]);

        let series = v1::GetUsageSeriesRequest {
            scope: "acme".into(),
            resource: "instances".into(),
            period: v1::UsagePeriod::Minute.into(),
            ..Default::default()
        };
        let series = bench.query.get_usage_series(series).await.expect("a series").into_inner();
        assert_eq!((series.used.as_str(), series.held.as_str(), series.buckets.len()), ("0", "3", 60));
        let now = series.buckets.last().expect("a minute");
        assert_eq!((now.last.as_str(), series.revision >= last), ("3", true));
        let peak = series.buckets.iter().map(|bucket| bucket.peak.as_str()).max();
        assert_eq!(peak, Some("5"), "it was 5 between the two reservations and the release");

        let projections =
            bench.query.list_projections(v1::ListProjectionsRequest {}).await.expect("projections");
        for projection in projections.into_inner().projections {
            let request = v1::RebuildProjectionRequest { name: projection.name.clone() };
            let rebuilt = bench.query.rebuild_projection(request).await;
            match projection.name.as_str() {
                "tree" | "view" => {
                    assert_eq!(rebuilt.expect_err("in the state").code(), Code::InvalidArgument);
                }
                _ => drop(rebuilt.expect("it begins")),
            }
        }
    }
    let unknown = v1::RebuildProjectionRequest { name: "nothing".into() };
    let unknown = bench.query.rebuild_projection(unknown).await.expect_err("unknown");
    assert!(unknown.message().contains("proofs, usage"), "{unknown:?}");
    let past = v1::Read { kind: Some(v1::read::Kind::AtRevision(2)) };
    let request = v1::GetDenialsRequest { read: Some(past), ..Default::default() };
    assert_eq!(
        bench.query.get_denials(request).await.expect_err("of now only").code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn what_needs_events_that_were_removed_is_not_made_anew_without_them() {
    let mut bench = Bench::new().await;
    bench.held(hold_of("team", "2")).await;
    let through_revision = bench.revision().await;
    let compact = v1::CompactEventsRequest { request_id: id(), through_revision, ..Default::default() };
    bench.events.compact_events(compact).await.expect("they are let go");
    for (name, is_possible) in
        [("proofs", true), ("history", true), ("usage", false), ("holders", false), ("denials", false)]
    {
        let request = v1::RebuildProjectionRequest { name: name.into() };
        let rebuilt = bench.query.rebuild_projection(request).await;
        match rebuilt {
            Ok(_) => assert!(is_possible, "{name}"),
            Err(status) => {
                assert!(!is_possible && status.code() == Code::FailedPrecondition, "{name}: {status:?}");
                let said =
                    format!("the events up to {through_revision} were removed, and {name} would be wrong");
                assert!(status.message().contains(&said), "{status:?}");
            }
        }
    }
    assert_eq!(bench.holders().await, [("team".to_owned(), "0".to_owned(), "2".to_owned())]);
}

#[tokio::test]
async fn a_node_proves_its_events_also_while_the_tree_is_made_anew() {
    use quorate::codec::block;
    use quorate::codec::merkle;
    use quorate::codec::merkle::Hash;
    use v1::get_proof_request::Of;
    let mut bench = Bench::new().await;
    for round in 0..20 {
        drop(bench.ledger.reserve(reserve("9")).await);
        let checkpoint =
            bench.events.get_checkpoint(v1::GetCheckpointRequest {}).await.expect("a checkpoint");
        let checkpoint = checkpoint.into_inner();
        assert_eq!(checkpoint.size, bench.revision().await);
        let root = Hash(checkpoint.root.try_into().expect("32 bytes"));
        let revision = 1 + round % checkpoint.size;
        let export = v1::ExportEventsRequest { from_revision: revision, to_revision: revision };
        let page = bench.events.export_events(export).await.expect("an event").into_inner();
        let request = v1::RebuildProjectionRequest { name: "proofs".into() };
        bench.query.rebuild_projection(request).await.expect("it begins");
        let of = Some(Of::Revision(revision));
        let proof = v1::GetProofRequest { of, size: checkpoint.size };
        let proof = bench.events.get_proof(proof).await.expect("a proof").into_inner();
        let hashes: Vec<_> =
            proof.hashes.into_iter().map(|hash| Hash(hash.try_into().expect("32 bytes"))).collect();
        let event = block::sent(&page.block).expect("events")[0];
        assert!(merkle::includes(&root, checkpoint.size, revision, event, &hashes), "round {round}");
    }
    let beyond = v1::GetProofRequest { of: Some(Of::Revision(1)), size: 9_999 };
    assert_eq!(bench.events.get_proof(beyond).await.expect_err("too large").code(), Code::InvalidArgument);
    let nothing = v1::GetProofRequest { of: None, size: 0 };
    assert_eq!(bench.events.get_proof(nothing).await.expect_err("of what").code(), Code::InvalidArgument);
}
