//! What the rules cost: decisions per second on one core, and bytes per thing kept.
//!
//! `cargo bench --bench ledger`. Everything happens in this process, without log, disk or network.
//! What is measured is `ledger::apply` in entries of 1,000 commands: decisions, the change of the
//! state, and events and outcomes made and dropped. The requests of an entry are made just before
//! it, outside the measure, as decoding makes them on a node.
//!
//! 1. Reservations and releases through three levels (organization, teams, users) with a quota on
//!    each scope, so that each is decided at three quotas, one of them the hot root. Users are
//!    picked at random.
//! 2. The quotas of as many children of one scope, each of which must fit what its siblings leave
//!    of their parent.
//! 3. Memory, each part in a process of its own: what a state takes that is loaded from rows, as
//!    after a restart.

mod memory;
mod tree;

use std::time::Duration;

use quorate::ledger::tree::ChildPolicy;

use crate::tree::Tree;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(position) = arguments.iter().position(|argument| argument == memory::FLAG) {
        return memory::answer(&arguments[position + 1..]);
    }
    // `cargo test --bench ledger` only looks whether it works, and whether memory keeps its bounds:
    // small rounds are enough for that.
    let quick = !arguments.iter().any(|argument| argument == "--bench");
    let holds = if quick { 2_000 } else { 200_000 };
    let (small, large, rounds) = if quick { (100, 1_000, 1) } else { (1_000, 1_000_000, 7) };
    println!("through three levels, entries of {} commands, one core, best of {rounds}", tree::ENTRY);
    let mut trees = [small, large].map(Tree::of_users);
    if !quick {
        // As on a node that has worked for a while: each request that is remembered makes the ledger
        // forget another one.
        trees.iter_mut().for_each(Tree::fill);
    }
    // Taking turns: what else the machine does meets both.
    let mut best = [(Duration::MAX, Duration::MAX); 2];
    for _ in 0..rounds {
        for (tree, (reserving, releasing)) in trees.iter_mut().zip(&mut best) {
            let (taken, made) = tree.reserve(holds);
            *reserving = taken.min(*reserving);
            *releasing = tree.release(&made).min(*releasing);
        }
    }
    let rate = |taken: Duration| holds as f64 / taken.as_secs_f64();
    for (tree, (reserving, releasing)) in trees.iter().zip(best) {
        println!(
            "{:>9} scopes: {:>9.0} reserves/s, {:>9.0} releases/s",
            tree.users(),
            rate(reserving),
            rate(releasing)
        );
    }
    let [few, many] = best.map(|(reserving, _)| rate(reserving));
    println!("{large} scopes against {small}: {:.2} of the speed", many / few);
    drop(trees);

    println!("children of one scope, all together within it");
    let (few, many) = if quick { (100, 1_000) } else { (1_000, 100_000) };
    let [few_rate, many_rate] = [few, many].map(wide);
    println!("{many} children against {few}: {:.2} of the speed", many_rate / few_rate);

    println!("memory");
    let things = 1_000_000;
    let per_scope = memory::ask(things, 0) / things;
    let per_hold = memory::ask(1_000, things).saturating_sub(memory::ask(1_000, 0)) / things;
    println!("{things:>9} idle scopes with a quota: {per_scope} bytes each");
    println!("{things:>9} live holds: {per_hold} bytes each");
    assert!(per_scope <= 400, "an idle scope with its quota takes at most 400 bytes");
    assert!(per_hold <= 300, "a live hold takes at most 300 bytes");
}

/// Makes a scope with so many children, which together have as much as it has, and tells how many
/// of them get their quota per second.
fn wide(children: usize) -> f64 {
    let mut tree = Tree::default();
    tree.add("wide", children as u64, Some(ChildPolicy::SumWithinParent));
    let taken: Duration = (0..children).map(|child| tree.add(&format!("wide/child{child}"), 1, None)).sum();
    let rate = children as f64 / taken.as_secs_f64();
    println!("{children:>9} children: {rate:>9.0} made with their quota per second");
    rate
}
