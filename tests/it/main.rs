mod arrows;
mod completions;
mod man;
mod map;
mod readme;
mod scratch;
mod worker;
