//! Nodes that are started wrongly: each says what is wrong and does not start.

use std::fs;
use std::path::Path;

use crate::harness::Cluster;
use crate::harness::Directory;
use crate::harness::Finished;
use crate::harness::Node;
use crate::harness::Port;
use crate::harness::Settings;
use crate::harness::eventually;
use crate::harness::run;

/// A node of its own, configured and not started.
fn lone(directory: &Directory, id: u64, cluster: &str) -> Node {
    let node = Node::new(directory.path(), id);
    node.write_config(cluster, &[], &Settings::default());
    node
}

async fn start(directory: &Directory, config: &Path) -> Finished {
    run(directory, &["start", "--config", config.to_str().expect("UTF-8")]).await
}

/// Ended with an error, and said all of this on standard error.
fn refused(finished: &Finished, words: &[&str]) {
    assert!(finished.code.is_some_and(|code| code != 0), "{finished:?}");
    for word in words {
        assert!(finished.stderr.contains(word), "{word:?} is not in {finished:?}");
    }
    assert_eq!(finished.stdout, "", "errors belong to standard error");
}

/// Runs a node until it answers, and stops it: its directory is then its own.
async fn move_in(node: &mut Node) {
    node.start();
    eventually("the node answers", async || node.status(false).await).await;
    assert!(node.stop("TERM").await.success(), "{}", node.log());
}

/// Has a node use the data directory of another one, and returns its configuration.
fn configure_with_data_of(node: &Node, owner: &Node) {
    let own = node.data_dir.to_str().expect("UTF-8");
    let text = fs::read_to_string(&node.config).expect("a configuration");
    let text = text.replace(own, owner.data_dir.to_str().expect("UTF-8"));
    fs::write(&node.config, text).expect("write a configuration");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_will_not_do_is_named() {
    let directory = Directory::new();
    let node = lone(&directory, 1, "test");
    let good = fs::read_to_string(&node.config).expect("a configuration");
    let path = node.config.display().to_string();

    let cases: [(String, &[&str]); 6] = [
        (format!("colour = \"red\"\n{good}"), &["unknown field `colour`", "line 1"]),
        (good.replace("[raft]", "[raft]\nheartbeat = 5"), &["unknown field `heartbeat`"]),
        (good.replace("node_id = 1\n", ""), &["missing field `node_id`"]),
        (good.replace("[peer]\nlisten", "[peer]\n# listen"), &["peer.listen is missing"]),
        (good.replace("node_id = 1\n", "node_id = \"one\"\n"), &["node_id", "invalid type"]),
        ("cluster = ".to_owned(), &["line 1"]),
    ];
    for (text, words) in cases {
        assert_ne!(text, good);
        fs::write(&node.config, text).expect("write a configuration");
        let finished = start(&directory, &node.config).await;
        refused(&finished, words);
        refused(&finished, &[&path]);
    }
    assert!(!node.data_dir.exists(), "nothing was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_missing_or_unreadable_is_named() {
    let directory = Directory::new();
    let finished = run(&directory, &["start"]).await;
    refused(&finished, &["--config"]);
    assert_eq!(finished.code, Some(2), "a usage error");
    let nowhere = directory.path().join("nowhere.toml");
    refused(&start(&directory, &nowhere).await, &["nowhere.toml", "No such file", "--config"]);
    // A directory can be opened and not read, whoever runs the test.
    refused(&start(&directory, directory.path()).await, &["read configuration", "Is a directory"]);
    let binary = directory.path().join("binary.toml");
    fs::write(&binary, [0xff, 0xfe, 0x00]).expect("write a file");
    refused(&start(&directory, &binary).await, &["read configuration", "binary.toml", "UTF-8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let directory = Directory::new();
    let node = lone(&directory, 1, "test");
    let occupied = Port::find();
    let config = node.config.to_str().expect("UTF-8");
    for (taken, free, key) in [("client", "peer", "client.listen"), ("peer", "client", "peer.listen")]
        .map(|(side, other, key)| (format!("--{side}-listen"), format!("--{other}-listen"), key))
    {
        let address = occupied.address();
        let words = ["start", "--config", config, &taken, &address, &free, "127.0.0.1:0"];
        let finished = run(&directory, &words).await;
        refused(&finished, &[key, &address, "is another process using that address?"]);
    }
    assert!(!node.data_dir.exists(), "nothing was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_another_node_or_another_cluster_is_not_touched() {
    let directory = Directory::new();
    let mut owner = lone(&directory, 1, "test");
    move_in(&mut owner).await;

    let mut other = lone(&directory, 2, "test");
    configure_with_data_of(&other, &owner);
    let said = other.fails().await;
    refused(
        &said,
        &["belongs to node 1 of cluster \"test\"", "this is node 2 of cluster \"test\"", "data_dir"],
    );

    let mut stranger = lone(&directory, 1, "elsewhere");
    configure_with_data_of(&stranger, &owner);
    let said = stranger.fails().await;
    refused(&said, &["belongs to node 1 of cluster \"test\"", "this is node 1 of cluster \"elsewhere\""]);

    // The owner still can.
    owner.write_config("test", &[], &Settings::default());
    move_in(&mut owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_a_newer_format_is_not_touched() {
    let directory = Directory::new();
    let mut node = lone(&directory, 1, "test");
    move_in(&mut node).await;
    let format = node.data_dir.join("FORMAT");
    let known = fs::read_to_string(&format).expect("a format file");
    for (content, word) in [("quorate data 1\n", "quorate data 1"), ("", "FORMAT")] {
        fs::write(&format, content).expect("write the format file");
        let said = node.fails().await;
        refused(&said, &[word, "FORMAT", "cannot read"]);
    }
    fs::write(&format, known).expect("write the format file");
    move_in(&mut node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_never_share_a_data_directory() {
    let mut cluster = Cluster::form(Settings { nodes: 1, ..Settings::default() }).await;
    let directory = Directory::new();
    let mut second = lone(&directory, 1, "test");
    configure_with_data_of(&second, &cluster.nodes[0]);
    let said = second.fails().await;
    refused(&said, &["another process is using the data directory"]);
    cluster.converge().await;
    let ended = cluster.nodes[0].stop("TERM").await;
    assert!(ended.success(), "{}", cluster.nodes[0].log());
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_lost_a_part_is_not_made_anew() {
    let directory = Directory::new();
    let mut node = lone(&directory, 1, "test");
    move_in(&mut node).await;
    for part in ["log", "state"] {
        let (there, away) = (node.data_dir.join(part), directory.path().join(part));
        fs::rename(&there, &away).expect("take a part away");
        let said = node.fails().await;
        refused(&said, &[part, "replaced"]);
        assert!(!there.join("CURRENT").exists(), "{part} was made anew");
        // What the failed start may have left there; mostly nothing.
        drop(fs::remove_dir_all(&there));
        fs::rename(&away, &there).expect("put it back");
    }
    move_in(&mut node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_data_does_not_come_back_under_its_old_id() {
    let mut cluster = Cluster::of_three().await;
    let lost = cluster.follower().await;
    cluster.nodes[lost].kill();
    fs::remove_dir_all(&cluster.nodes[lost].data_dir).expect("lose the data");
    let said = cluster.nodes[lost].fails().await;
    refused(&said, &["is empty", "cannot be used again", "quorate cluster remove"]);
    // Not the second time either: the first left nothing that looks like its own.
    refused(&cluster.nodes[lost].fails().await, &["is empty"]);
}
