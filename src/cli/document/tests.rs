use super::*;
use crate::cli::policy::tests::amount;
use crate::cli::policy::tests::word;

const PLAN: &str = "\
scopes:
  - path: acme
    kind: organization
    child_policy: sum_within_parent
    labels:
      region: eu
    template: startup
    quotas:
      - resource: memory_gb
        policy:
          limit: 0.10
          grace: 4h
          enforcement: warn
";

/// The same in the words of the protocol.
const AS_IN_THE_PROTOCOL: &str = "\
scopes:
  - path: acme
    kind: organization
    child_policy: CHILD_POLICY_SUM_WITHIN_PARENT
    labels:
      labels:
        region: eu
    template: startup
    quotas:
      - resource: memory_gb
        policy:
          limit:
            amount: 0.10
          grace_ms: 14400000
          enforcement: ENFORCEMENT_WARN
";

pub(in crate::cli) fn plan() -> v1::Plan {
    parse(PLAN).expect("a plan")
}

fn policy(text: &str) -> Result<v1::Policy, String> {
    let plan: v1::Plan = parse(&format!("scopes: [{{path: a, quotas: [{{resource: r, policy: {text}}}]}}]"))?;
    Ok(plan.scopes[0].quotas[0].policy.clone().expect("a policy"))
}

#[test]
fn a_document_is_read_in_the_words_of_the_command_line_and_of_the_protocol() {
    let plan = plan();
    let scope = &plan.scopes[0];
    assert_eq!((scope.path.as_str(), scope.template.as_str()), ("acme", "startup"));
    assert_eq!(scope.child_policy(), v1::ChildPolicy::SumWithinParent);
    assert_eq!(scope.labels.as_ref().expect("labels").labels["region"], "eu");
    let policy = scope.quotas[0].policy.as_ref().expect("a policy");
    assert_eq!(policy.limit, amount("0.10"), "read as it is written");
    assert_eq!((policy.grace_ms, policy.enforcement()), (14_400_000, v1::Enforcement::Warn));
    assert_eq!(parse(AS_IN_THE_PROTOCOL), Ok(plan));
}

#[test]
fn every_word_says_what_it_says_in_the_protocol() {
    for (words, protocol) in [
        ("{limit: 64}", "{limit: {amount: '64'}}"),
        ("{limit: inherit}", "{limit: {inherit: {}}}"),
        ("{limit: unlimited}", "{limit: {unlimited: {}}}"),
        ("{limit: 1, soft: 0.5, max_burst: 90m}", "{limit: {amount: 1}, soft: '0.5', max_burst_ms: 5400000}"),
        ("{default_ttl: 30s, max_ttl: 1d}", "{defaultTtlMs: 30000, max_ttl_ms: '86400000'}"),
        ("{on_reduce: drain, enforcement: off}", "{on_reduce: ON_REDUCE_DRAIN, enforcement: 4}"),
        ("{allow_transfer: true}", "{allowTransfer: true}"),
    ] {
        assert_eq!(policy(words).expect(words), policy(protocol).expect(protocol), "{words}");
    }
    let labels = |text: &str| parse::<v1::Plan>(&format!("scopes: [{{path: a, labels: {text}}}]"));
    assert_eq!(labels("{a: x, b: 1}"), labels("{labels: {a: x, b: '1'}}"));
    assert_eq!(labels("{}"), labels("{labels: {}}"));
    assert_ne!(labels("{labels: x}"), labels("{labels: {}}"), "a label may be called labels");
    let kinds = ["capacity", "CAPACITY", "RESOURCE_KIND_CAPACITY"]
        .map(|kind| parse::<v1::Plan>(&format!("resources: [{{name: r, kind: {kind}}}]")).expect(kind));
    assert!(kinds.iter().all(|plan| plan.resources[0].kind() == v1::ResourceKind::Capacity));
}

