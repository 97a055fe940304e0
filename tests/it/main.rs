mod arrows;
mod completions;
mod man;
mod readme;
mod scratch;
mod worker;
