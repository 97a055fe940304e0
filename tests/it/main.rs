mod arrows;
mod worker;
