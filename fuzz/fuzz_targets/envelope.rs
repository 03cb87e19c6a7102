#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pgward_fuzz::envelope::run(data));
