//! Runs the commands of a script on a ledger of its own.

use std::collections::BTreeMap;
use std::fmt::Write;

use quorate::ledger::apply::RefusedClock;
use quorate::ledger::*;

use super::Result;
use super::arguments::Arguments;
use super::arguments::duration;
use super::arguments::off;
use super::check::Replica;
use super::check::check_export;
use super::coverage::Seen;
use super::parse;
use super::print;
use super::print::time;
use super::requests::request;
use super::requests::request_id;

/// A ledger of its own for each script, and who follows it.
pub struct Script {
    state: State,
    replica: Replica,
    time: LogTime,
    /// Stands for the random part of request ids.
    made: u64,
    named_ids: BTreeMap<String, RequestId>,
    /// Revisions that scripts gave a name.
    named: BTreeMap<String, Revision>,
    block: Option<Block>,
    /// What the last command was answered.
    pub last: Option<Outcome>,
    /// What has occurred so far.
    pub seen: Seen,
}

/// Commands that are gathered until `end`.
enum Block {
    Batch(Vec<Command>),
    Plan(command::Plan),
    /// One of them could not be made.
    Refused,
}

impl Default for Script {
    fn default() -> Self {
        let mut state = State::default();
        let replica = Replica::of(&mut state);
        Self {
            state,
            replica,
            time: print::BEGIN_MS,
            made: 0,
            named_ids: BTreeMap::new(),
            named: BTreeMap::new(),
            block: None,
            last: None,
            seen: Seen::default(),
        }
    }
}

impl goldenscript::Runner for Script {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &goldenscript::Context) -> Result<String> {
        let mut arguments = Arguments::new(&command.args);
        let preview = command.name == "preview";
        let name = if preview { arguments.shift()? } else { command.name.clone() };
        let place = match name.as_str() {
            "commit" | "release" | "renew" | "resize" => Some(0),
            "cancel" => Some(2),
            "show" if arguments.word(0)? == "hold" => Some(1),
            _ => None,
        };
        if let Some(place) = place {
            arguments.replace(place, &self.named);
        }
        if self.block.is_some() && name != "end" {
            return self.gather(&name, &arguments);
        }
        match name.as_str() {
            "wait" => {
                self.time += duration(arguments.word(0)?)?;
                Ok(format!("time is {}\n", time(self.time)))
            }
            "tick" => self.enter(self.time.into(), &[]),
            "refused" => {
                let clock = off(arguments.word(0)?, self.time)?;
                let node = arguments.number("node")?.ok_or("node= is missing")?;
                self.enter(apply::Stamp { time: self.time, refused: Some(RefusedClock { clock, node }) }, &[])
            }
            "restart" => {
                self.state = State::from_rows(self.state.rows())?;
                Ok(format!("restarted; {}\n", print::deadline(&self.state, self.time)))
            }
            "show" => print::show(&self.state, self.time, &arguments),
            "batch" => self.begin(Block::Batch(Vec::new())),
            "plan" => self.begin(Block::Plan(command::Plan::default())),
            "many" => self.many(arguments),
            name => {
                let made = match name {
                    "end" => self.end()?,
                    name => parse::command(name, &arguments, self.time)?,
                };
                match made {
                    Err(malformed) => Ok(format!("not proposed: {malformed}\n")),
                    Ok(command) if preview => self.preview(command, &arguments),
                    Ok(command) => self.propose(command, &arguments),
                }
            }
        }
    }

    fn end_script(&mut self) -> Result<()> {
        if self.block.is_some() {
            return Err("the last block has no end".into());
        }
        let request = |command| request(request_id(self.time, 0), "", command);
        check_export(&mut self.state, self.time, request)
    }
}

impl Script {
    fn request(&mut self, command: Command, arguments: &Arguments) -> Result<Request> {
        let id = self.id(arguments)?;
        Ok(request(id, arguments.key("as").unwrap_or(""), command))
    }

    fn propose(&mut self, command: Command, arguments: &Arguments) -> Result<String> {
        let request = self.request(command, arguments)?;
        let output = self.enter(self.time.into(), &[request])?;
        if let (Some(name), Some(outcome)) = (arguments.key("named"), &self.last) {
            self.named.insert(name.into(), outcome.revision);
        }
        Ok(output)
    }

    /// One log entry.
    fn enter(&mut self, stamp: apply::Stamp, requests: &[Request]) -> Result<String> {
        let applied = apply(&mut self.state, stamp, requests);
        self.seen.entry(requests, &applied);
        self.last = applied.outcomes.last().cloned();
        let mut output = String::new();
        let of_time = applied.events.iter().take_while(|event| event.cause == Cause::Time).count();
        let (by_time, by_requests) = applied.events.split_at(of_time);
        self.replica.follow(by_time, |state, event| print::event(&mut output, state, event))?;
        if requests.is_empty() && by_time.is_empty() {
            output.push_str("nothing was due\n");
        }
        print::outcomes(&mut output, &applied.outcomes)?;
        self.replica.follow(by_requests, |state, event| print::event(&mut output, state, event))?;
        self.replica.check(&mut self.state);
        Ok(print::shortened(output))
    }

