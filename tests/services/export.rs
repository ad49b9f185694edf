//! Exports: pages that are cut from the blocks of log entries, wherever these begin and end.

use quorate::codec::block;
use quorate::proto::v1;
use quorate::proto::v1::batch_command::Command;
use tonic::Code;

use crate::Bench;
use crate::command;
use crate::reserve;

/// The encoded events of a page, with their revisions.
fn events(page: &v1::ExportEventsResponse) -> Vec<(u64, Vec<u8>)> {
    let events = block::sent(&page.block).expect("a block");
    (page.first_revision..).zip(events.into_iter().map(<[u8]>::to_vec)).collect()
}

impl Bench {
    async fn page(&mut self, from_revision: u64, to_revision: u64) -> v1::ExportEventsResponse {
        let request = v1::ExportEventsRequest { from_revision, to_revision };
        self.events.export_events(request).await.expect("a page").into_inner()
    }
}

#[tokio::test]
async fn a_log_entry_larger_than_a_page_is_exported_page_by_page_whoever_else_exports() {
    let mut bench = Bench::new().await;
    // Most are denied, and say why: so many in one entry, or two.
    let text = |letter: &str| letter.repeat(60);
    let reserve = || v1::ReserveRequest { job: text("j"), consumer: text("c"), ..reserve("1") };
    let commands = (0..8_000).map(|tag| command(tag, Command::Reserve(reserve())));
    let batch = v1::BatchRequest { commands: commands.collect(), ..Default::default() };
    let results = bench.ledger.batch(batch).await.expect("decided").into_inner().results;
    let codes: std::collections::BTreeSet<_> = results.iter().map(|result| result.code).collect();
    assert_eq!(codes, [Code::Ok as i32, Code::ResourceExhausted as i32].into());

    let mut all = Vec::new();
    let mut pages = 0;
    let mut next = 1;
    while next != 0 {
        let page = bench.page(next, 0).await;
        assert_eq!(page.first_revision, next);
        all.extend(events(&page));
        (pages, next) = (pages + 1, page.next_revision);
    }
    assert!(pages > 2, "all fits into {pages} pages");
    assert!(all.len() > 8_000, "{} events", all.len());
    for (revision, bytes) in &all {
        assert_eq!(block::event(bytes).expect("an event").revision, *revision);
    }
    let last = all.last().expect("an event").0;
    assert_eq!(last, all.len() as u64);

    // Two exports in turn, of which one begins and ends within an entry: each page is cut from another
    // block than the page before.
    let (mut one, mut other) = (1, last / 2);
    while one != 0 || other != 0 {
        for next in [&mut one, &mut other] {
            if *next == 0 {
                continue;
            }
            let page = bench.page(*next, last - 10).await;
            assert_eq!(page.end_revision, last, "the entry with the last one that is wanted is whole");
            let events = events(&page);
            let from = usize::try_from(*next).expect("few") - 1;
            assert_eq!(events, all[from..from + events.len()]);
            *next = page.next_revision;
        }
    }
}
