//! Descriptors: their links, `fdinfo`, and the records of the directory.
#![no_main]

use fdclose::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::descriptor(bytes);
    fuzzing::entries(bytes);
});
