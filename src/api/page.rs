//! Pages of lists. A token is the last item of the page before, so a list that changes between two
//! pages neither repeats nor skips what was there all the time.

use prost::Message;
use tonic::Status;

use super::status;
use super::walk::Walk;
use crate::codec::command;
use crate::ledger::Malformed;
use crate::ledger::Path;
use crate::ledger::Rejection;
use crate::ledger::ResourceId;
use crate::ledger::Scope;
use crate::ledger::State;
use crate::planted::Bug;
use crate::planted::planted;

/// Items per page when the client does not say.
const DEFAULT: usize = 100;

/// Most items per page.
const MOST: usize = 1_000;

/// Most things that are looked at for a page.
pub(super) const MOST_LOOKED_AT: usize = 10_000;

/// A page ends with the item with which it has so many bytes: other clients take messages of 4 MiB.
pub(super) const MOST_BYTES: usize = 2 << 20;

/// How many items a page may have.
pub(super) fn size(asked: u32) -> Result<usize, Status> {
    match asked as usize {
        0 => Ok(DEFAULT),
        size if size <= MOST => Ok(size),
        size => Err(status::malformed(&Malformed::new(
            "page_size",
            format!("is {size}; at most {MOST} are allowed"),
        ))),
    }
}

/// One page of what is wanted, encoded, with the token of the next; "" when this was the last. A page
/// ends after so many things that were looked at, too: the ledger waits meanwhile. So a page may have
/// fewer items than it could, even none, and still have a next one.
pub(super) fn take<I, T: Message>(
    mut items: impl Iterator<Item = I>,
    size: usize,
    wanted: impl Fn(&I) -> Option<T>,
    token: impl Fn(&I) -> String,
) -> (Vec<T>, String) {
    let mut page = Vec::new();
    let mut last = None;
    let mut bytes = 0;
    for item in items.by_ref().take(MOST_LOOKED_AT) {
        let message = wanted(&item);
        bytes += message.as_ref().map_or(0, Message::encoded_len);
        page.extend(message);
        last = Some(item);
        if page.len() == size || bytes >= MOST_BYTES {
            break;
        }
    }
    let next = items.next();
    let ends_with = if planted(Bug::PageLeavesOneOut) { &next } else { &last };
    (page, ends_with.as_ref().filter(|_| next.is_some()).map(token).unwrap_or_default())
}

/// The scopes at and below a path ("" for all), after the one in the token.
pub(super) fn scopes<'a>(
    state: &'a State,
    path: &str,
    token: &str,
) -> Result<Box<dyn Iterator<Item = &'a Scope> + 'a>, Status> {
    let after = match token {
        "" => None,
        token => Some(command::path("page_token", token).map_err(|error| status::malformed(&error))?),
    };
    scopes_after(state, path, after)
}

/// The scopes at and below a path ("" for all), after another one.
pub(super) fn scopes_after<'a>(
    state: &'a State,
    path: &str,
    after: Option<Path>,
) -> Result<Box<dyn Iterator<Item = &'a Scope> + 'a>, Status> {
    let Some(path) = within(path)? else {
        let trees = state.trees_from(after.as_ref().map_or("", Path::tree));
        return Ok(Box::new(trees.flat_map(move |tree| match &after {
            Some(after) if after.is_within(&tree.path) => Walk::after(state, tree, after),
            _ => Walk::whole(state, tree),
        })));
    };
    let Some(scope) = state.scope_at(&path) else {
        return Err(status::rejected(&Rejection::UnknownScopes(vec![path]), state.revision()));
    };
    Ok(Box::new(match after {
        None => Walk::whole(state, scope),
        Some(after) if after.is_within(&path) => Walk::after(state, scope, &after),
        Some(_) => {
            let problem = format!("is of another list: it is not within {path}");
            return Err(status::malformed(&Malformed::new("page_token", problem)));
        }
    }))
}

/// What a token that means nothing to a list is answered with.
pub(super) fn strange_token() -> Status {
    status::malformed(&Malformed::new("page_token", "is not one this server gave"))
}

/// The last path of the page before.
pub(super) fn path_token(token: &str) -> Result<Path, Status> {
    command::path("page_token", token).map_err(|error| status::malformed(&error))
}

/// A scope that must be there.
pub(super) fn scope<'a>(state: &'a State, path: &Path) -> Result<&'a Scope, Status> {
    let unknown = || Rejection::UnknownScopes(vec![path.clone()]);
    state.scope_at(path).ok_or_else(|| status::rejected(&unknown(), state.revision()))
}

/// A resource that must be there.
pub(super) fn resource(state: &State, name: &str) -> Result<ResourceId, Status> {
    let name = command::name("resource", name).map_err(|error| status::malformed(&error))?;
    let unknown = || Rejection::UnknownResources(vec![name.clone()]);
    state.resource_id(&name).ok_or_else(|| status::rejected(&unknown(), state.revision()))
}

/// The path a list is restricted to; `None` for none.
pub(super) fn within(path: &str) -> Result<Option<Path>, Status> {
    if path.is_empty() {
        return Ok(None);
    }
    command::path("scope", path).map(Some).map_err(|error| status::malformed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_after_what_was_looked_at_and_the_next_goes_on() {
        let list = |from: u64, to: u64, wanted: u64| {
            let wanted = move |number: &u64| number.is_multiple_of(wanted).then_some(*number);
            take(from..to, 3, wanted, ToString::to_string)
        };
        assert_eq!(list(1, 10, 2), (vec![2, 4, 6], "6".to_owned()));
        assert_eq!(list(7, 10, 2), (vec![8], String::new()));
        assert_eq!(list(1, 7, 2), (vec![2, 4, 6], String::new()));
        assert_eq!(list(1, 1, 2), (vec![], String::new()));
        // Far apart: a page may be empty, and says where to go on.
        let (first, token) = list(1, 30_000, 25_000);
        assert_eq!((first, token.as_str()), (vec![], "10000"));
        assert_eq!(list(20_001, 30_000, 25_000), (vec![25_000], String::new()));
    }

    #[test]
    fn a_page_ends_when_it_has_many_bytes() {
        let large = |number: &u64| Some(format!("{number}{}", "x".repeat(MOST_BYTES / 2)));
        let (page, token) = take(1..10, 5, large, ToString::to_string);
        assert_eq!((page.len(), token.as_str()), (2, "2"));
        let (page, token) = take(9..10, 5, large, ToString::to_string);
        assert_eq!((page.len(), token.as_str()), (1, ""));
    }
}
