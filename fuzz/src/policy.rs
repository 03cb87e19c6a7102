//! The policy file: any text is a policy or a list of faults.
use pgward::policy::Policy;

/// One input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Policy::parse(text) {
        Ok(policy) => {
            for database in policy.databases() {
                policy.declared(database);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
