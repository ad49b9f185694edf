//! The program as people and scripts use it, against a cluster.

use crate::harness::Cluster;
use crate::harness::Directory;
use crate::harness::Finished;
use crate::harness::Node;
use crate::harness::run;
use crate::history::all_events;

/// Runs verbs against one cluster.
pub struct Shell {
    pub directory: Directory,
    endpoints: String,
}

impl Shell {
    pub fn new(cluster: &Cluster) -> Self {
        let addresses: Vec<_> = cluster.nodes.iter().map(Node::client_address).collect();
        Self { directory: Directory::new(), endpoints: addresses.join(",") }
    }

    pub async fn run(&self, words: &str) -> Finished {
        let mut line = vec!["--endpoints", &self.endpoints, "--actor", "alice"];
        line.extend(words.split(' '));
        run(&self.directory, &line).await
    }

    /// Runs a verb that must succeed, and returns its answer.
    pub async fn answer(&self, words: &str) -> String {
        let finished = self.run(words).await;
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{words}: {finished:?}");
        finished.stdout
    }

    pub async fn json(&self, words: &str) -> serde_json::Value {
        let text = self.answer(&format!("{words} --output json")).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words}: {error} in {text:?}"))
    }

    /// Runs a verb that must fail with this code and say all of this.
    pub async fn failure(&self, words: &str, code: i32, said: &[&str]) {
        let finished = self.run(words).await;
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(code), ""), "{words}: {finished:?}");
        for part in said {
            assert!(finished.stderr.contains(part), "{words}: {part:?} is not in {finished:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verbs_work_and_their_exit_codes_tell_how() {
    let cluster = Cluster::of_three().await;
    let shell = Shell::new(&cluster);
    shell.answer("scope create acme --kind organization").await;
    shell.answer("scope create acme/ml").await;
    assert_eq!(shell.json("quota set acme memory_gb 100").await["version"], 1);
    shell.answer("quota set acme/ml memory_gb 64").await;

    let hold = shell.json("reserve acme/ml:memory_gb=40").await;
    let id = hold["hold_id"].as_u64().unwrap_or_else(|| panic!("no hold in {hold}")).to_string();
    shell
        .failure(
            "reserve acme/ml:memory_gb=30.5",
            3,
            &["acme/ml", "memory_gb", "hard limit 64", "held 40", "requested 30.5", "short by 6.5"],
        )
        .await;
    let denied = shell.run("reserve acme/ml:memory_gb=30.5 --output json").await;
    assert_eq!(denied.code, Some(3));
    let denied: serde_json::Value = serde_json::from_str(&denied.stdout).expect("JSON");
    assert_eq!(denied["error"]["code"], "RESOURCE_EXHAUSTED", "{denied}");
    assert!(denied["error"]["rejection"].to_string().contains("\"6.5\""), "{denied}");

    let preview = shell.answer(&format!("commit {id} --preview")).await;
    assert!(preview.contains("nothing was changed") && preview.contains(&format!("hold {id}")), "{preview}");
    shell.failure(&format!("resize {id} acme/ml:memory_gb=65 --preview"), 3, &["short by 1"]).await;
    shell.answer(&format!("commit {id}")).await;
    shell.failure(&format!("commit {id}"), 4, &[&id, "committed at revision"]).await;
    let quota = shell.json("quota get acme/ml memory_gb").await;
    let counters = &quota["quota"]["counters"];
    assert_eq!(
        (&counters["used"], &counters["held"], &counters["available"]),
        (&"40".into(), &"0".into(), &"24".into())
    );

    shell.answer("quota lock acme memory_gb --reason audit").await;
    let again = shell.answer("quota lock acme memory_gb --reason holidays").await;
    assert!(again.starts_with("nothing to change: acme memory_gb, now version 2,"), "{again}");
    let moved = shell.answer("scope move acme/ml acme/ml").await;
    assert!(moved.starts_with("nothing to change: "), "{moved}");
    shell.failure("quota override acme memory_gb inherit --until +1h", 2, &["'unlimited'"]).await;
    shell.failure("reserve acme/ml:memory_gb=1", 3, &["locked", "acme", "alice", "audit"]).await;
    shell.answer("quota unlock acme memory_gb").await;
    shell.failure("quota set acme memory_gb 90 --if-version 1", 4, &["version", "acme", "1", "3"]).await;
    shell.failure("scope create acme", 4, &["scope acme is there already"]).await;
    shell.failure("scope get nowhere", 1, &["nowhere"]).await;
    shell.failure("reserve acme/ml:gravity=1", 1, &["gravity"]).await;
    shell.failure("reserve acme/ml:memory_gb=0.0001", 2, &["lines[0].amount", "3"]).await;
    shell.failure("reserve acme/ml:memory_gb=0", 2, &["lines[0].amount", "zero"]).await;
    shell.failure("reserve acme/ml", 2, &["SCOPE:RESOURCE=AMOUNT"]).await;
    shell.failure("reserve acme/ml:memory_gb=1@0", 4, &["sequence", "acme/ml"]).await;

    let request = "--request-id 01939c2f-0000-7000-8000-000000000000 release";
    shell.failure(&format!("{request} {id}"), 4, &["forgotten"]).await;
    shell.answer(&format!("release {id}")).await;
    assert!(shell.answer("hold list").await.lines().count() <= 1);

    let reserved = shell.json("reserve acme/ml:memory_gb=7").await["revision"].as_u64().expect("a revision");
    shell.answer("quota set acme/ml memory_gb 32").await;
    let quota = shell.answer(&format!("quota get acme/ml memory_gb --at {reserved}")).await;
    let as_it_was = format!("as it was after revision {reserved}\n");
    assert!(quota.contains("64") && quota.ends_with(&as_it_was), "{quota}");
    let holds = shell.json(&format!("hold list acme --at {}", reserved - 1)).await;
    assert_eq!(holds["holds"].as_array().map(Vec::len), Some(0), "{holds}");
    let quota = shell.answer(&format!("quota get acme/ml memory_gb --at-least {reserved}")).await;
    assert!(quota.contains("32") && quota.contains("\nat revision "), "{quota}");
    assert!(shell.answer("quota list --max-lag 1h").await.contains("\nat revision "));
    let resources = shell.answer("resource list --at -1ms").await;
    assert!(
        resources.contains("memory_gb") && resources.contains("\nas it was after revision "),
        "{resources}"
    );
    shell.failure("scope list --at 1000000", 1, &["OUT_OF_RANGE", "no revision 1000000 yet"]).await;
    shell.failure("scope list --at 9999-01-01T00:00:00Z", 1, &["OUT_OF_RANGE", "not past yet"]).await;
    shell.failure("scope list --at 3 --max-lag 5s", 2, &["cannot be used with"]).await;

    let status = shell.json("cluster status").await;
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(3), "{status}");
    let table = shell.answer("cluster status").await;
    assert_eq!(table.matches("follower").count(), 2, "{table}");
    shell.failure("cluster init", 4, &["formed already"]).await;
    shell.failure("cluster remove 9", 4, &["node 9 is not a member"]).await;

    let listed = shell.answer("events list --output json").await;
    assert_eq!(listed.lines().count(), all_events(&cluster.client(0)).await.len().min(100), "{listed}");
    for line in listed.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(event["actor"], "alice", "{event}");
    }
    let tail = "events tail --since-start --until-caught-up --output json";
    assert_eq!(shell.answer(tail).await, shell.answer("events list --limit 1000 --output json").await);
    let denials = "events list --kind rejected --scope acme/ml --resource memory_gb --by alice --since 1h";
    let denials = shell.answer(denials).await;
    assert!(denials.contains("short by 6.5") || denials.contains("30.5"), "{denials}");
    assert_eq!(shell.answer("events list --by bob").await, "");
    let of_the_hold = shell.answer(&format!("events list --hold {id} --output json")).await;
    assert!(of_the_hold.lines().count() >= 3, "reserved, committed, released: {of_the_hold}");
    shell.failure("events list --kind reserve", 2, &["filter.kinds[0]", "reserved"]).await;
    shell.failure("events tail --from 1000000", 1, &["revision 1000000", "the newest there is"]).await;
}

