#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasm_softphone_fuzz::message(data));
