//! What can be proven of a cluster from outside, and what nodes find by comparing with each other.

use std::fs;
use std::path::PathBuf;

use quorate::codec::block;
use quorate::codec::keys;
use quorate::codec::local;
use quorate::projection;
use quorate::proto::storage::v1 as storage;
use quorate::store::Batch;
use quorate::store::Space;
use quorate::store::Store as _;
use quorate::store::rocks::RocksStore;

use crate::command_line::Shell;
use crate::harness::Cluster;
use crate::harness::Node;
use crate::harness::eventually;
use crate::history::History;
use crate::load;
use crate::load::Load;

const PROGRESS: usize = 100;

/// A cluster that was killed in parts while clients worked, at rest. Returns what its nodes say: the
/// last revision, and the digest after it.
async fn story(cluster: &mut Cluster) -> (u64, String) {
    let history = History::default();
    load::plant(&history, &cluster.client(0)).await;
    let load = Load::start(cluster, &history, 31);
    load.progress(PROGRESS).await;
    let leader = cluster.leader().await;
    cluster.nodes[leader].kill();
    load.progress(PROGRESS).await;
    cluster.start_node(leader);
    load.progress(PROGRESS).await;
    load.stop().await;
    cluster.converge().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_verifies_and_replays_to_the_state_of_every_node() {
    let mut cluster = Cluster::of_three().await;
    let shell = Shell::new(&cluster);
    shell.answer("scope create early").await;
    let early = shell.answer("events checkpoint").await;
    let (revision, digest) = story(&mut cluster).await;

    let file = |name: &str| shell.directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let keys = shell.json("cluster status").await;
    let keys: Vec<_> =
        keys["nodes"].as_array().expect("nodes").iter().map(|node| &node["verifier_key"]).collect();
    let keys: String = keys.iter().map(|key| format!(" --key {}", key.as_str().expect("a key"))).collect();
    fs::write(file("early"), &early).expect("written");
    for form in ["jsonl", "protobuf"] {
        let export = file(form);
        shell.answer(&format!("events export --form {form} -o {export}")).await;
        let verified = format!("verify {export} --checkpoint {}{keys}", file("early"));
        let report = shell.json(&verified).await;
        assert_eq!((&report["verifies"], &report["key_was_given"]), (&true.into(), &true.into()));
        assert_eq!(
            (&report["to_revision"], &report["state_digest"]),
            (&revision.into(), &digest.as_str().into())
        );
        assert_eq!(report["older_checkpoints"][0], 1);
        let replayed = shell.json(&format!("replay --from {export}")).await;
        assert_eq!(replayed["state_digest"], digest.as_str());

        // A part of it, from the middle to before the end.
        let part = file("part");
        shell.answer(&format!("events export --from 20 --to 50 --form {form} -o {part}")).await;
        let report = shell.json(&format!("verify {part} --part{keys}")).await;
        assert_eq!(
            (&report["from_revision"], &report["state_digest"]),
            (&20.into(), &serde_json::Value::Null)
        );
        assert!(report["to_revision"].as_u64().expect("a revision") >= 50);
    }
    let proven = shell.json("events prove 7").await;
    assert_eq!((&proven["event"]["revision"], &proven["size"]), (&"7".into(), &revision.into()));
    let steps = shell.answer(&format!("replay --from {} --to-revision 3 --step", file("jsonl"))).await;
    assert!(steps.contains("created scope early") && steps.contains("asked: {"), "{steps}");

    // Forged: one digit of an amount, which is under the hash of its event.
    let export = fs::read_to_string(file("jsonl")).expect("an export");
    let (line, changed) = export
        .lines()
        .enumerate()
        .find_map(|(line, text)| {
            Some((line, text.replacen("\"held\":\"", "\"held\":\"9", 1))).filter(|(_, new)| new != text)
        })
        .expect("something is held");
    let mut lines: Vec<_> = export.lines().map(str::to_owned).collect();
    lines[line] = changed;
    fs::write(file("forged"), lines.join("\n") + "\n").expect("written");
    let said = format!("it does not verify: event {line}: it was changed");
    shell.failure(&format!("verify {}", file("forged")), 1, &[&said]).await;
    shell.failure(&format!("verify {}", file("nothing")), 2, &["nothing: No such file"]).await;
    shell
        .failure(&format!("events export --to {} -o {}", revision + 9, file("x")), 2, &["there is no event"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_let_go_are_gone_from_every_disk_and_the_rest_is_proven() {
    let mut cluster = Cluster::of_three().await;
    let shell = Shell::new(&cluster);
    let (revision, _) = story(&mut cluster).await;
    let through = revision / 2;
    let previewed = shell.answer(&format!("events compact --through {through} --preview")).await;
    assert!(previewed.contains("nothing was changed"), "{previewed}");
    let done = shell.answer(&format!("events compact --through {through}")).await;
    assert!(
        done.starts_with(&format!("removed: the events up to {through} at revision {}", revision + 1)),
        "{done}"
    );
    let again = shell.answer(&format!("events compact --through {through}")).await;
    assert!(again.starts_with("nothing to change"), "{again}");
    shell.failure(&format!("events compact --through {}", revision + 100), 2, &["through_revision"]).await;
    shell
        .failure("events list --from 2", 1, &[&format!("events up to revision {through} were removed")])
        .await;
    let listed = shell.json("events list --limit 1").await;
    assert_eq!(listed["revision"], through + 1);

    let end = cluster.converge().await;
    for node in &mut cluster.nodes {
        eventually("old events are removed", async || {
            node.log().contains("old events were removed").then_some(())
        })
        .await;
    }
    // All of them restart, one after the other, on what is left.
    for at in 0..3 {
        cluster.nodes[at].kill();
        cluster.start_node(at);
        cluster.leader().await;
    }
    assert_eq!(cluster.converge().await, end);
    let export = shell.directory.path().join("rest").to_str().expect("UTF-8").to_owned();
    shell.answer(&format!("events export -o {export}")).await;
    let report = shell.json(&format!("verify {export}")).await;
    assert_eq!((&report["from_revision"], &report["to_revision"]), (&(through + 1).into(), &end.0.into()));
    shell.failure(&format!("replay --from {export}"), 1, &["does not begin with event 1"]).await;
    for name in ["proofs", "history"] {
        shell.answer(&format!("projection rebuild {name}")).await;
    }
    for name in ["usage", "holders", "denials"] {
        let said = format!("the events up to {through} were removed, and {name} would be wrong");
        shell.failure(&format!("projection rebuild {name}"), 4, &[&said, "replace this node"]).await;
    }
    shell.answer(&format!("history quota {} memory_gb", "acme")).await;
    shell.answer("events checkpoint").await;
}

/// Writes to the store of a node that does not run.
async fn tamper(node: &Node, change: impl FnOnce(&dyn quorate::store::StateStore, &mut Batch)) {
    let opened = RocksStore::new(node.data_dir.clone()).open().expect("the store opens");
    let mut batch = Batch::default();
    change(&*opened.state, &mut batch);
    opened.state.write(batch).expect("written");
    opened.state.flush().await.expect("flushed");
}

/// Says that somebody else asked for the third event.
fn change_an_event(store: &dyn quorate::store::StateStore, batch: &mut Batch) {
    let (key, value) =
        store.last(Space::Events, &keys::block(0), &keys::block(4)).expect("read").expect("a block");
    let mut events = block::decode(&value).expect("a block");
    events[0].actor = "mallory".to_owned();
    batch.put(Space::Events, key.to_vec(), local::framed(&storage::EventBlock { events }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_changed_event_finds_it_and_stops() {
    let mut cluster = Cluster::of_three().await;
    story(&mut cluster).await;
    let node = cluster.follower().await;
    // The tree knows the event as it was.
    let client = cluster.nodes[node].client();
    eventually("the tree is written", async || {
        let projections = client.list_projections().await.ok()?.projections;
        projections.iter().any(|shown| shown.name == "proofs" && shown.revision > 3).then_some(())
    })
    .await;
    cluster.nodes[node].stop("TERM").await;
    tamper(&cluster.nodes[node], change_an_event).await;
    let finished = cluster.nodes[node].fails().await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("is not what it was when it was decided"), "{finished:?}");
    // The others go on.
    cluster.leader_of(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_history_stops_when_the_others_agree() {
    let mut cluster = Cluster::of_three().await;
    story(&mut cluster).await;
    let node = cluster.follower().await;
    cluster.nodes[node].stop("TERM").await;
    // The tree is made anew from what was changed, so that the node finds nothing by itself.
    tamper(&cluster.nodes[node], |store, batch| {
        change_an_event(store, batch);
        let number = projection::proofs::ABOUT.number;
        batch.delete_range(Space::Views, [number], [number + 1]);
    })
    .await;
    let finished = cluster.nodes[node].fails().await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("this node has other events than the majority"), "{finished:?}");
    cluster.leader_of(2).await;
}

/// The files with events, by what RocksDB says of itself in them.
fn event_files(node: &Node) -> Vec<PathBuf> {
    let state = node.data_dir.join("state");
    let generations = fs::read_dir(state).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = generations.filter(|path| path.is_dir()).flat_map(|generation| {
        fs::read_dir(generation).expect("a folder").map(|entry| entry.expect("an entry").path())
    });
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .filter(|path| {
            let content = fs::read(path).expect("a file");
            content.windows(12).any(|window| window.starts_with(b"events") || window == b"name\x06\0events")
                && !content.windows(4).any(|window| window == b"rows")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_flipped_byte_under_its_events_finds_it_and_stops() {
    let mut cluster = Cluster::of_three().await;
    story(&mut cluster).await;
    let node = cluster.follower().await;
    cluster.nodes[node].stop("TERM").await;
    let files = event_files(&cluster.nodes[node]);
    assert!(!files.is_empty(), "no file has events");
    for file in files {
        let mut content = fs::read(&file).expect("a file");
        content[30] ^= 0xFF;
        fs::write(&file, content).expect("written");
    }
    let finished = cluster.nodes[node].fails().await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("is damaged: this node must be replaced"), "{finished:?}");
    cluster.leader_of(2).await;
}