/// The lines of the tour in the README, each with the words behind its `#`.
fn tour() -> Vec<(String, String)> {
    let readme = include_str!("../../README.md");
    let block = readme
        .split("```")
        .find(|block| block.contains("quorate diff -f"))
        .expect("the README has a tour of the rules");
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/");
    let line = |line: &str| {
        let words = line.strip_prefix("quorate ")?;
        let (words, said) = words.split_once('#').unwrap_or((words, ""));
        let words: Vec<&str> = words.split_whitespace().collect();
        Some((words.join(" ").replace("examples/", examples), said.trim().to_owned()))
    };
    block.lines().filter_map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_of_the_rules_goes_as_the_readme_says() {
    let cluster = Cluster::of_three().await;
    let shell = Shell::new(&cluster);
    let tour = tour();
    assert!(tour.len() > 10, "{tour:?}");
    for (words, said) in tour {
        let code = match said.as_str() {
            said if said.contains("exit code 5") => 5,
            said if said.starts_with("denied") => 3,
            _ => 0,
        };
        let finished = shell.run(&words).await;
        assert_eq!(finished.code, Some(code), "{words}: {finished:?}");
        let shown = [
            ("with a warning", "warning: example/vision  memory_gb  soft limit 96"),
            ("nothing to change", "nothing to change"),
            ("the grace is running", "grace: 3 h 59 min left"),
            ("what fits: 28", "example/vision:memory_gb=28 of 60"),
            ("vcpus was changed", "vcpus  template: 8, burst 12 (at most 1 h); here: 12"),
        ];
        for (_, expected) in shown.iter().filter(|(mark, _)| said.contains(mark)) {
            assert!(finished.stdout.contains(expected), "{words}: {finished:?}");
        }
    }
    let plan = shell.answer("export").await;
    let file = std::env::temp_dir().join(format!("quorate-export-{}.yaml", std::process::id()));
    std::fs::write(&file, plan).expect("written");
    let again = shell.run(&format!("diff -f {}", file.display())).await;
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(again.code, Some(0), "what was exported is what is there: {again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_run_is_an_error_with_advice() {
    let directory = Directory::new();
    let nowhere = crate::harness::Port::find().address();
    let line = ["--endpoints", &nowhere, "--timeout", "300ms", "reserve", "acme:memory_gb=1"];
    // The port is kept by this test and never answers: whether the command arrived is not known.
    let finished = run(&directory, &line).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_majority_tells_that_the_outcome_is_unknown_and_a_repeat_tells_the_rest() {
    let mut cluster = Cluster::of_three().await;
    let shell = Shell::new(&cluster);
    shell.answer("scope create acme").await;
    shell.answer("quota set acme memory_gb 100").await;
    let leader = cluster.leader().await;
    for at in (0..3).filter(|at| *at != leader) {
        cluster.nodes[at].kill();
    }
    let finished = shell.run("--timeout 2s reserve acme:memory_gb=40").await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let repeat = finished.stderr.lines().find(|line| line.trim_start().starts_with("quorate --request-id"));
    let repeat = repeat.unwrap_or_else(|| panic!("how to repeat is not in {finished:?}")).trim();
    let words: Vec<_> =
        repeat.split(' ').skip(1).filter(|word| *word != "--timeout" && *word != "2s").collect();
    for at in (0..3).filter(|at| *at != leader) {
        cluster.start_node(at);
    }
    cluster.leader().await;
    for _ in 0..2 {
        let again = run(&shell.directory, &words).await;
        assert_eq!(again.code, Some(0), "{again:?}");
    }
    let quota = shell.json("quota get acme memory_gb").await;
    assert_eq!(quota["quota"]["counters"]["held"], "40", "it took effect once");
}
