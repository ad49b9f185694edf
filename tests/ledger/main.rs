//! The rules of the ledger as scripts: `tests/ledger/*.golden`, one file per subject.
//!
//! Each block of a script is a few commands, and after `---` what the ledger answers: the outcome,
//! the events (those of time first), and the counters of everything an event touched. After a
//! change of the rules, `UPDATE_GOLDENFILES=1 cargo test --release --test ledger` writes the
//! scripts anew; review them as a diff.
//!
//! Whatever a script is about, `check` looks at more after each of its commands: whether those who
//! fold the events, take over changed rows or load all rows have the same state as the one that
//! decided; whether counters are what the holds take, and clocks run as they should; and at its end
//! whether the ledger, exported as a plan, makes the same ledger again.
//!
//! # Commands of the ledger
//!
//! ```text
//! scope PATH [kind=NAME] [label.KEY=VALUE …] [schema=KIND/KIND…|free] [child_policy=each|sum|unchecked]
//! update_scope PATH [label.KEY=VALUE …|labels=none] [schema=…] [child_policy=…]
//! move_scope PATH NEW_PATH [force]
//! compact REVISION                  lets go of the events up to it
//! delete_scope PATH [recursive]
//! resource NAME unit=TEXT decimals=N kind=capacity|budget
//! quota PATH RESOURCE LIMIT [TERM …] [effective_in=DURATION] [if_version=N]
//! patch PATH RESOURCE [limit=LIMIT] [TERM …] [effective_in=DURATION] [if_version=N]
//! adjust PATH RESOURCE AMOUNT [if_version=N]              "-5" is quoted
//! delete_quota PATH RESOURCE [if_version=N]
//! lock PATH RESOURCE reason=TEXT [if_version=N]
//! unlock PATH RESOURCE [if_version=N]
//! override PATH RESOURCE LIMIT end_in=DURATION [start_in=DURATION] [reason=TEXT] [if_version=N]
//! cancel PATH RESOURCE REVISION [if_version=N]
//! transfer RESOURCE FROM TO AMOUNT [until_in=DURATION] [if_from_version=N] [if_to_version=N]
//! template NAME RESOURCE="LIMIT [TERM …]" … [description=TEXT] [if_version=N]
//! apply_template PATH NAME [if_template_version=N]
//! reserve LINE … [partial|force] [commit] [ttl=DURATION] [job=TEXT] [consumer=TEXT] [label.KEY=VALUE …]
//! commit HOLD [PATH@RESOURCE=AMOUNT …] [keep]             keep: final=false
//! release HOLD [PATH@RESOURCE=AMOUNT …]
//! renew HOLD DURATION
//! resize HOLD PATH@RESOURCE=AMOUNT …
//! batch, commands, end                                    all or nothing
//! plan, commands (resource, template, scope, quota, apply_template), end
//! ```
//!
//! A LIMIT is an amount, `unlimited` or `inherit`. A TERM is one of `soft= grace= burst= max_burst=
//! overcommit= enforcement=enforce|warn|shadow|off on_reduce=refuse|freeze|drain default_ttl=
//! max_ttl= allow_transfer=true|false`; `patch` changes what it names and takes `none`. A LINE is
//! `PATH@RESOURCE=AMOUNT [min=AMOUNT] [if_sequence=N]`. A DURATION is like `1h30m` (`d h m s ms`);
//! `…_in` counts from now.
//!
//! Each of these may have `as=ACTOR`, `id=NAME` (the request id made at the first use of that name:
//! a second use is a repeat) and `made=1h_ago` or `made=1h_ahead` (how far the clock of the client
//! that made the id is off). For a batch or a plan they stand at its `end`. With `named=NAME` the
//! hold or schedule that is made can be named so later, instead of by its number. With `preview`
//! before it, a command is only looked at.
//!
//! # Commands of the script
//!
//! ```text
//! wait DURATION                     log time goes on; nothing happens by itself until an entry
//! tick                              a log entry without a command
//! many N COMMAND                    N requests in one log entry; _N in it is the number of each
//! refused DURATION_ago|_ahead node=N   the same, and a clock that far off was not believed
//! restart                           the state is loaded from its rows
//! show PATH RESOURCE                counters, policy, clocks and schedule
//! show scope PATH; show tree PATH; show hold HOLD; show template NAME; show transfers; show deadline
//! show drift PATH                   where quotas are not what the template of the scope says
//! show holders PATH RESOURCE N      the holds that take most
//! ```
//!
//! A command in parentheses is not shown.
//!
//! Knows nothing of how the server computes fingerprints or encodes anything.

mod arguments;
mod check;
mod coverage;
mod parse;
mod precedence;
mod print;
#[path = "../requests/mod.rs"]
mod requests;
mod script;
mod wide;

