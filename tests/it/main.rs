mod arrows;
mod man;
mod worker;
