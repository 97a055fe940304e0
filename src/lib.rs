pub mod cli;
pub mod git;
pub mod ops;
pub mod render;
pub mod session;
pub mod store;
pub mod worker;
