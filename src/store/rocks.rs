//! The production store.
