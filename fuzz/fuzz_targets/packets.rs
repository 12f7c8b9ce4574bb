//! IP packets heard on the wire.
#![no_main]

use fdclose::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::packet(bytes);
});
