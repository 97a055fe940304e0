pub mod git;
pub mod session;
pub mod worker;
