//! Follows the pages of a list to its end, or to as many items as were asked for.
//!
//! Knows nothing of what is listed.

use std::future::Future;

use clap::Args;

use crate::client::ClientError;

/// The most that the server gives at once.
const LARGEST_PAGE: u32 = 1_000;

/// How much of a list is wanted.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Extent {
    /// Show at most this many [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// One page as the server gave it.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_token: String,
    pub(super) revision: u64,
}

/// All that was asked for.
pub(super) struct Listing<T> {
    pub(super) items: Vec<T>,
    /// Where the rest begins; "" when there is none.
    pub(super) next_token: String,
    /// All pages show at least this revision.
    pub(super) revision: u64,
}

impl Extent {
    /// At most so many.
    pub(super) fn up_to(limit: u64) -> Self {
        Self { limit: Some(limit) }
    }

    /// Asks `page` (size, token) for one page after the other.
    pub(super) async fn collect<T, F>(
        self,
        page: impl Fn(u32, String) -> F,
    ) -> Result<Listing<T>, ClientError>
    where
        F: Future<Output = Result<Page<T>, ClientError>>,
    {
        let mut all = Listing { items: Vec::new(), next_token: String::new(), revision: u64::MAX };
        loop {
            let Page { items, next_token, revision } =
                page(self.size(all.items.len()), all.next_token).await?;
            all.items.extend(items);
            all.next_token = next_token;
            all.revision = all.revision.min(revision);
            if all.next_token.is_empty() || self.is_reached(all.items.len()) {
                return Ok(all);
            }
        }
    }

    /// The limit, when it left something of the listing out.
    pub(super) fn cut<T>(self, listing: &Listing<T>) -> Option<u64> {
        self.limit.filter(|_| !listing.next_token.is_empty())
    }

    fn size(self, have: usize) -> u32 {
        match self.limit {
            None => LARGEST_PAGE,
            Some(limit) => {
                let missing = limit.saturating_sub(have as u64);
                u32::try_from(missing).unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE)
            }
        }
    }

    fn is_reached(self, have: usize) -> bool {
        self.limit.is_some_and(|limit| have as u64 >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with the numbers 0..2,500, whose token is the number to go on with.
    async fn numbers(size: u32, token: String) -> Result<Page<u64>, ClientError> {
        let from: u64 = token.parse().unwrap_or(0);
        let to = (from + u64::from(size)).min(2_500);
        let next_token = if to == 2_500 { String::new() } else { to.to_string() };
        Ok(Page { items: (from..to).collect(), next_token, revision: 10 + from })
    }

    #[tokio::test]
    async fn all_pages_are_followed_and_the_lowest_revision_holds_for_all() {
        let extent = Extent { limit: None };
        let listing = extent.collect(numbers).await.expect("no failure");
        assert_eq!(listing.items, (0..2_500).collect::<Vec<_>>());
        assert_eq!(listing.revision, 10);
        assert_eq!(extent.cut(&listing), None);
    }

    #[tokio::test]
    async fn a_limit_asks_for_no_more_than_it_and_says_that_it_cut() {
        let extent = Extent { limit: Some(1_200) };
        let listing = extent.collect(numbers).await.expect("no failure");
        assert_eq!(listing.items.len(), 1_200);
        assert_eq!(extent.cut(&listing), Some(1_200));
    }
}
