//! What is read about a thread: `status`, `stat`, `syscall`, `auxv`, wait statuses, registers and vector state.
#![no_main]

use fdclose::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::thread(bytes);
    fuzzing::auxv(bytes);
    fuzzing::frames(bytes);
    if let Some(status) = bytes.first_chunk() {
        fuzzing::wait_status(i32::from_ne_bytes(*status));
    }
});
