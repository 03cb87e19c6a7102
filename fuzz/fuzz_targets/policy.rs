//! The policy file: any text is a policy or a list of faults.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pgward::policy::Policy;

fuzz_target!(|text: &str| {
    match Policy::parse(text) {
        Ok(policy) => {
            for database in policy.databases() {
                policy.declared(database);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
