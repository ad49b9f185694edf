//! Pages of lists. A token is the last item of the page before, so a list that changes between two
//! pages neither repeats nor skips what was there all the time.

use tonic::Status;

use super::status;
use crate::codec::command;
use crate::ledger::Malformed;
use crate::ledger::Path;
use crate::ledger::Rejection;
use crate::ledger::Scope;
use crate::ledger::State;

/// Items per page when the client does not say.
const DEFAULT: usize = 100;

/// Most items per page.
const MOST: usize = 1_000;

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

/// One page of items, encoded, with the token of the next; "" when this was the last.
pub(super) fn take<I, T>(
    mut items: impl Iterator<Item = I>,
    size: usize,
    encode: impl Fn(&I) -> T,
    token: impl Fn(&I) -> String,
) -> (Vec<T>, String) {
    let mut page = Vec::new();
    let mut last = String::new();
    for item in items.by_ref().take(size) {
        page.push(encode(&item));
        last = token(&item);
    }
    let more = items.next().is_some();
    (page, if more { last } else { String::new() })
}

/// The scopes at and below a path ("" for all), after the one in the token.
pub(super) fn scopes<'a>(
    state: &'a State,
    path: &str,
    token: &str,
) -> Result<Box<dyn Iterator<Item = &'a Scope> + 'a>, Status> {
    let all: Box<dyn Iterator<Item = &'a Scope>> = match within(path)? {
        None => Box::new(state.trees().flat_map(|tree| state.subtree(tree.id))),
        Some(path) => match state.scope_at(&path) {
            Some(scope) => Box::new(state.subtree(scope.id)),
            None => {
                let rejection = Rejection::UnknownScopes(vec![path]);
                return Err(status::rejected(&rejection, state.revision()));
            }
        },
    };
    if token.is_empty() {
        return Ok(all);
    }
    let after = command::path("page_token", token).map_err(|error| status::malformed(&error))?;
    // Segment by segment: that is the order of the walk.
    Ok(Box::new(all.skip_while(move |scope| scope.path.segments().le(after.segments()))))
}

/// The path a list is restricted to; `None` for none.
pub(super) fn within(path: &str) -> Result<Option<Path>, Status> {
    if path.is_empty() {
        return Ok(None);
    }
    command::path("scope", path).map(Some).map_err(|error| status::malformed(&error))
}
