mod arrows;
mod completions;
mod man;
mod scratch;
mod worker;