use script::Script;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One test per script, named as the sentence that the script shows.
macro_rules! scripts {
    ($($test:ident: $file:literal,)*) => {
        const SCRIPTS: &[&str] = &[$($file),*];

        $(
            #[test]
            fn $test() -> std::io::Result<()> {
                goldenscript::run(&mut Script::default(), concat!("tests/ledger/", $file, ".golden"))
            }
        )*
    };
}

scripts! {
    scopes_form_trees_and_resources_a_catalogue: "scopes_and_resources",
    a_hold_is_reserved_committed_and_released_once_each: "hold_life",
    a_reservation_takes_all_its_lines_at_all_ancestors_or_nothing: "all_or_nothing",
    lines_that_meet_at_an_ancestor_add_up_there: "meeting_lines",
    use_is_counted_with_or_without_a_quota: "use_without_quota",
    unlimited_must_be_said: "unlimited_and_inherit",
    a_limit_of_zero_admits_nothing: "zero_limit",
    a_lowered_limit_freezes_growth_and_admits_release: "lowering",
    a_limit_stays_within_the_limit_above_it: "within_parent",
    an_adjustment_adds_to_or_takes_from_a_limit: "adjust",
    a_lock_stops_what_is_new_and_nothing_else: "lock",
    if_version_lets_one_of_two_administrators_win: "if_version",
    if_sequence_fails_a_writer_who_decided_on_stale_counters: "if_sequence",
    a_budget_is_consumed_by_commit: "budget",
    amounts_are_exact_at_the_decimals_of_their_resource: "decimals",
    a_request_takes_effect_at_most_once: "request_ids",
    of_two_reasons_the_first_in_the_order_of_precedence_is_told: "precedence",
    levels_say_which_kind_of_scope_there_is_at_which_depth: "levels",
    labels_say_something_about_a_scope: "labels",
    a_scope_is_moved_with_all_that_is_taken_there: "move_scope",
    a_scope_on_which_nothing_is_taken_is_deleted: "delete_scope",
    a_soft_limit_warns_until_its_grace_is_over: "soft_and_grace",
    a_burst_goes_over_the_limit_for_a_while: "burst",
    overcommit_multiplies_the_limit: "overcommit",
    a_policy_makes_sense_together: "policy_checks",
    a_patch_changes_what_it_names: "patch",
    limits_of_children_relate_to_those_above_as_their_tree_says: "child_policies",
    a_limit_below_use_is_refused_frozen_or_drained: "on_reduce",
    a_preview_tells_and_does_nothing: "preview",
    a_change_can_take_effect_later: "effective_at",
    an_override_replaces_a_limit_for_a_while: "overrides",
    a_hold_lives_as_long_as_it_or_its_quotas_say: "time_to_live",
    a_hold_expires_at_its_end_even_without_a_tick: "expiry",
    what_is_committed_of_a_hold_does_not_expire: "partial_expiry",
    commit_makes_all_or_a_part_final: "commit",
    release_gives_back_all_or_a_part: "release",
    renew_moves_the_end_of_a_hold: "renew",
    resize_changes_how_much_a_hold_takes: "resize",
    a_reservation_can_be_final_at_once: "allocate",
    what_is_committed_of_a_budget_is_spent: "budget_parts",
    tags_say_what_a_hold_is_for: "tags",
    a_partial_reservation_takes_what_fits: "partial_mode",
    force_goes_over_limits_and_says_so: "force",
    a_quota_may_warn_or_count_instead_of_denying: "enforcement",
    a_denial_explains_itself: "denials",
    a_batch_is_done_as_a_whole_or_not_at_all: "batch",
    a_template_is_a_set_of_policies_under_a_name: "templates",
    a_plan_says_what_there_should_be: "plans",
    a_part_of_a_limit_can_be_passed_to_a_sibling: "transfer",
    a_clock_that_is_not_believed_is_told: "refused_clock",
    a_repeat_of_anything_gets_the_first_answer: "repeats",
    many_holds_expire_in_several_entries: "many_holds",
    a_reservation_has_up_to_64_lines: "many_lines",
    a_tree_has_up_to_16_levels: "deep_tree",
    no_digit_of_an_amount_is_lost: "digits",
    a_quota_is_deleted_and_its_counters_go_on: "delete_quota",
    a_scope_drifts_from_its_template: "drift",
    the_largest_holders_are_known: "holders",
    the_oldest_events_are_let_go: "compact",
}

#[test]
fn every_script_has_a_test() {
    let files = std::fs::read_dir("tests/ledger").expect("the scripts are there");
    let paths = files.map(|file| file.expect("a directory entry").path());
    for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "golden")) {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_string();
        assert!(SCRIPTS.contains(&name.as_str()), "no test runs {}", path.display());
    }
}
