//! What every store must do (`contract`, run over each implementation), and what one of them does
//! in particular.

mod contract;
mod rocks;
mod simulated;
mod support;
