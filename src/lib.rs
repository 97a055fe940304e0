pub mod git;
pub mod worker;