    /// What a command would do; the state stays as it is.
    fn preview(&mut self, command: Command, arguments: &Arguments) -> Result<String> {
        let request = self.request(command, arguments)?;
        let applied = preview(&mut self.state, self.time, &request);
        let mut output = String::new();
        print::outcomes(&mut output, &applied.outcomes)?;
        let mut other = self.replica.clone();
        // What is due by now happens before, and is not told.
        let due = apply(&mut self.state.clone(), self.time, &[]).events;
        other.follow(&due, |_, _| Ok(()))?;
        other.follow(&applied.events, |state, event| print::event(&mut output, state, event))?;
        self.replica.check(&mut self.state);
        let lines: String = output.lines().map(|line| format!("  {line}\n")).collect();
        Ok(format!("nothing is done; it would be\n{lines}"))
    }

    /// Many requests in one log entry, each with its own id and number.
    fn many(&mut self, mut arguments: Arguments) -> Result<String> {
        let count: usize = arguments.shift()?.parse()?;
        let name = arguments.shift()?;
        let requests: Vec<Request> = (1..=count)
            .map(|number| {
                let arguments = arguments.numbered(number);
                let command = parse::command(&name, &arguments, self.time)??;
                self.request(command, &arguments)
            })
            .collect::<Result<_>>()?;
        self.enter(self.time.into(), &requests)
    }

    fn id(&mut self, arguments: &Arguments) -> Result<RequestId> {
        if let Some(id) = arguments.key("id").and_then(|name| self.named_ids.get(name)) {
            return Ok(*id);
        }
        let time = arguments.key("made").map_or(Ok(self.time), |made| off(made, self.time))?;
        self.made += 1;
        let id = request_id(time, self.made);
        if let Some(name) = arguments.key("id") {
            self.named_ids.insert(name.into(), id);
        }
        Ok(id)
    }

    fn begin(&mut self, block: Block) -> Result<String> {
        self.block = Some(block);
        Ok(String::new())
    }

    fn end(&mut self) -> Result<std::result::Result<Command, Malformed>> {
        Ok(match self.block.take().ok_or("nothing was begun")? {
            Block::Batch(commands) => command::Batch::new(commands).map(Command::Batch),
            Block::Plan(plan) => plan.checked().map(Command::ApplyPlan),
            Block::Refused => Err(Malformed::new("the block", "has a command that could not be made")),
        })
    }

    fn gather(&mut self, name: &str, arguments: &Arguments) -> Result<String> {
        let mut output = String::new();
        let refused = match self.block.as_mut().ok_or("nothing was begun")? {
            Block::Batch(commands) => {
                parse::command(name, arguments, self.time)?.map(|command| commands.push(command)).err()
            }
            Block::Plan(plan) => plan_line(plan, name, arguments)?.err(),
            Block::Refused => None,
        };
        if let Some(malformed) = refused {
            writeln!(output, "not proposed: {malformed}")?;
            self.block = Some(Block::Refused);
        }
        Ok(output)
    }
}

/// Adds a line of a script to a plan.
fn plan_line(
    plan: &mut command::Plan,
    name: &str,
    arguments: &Arguments,
) -> Result<std::result::Result<(), Malformed>> {
    Ok(match name {
        "resource" => parse::resource(arguments)?.map(|resource| plan.resources.push(resource)),
        "template" => parse::template(arguments)?.map(|template| plan.templates.push(template)),
        "scope" => parse::scope(arguments)?.map(|scope| plan.scopes.push(scope)),
        "apply_template" => {
            let template = arguments.name(1)?;
            planned(plan, arguments)?.1.template = Some(template);
            Ok(())
        }
        "quota" => {
            let resource = arguments.name(1)?;
            let (position, scope) = planned(plan, arguments)?;
            let prefix = format!("plan.scopes[{position}].quotas[{}].policy.", scope.quotas.len());
            let policy = parse::policy(arguments, 2, &prefix)?;
            policy.map(|policy| scope.quotas.push(command::PlannedQuota { resource, policy }))
        }
        other => return Err(format!("a plan has no {other:?}").into()),
    })
}

/// The scope of a plan that a line is about: the last one named so, or a new one.
fn planned<'a>(
    plan: &'a mut command::Plan,
    arguments: &Arguments,
) -> Result<(usize, &'a mut command::PlannedScope)> {
    let path = arguments.path(0)?;
    let position = match plan.scopes.iter().rposition(|scope| scope.path == path) {
        Some(position) => position,
        None => {
            plan.scopes.push(command::PlannedScope {
                path,
                kind: None,
                labels: None,
                schema: None,
                child_policy: None,
                template: None,
                quotas: Vec::new(),
            });
            plan.scopes.len() - 1
        }
    };
    Ok((position, &mut plan.scopes[position]))
}
