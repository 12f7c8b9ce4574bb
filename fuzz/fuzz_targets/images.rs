//! The ELF image that lies where the vDSO should be.
#![no_main]

use fdclose::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::code(bytes);
});
