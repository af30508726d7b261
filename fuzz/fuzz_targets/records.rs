//! Whatever the bytes are, reading them as a record of the durable queue panics never.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| consumer_group::durable::format::read_as_everything(bytes));