#[test]
fn amounts_are_read_digit_by_digit() {
    let exact = "999999999999.000000000000000001";
    assert_eq!(policy(&format!("{{limit: {exact}}}")).expect("a policy").limit, amount(exact));
    assert_eq!(policy(&format!("{{limit: {{amount: {exact}}}}}")).expect("a policy").limit, amount(exact));
    let line = r#"{"set_quota": {"scope": "a", "policy": {"limit": 64, "soft": 0.5}}}"#;
    let problem = parse_json::<v1::BatchCommand>(line).expect_err("a fraction");
    assert!(problem.contains("in quotes"), "{problem}");
    assert!(parse_json::<v1::BatchCommand>(&line.replace("0.5", "\"0.5\"")).is_ok());
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let mut plan = plan();
    let same = |plan: &v1::Plan| {
        let (yaml, json) = (yaml(plan).expect("YAML"), json(plan).expect("JSON"));
        assert_eq!(parse::<v1::Plan>(&yaml), Ok(plan.clone()), "{yaml}");
        assert_eq!(parse::<v1::Plan>(&json), Ok(plan.clone()), "{json}");
        assert_eq!(parse_json::<v1::Plan>(&json), Ok(plan.clone()), "{json}");
    };
    for value in ["20", "0.10", "1e3", "null", "yes", "", "a: b", "-", "~", "é\n"] {
        plan.scopes[0].kind = value.into();
        plan.scopes[0].labels = Some(v1::Labels { labels: [(value.into(), value.into())].into() });
        same(&plan);
        let policy = plan.scopes[0].quotas[0].policy.as_mut().expect("a policy");
        (policy.soft, policy.limit) = (value.into(), amount(value));
        same(&plan);
    }
    for (limit, ms) in
        [(amount("unlimited"), 1), (word("inherit"), u64::MAX), (Some(v1::Limit::default()), 0)]
    {
        let policy = plan.scopes[0].quotas[0].policy.as_mut().expect("a policy");
        (policy.limit, policy.grace_ms, policy.max_ttl_ms) = (limit, ms, 90_061_001);
        same(&plan);
    }
    plan.scopes[0].labels = Some(v1::Labels::default());
    same(&plan);
}

#[test]
fn a_document_is_written_as_people_write_it() {
    let expected = "\
scopes:
- path: acme
  kind: organization
  labels:
    region: eu
  child_policy: sum_within_parent
  template: startup
  quotas:
  - resource: memory_gb
    policy:
      limit: '0.10'
      grace: 4h
      enforcement: warn
";
    assert_eq!(yaml(&plan()).expect("YAML"), expected);
    let mut whole = plan();
    whole.scopes[0].quotas[0].policy.as_mut().expect("a policy").limit = amount("64");
    assert!(yaml(&whole).expect("YAML").contains("limit: 64\n"));
}

