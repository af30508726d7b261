//! The border to whoever keeps the jobs outside of the group: a broker refuses, loses its link, takes leases back, says
//! nothing. A queue that is steered by hand stands for it.

mod blocks;
mod credit;
mod push;
mod revoke;
mod settles;
mod state;