#[test]
fn what_is_no_field_is_refused_with_its_place_and_what_there_is() {
    let problem = parse::<v1::Plan>(&PLAN.replace("grace", "grrace")).expect_err("no such field");
    assert!(problem.contains("policy.grrace") && problem.contains("line 12"), "{problem}");
    assert!(problem.contains("soft, grace, burst"), "{problem}");
    let problem = parse::<v1::Plan>("scopes:\n  - path: [1]\n").expect_err("no text");
    assert!(problem.contains("scopes[0].path") && problem.contains("line 2"), "{problem}");
    for (text, said) in [
        ("{limit: much}", "an amount such as 20"),
        ("{limit: [1]}", "invalid type"),
        ("{grace: 4}", "the unit is missing"),
        ("{grace_ms: 4h}", "not a whole number"),
        ("{enforcement: warm}", "none of enforce, warn, shadow, off"),
        ("{allow_transfer: maybe}", "neither true nor false"),
        ("64", "the fields of Policy"),
    ] {
        let problem = policy(text).expect_err(text);
        assert!(problem.contains(said), "{text}: {problem}");
    }
    let problem = parse::<v1::Plan>("scopes: []\n---\nscopes: []\n").expect_err("two documents");
    assert!(problem.contains("more than one document"), "{problem}");
    assert!(parse_json::<v1::BatchCommand>(r#"{"tag":1} {"tag":2}"#).is_err());
}

#[test]
fn what_is_said_twice_is_refused_with_its_place() {
    for (text, place) in [
        ("scopes: []\nscopes: []\n", "line 2"),
        ("scopes:\n  - path: a\n    quotas: []\n    kind: b\n    quotas: []\n", "scopes[0].quotas"),
        ("scopes: [{path: a, labels: {x: 1, x: 2}}]", "labels.x"),
        ("scopes: [{path: a, labels: {labels: {x: 1, x: 2}}}]", "labels.x"),
        ("scopes: [{path: a, quotas: [{policy: {soft: 1, soft: 2}}]}]", "policy.soft"),
        ("scopes: [{path: a, quotas: [{policy: {grace: 1h, grace_ms: 2}}]}]", "policy.grace_ms"),
        ("scopes: [{path: a, child_policy: unchecked, childPolicy: unchecked}]", "childPolicy"),
    ] {
        let problem = parse::<v1::Plan>(text).expect_err(text);
        assert!(problem.contains("is said twice") && problem.contains(place), "{text}: {problem}");
    }
    let problem = policy("{limit: {amount: 1, inherit: {}}}").expect_err("two limits");
    assert!(problem.contains("limit.inherit") && problem.contains("beside amount"), "{problem}");
    let line = r#"{"release": {"hold_id": 1, "hold_id": 2}}"#;
    let problem = parse_json::<v1::BatchCommand>(line).expect_err("two holds");
    assert!(problem.contains("is said twice") && problem.contains("column"), "{problem}");
    let line = r#"{"reserve": {}, "commit": {}}"#;
    let problem = parse_json::<v1::BatchCommand>(line).expect_err("two commands");
    assert!(problem.contains("beside reserve"), "{problem}");
}

#[test]
fn what_is_not_said_to_the_end_is_refused_with_its_place() {
    for (text, place) in [
        ("scopes:\n  - path: a\n    quotas:\n", "scopes[0].quotas"),
        ("scopes:\n  - path: a\n    kind: ~\n", "scopes[0].kind"),
        ("scopes: [{path: a, quotas: [{policy: {soft: }}]}]", "policy.soft"),
        ("scopes: [{path: a, quotas: [{policy: {limit: null}}]}]", "policy.limit"),
        ("scopes: [{path: a, labels: {x: }}]", "labels.x"),
        ("scopes: [{path: a}, ]\nresources: [null]", "resources[0]"),
    ] {
        let problem = parse::<v1::Plan>(text).expect_err(text);
        assert!(problem.contains("nothing behind it") && problem.contains(place), "{text}: {problem}");
    }
    for empty in ["", "~\n", "# only a comment\n"] {
        assert!(parse::<v1::Plan>(empty).expect_err("nothing").contains("nothing in it"), "{empty:?}");
    }
    assert!(parse::<v1::Plan>("# only a comment\n").is_err());
    let problem = parse_json::<v1::BatchCommand>(r#"{"release": null}"#).expect_err("nothing");
    assert!(problem.contains("nothing behind it"), "{problem}");
}

#[test]
fn a_mask_is_written_as_one_text() {
    let line =
        r#"{"set_quota": {"scope": "a", "update_mask": "soft, grace_ms,maxTtlMs", "policy": {"soft": 5}}}"#;
    let command: v1::BatchCommand = parse_json(line).expect("a command");
    let Some(v1::batch_command::Command::SetQuota(set)) = command.command else { panic!("{command:?}") };
    assert_eq!(set.update_mask.expect("a mask").paths, ["soft", "grace_ms", "max_ttl_ms"]);
}

#[test]
fn the_shipped_examples_are_plans() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let plan: v1::Plan = DocumentArgs { file: path.clone() }
                .read()
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(!plan.scopes.is_empty(), "{}", path.display());
            let text = std::fs::read_to_string(&path).expect("the example");
            for long in ["ENFORCEMENT_", "KIND_", "POLICY_", "REDUCE_", "_ms:", "amount:"] {
                assert!(!text.contains(long), "{}: {long}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 0);
}
