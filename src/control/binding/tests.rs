use super::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Self-signed certificates as OpenSSL makes them: `openssl req -x509 -newkey rsa:1024 -nodes -subj /CN=a -days 36500 -sha256`, then `-sha1`, then
/// `-sha384 -sigopt rsa_padding_mode:pss`. Far too short a key for anything else.
const RSA_SHA256: &str = "-----BEGIN CERTIFICATE-----
MIIB9jCCAV+gAwIBAgIUSvP4zj5rJif3ZPfE4uUQLy3dtEcwDQYJKoZIhvcNAQEL
BQAwDDEKMAgGA1UEAwwBYTAgFw0yNjExMjIxOTI5MDVaGA8yMTI2MTAyOTE5Mjkw
NVowDDEKMAgGA1UEAwwBYTCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEA4KKt
KEoLQe4Gasze0yadWpFeqFq6GrMMY8KDfkrDEeTNxquwFi1Cq0ku8nSDviyH90Ab
qUI3hVg2JI2GJuD0u6RD7IK4aWAkhZidBoX9ytuVKQU4PuGeQfRXHEF3AliOIkKD
wxGKfeVkwL9xZCTTOvB20oyDoUpzHnLGmoqJpaUCAwEAAaNTMFEwHQYDVR0OBBYE
FCVBSf1nZNv9jt2A+uMfND4S9mQ9MB8GA1UdIwQYMBaAFCVBSf1nZNv9jt2A+uMf
ND4S9mQ9MA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADgYEAtVyHNP7D
gUnV0TmMHg5wdOIEVrZFyABwAJlyrdK8tkLPJjLvef/Z2S4QXe7AH9ygRuYkLa+y
lx5Ce8L8/Nc8ynSK5hfpq0uJhIxDB7/rCMI33CXP1A77cLCjBHrZygRq4TcqlGhB
OWLLGqzhN00ng3gC/rRFOqUXMjFz6+LI0jQ=
-----END CERTIFICATE-----";
const RSA_SHA1: &str = "-----BEGIN CERTIFICATE-----
MIIB9jCCAV+gAwIBAgIUBTzW2REifu2fEGovaNWRrhtZf08wDQYJKoZIhvcNAQEF
BQAwDDEKMAgGA1UEAwwBYTAgFw0yNjExMjIxOTI5MDVaGA8yMTI2MTAyOTE5Mjkw
NVowDDEKMAgGA1UEAwwBYTCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEA4KKt
KEoLQe4Gasze0yadWpFeqFq6GrMMY8KDfkrDEeTNxquwFi1Cq0ku8nSDviyH90Ab
qUI3hVg2JI2GJuD0u6RD7IK4aWAkhZidBoX9ytuVKQU4PuGeQfRXHEF3AliOIkKD
wxGKfeVkwL9xZCTTOvB20oyDoUpzHnLGmoqJpaUCAwEAAaNTMFEwHQYDVR0OBBYE
FCVBSf1nZNv9jt2A+uMfND4S9mQ9MB8GA1UdIwQYMBaAFCVBSf1nZNv9jt2A+uMf
ND4S9mQ9MA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQEFBQADgYEAV/oyf2qu
0Abyc4ug3cw2gawMFJlq1Iv6iNj2pQs+2ZbLnEv/8Y+DwVTmi49XNceXKFiu50Ai
9clmnQSZCHgzc4X+/1uJPv0AvbEkQZNfue1QEEUOH28GqPGeoNtcLRKEGbT+9g9w
piW3JSbds0A+lb305m/+XKwm7EKjTtphbWk=
-----END CERTIFICATE-----";
const RSA_PSS_SHA384: &str = "-----BEGIN CERTIFICATE-----
MIICXjCCAZOgAwIBAgIUJAu8E5tF1g1zatyhW4nlP4qq3ZEwQQYJKoZIhvcNAQEK
MDSgDzANBglghkgBZQMEAgIFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgIF
AKIDAgFOMAwxCjAIBgNVBAMMAWEwIBcNMjYxMTIyMTkyOTA1WhgPMjEyNjEwMjkx
OTI5MDVaMAwxCjAIBgNVBAMMAWEwgZ8wDQYJKoZIhvcNAQEBBQADgY0AMIGJAoGB
AOCirShKC0HuBmrM3tMmnVqRXqhauhqzDGPCg35KwxHkzcarsBYtQqtJLvJ0g74s
h/dAG6lCN4VYNiSNhibg9LukQ+yCuGlgJIWYnQaF/crblSkFOD7hnkH0VxxBdwJY
jiJCg8MRin3lZMC/cWQk0zrwdtKMg6FKcx5yxpqKiaWlAgMBAAGjUzBRMB0GA1Ud
DgQWBBQlQUn9Z2Tb/Y7dgPrjHzQ+EvZkPTAfBgNVHSMEGDAWgBQlQUn9Z2Tb/Y7d
gPrjHzQ+EvZkPTAPBgNVHRMBAf8EBTADAQH/MEEGCSqGSIb3DQEBCjA0oA8wDQYJ
YIZIAWUDBAICBQChHDAaBgkqhkiG9w0BAQgwDQYJYIZIAWUDBAICBQCiAwIBTgOB
gQB5oZM97eeVI0VE9wCueJjdoHGLijTYEO+T3e6wNxoPWlIQTEUqalEsjvd21R3y
T94CHbL3x7yJrZPU1rDtJ2YhdDQ3aakgdKtvdfnlJJ7ONOQc8X926N5p8XtXKlCN
Ooe/bYZCuWB9ZQpHxRyDPYGY9653GwbI+E+U1qnueGbfSA==
-----END CERTIFICATE-----";

fn pem(text: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(text.as_bytes()).unwrap().to_vec()
}

/// A certificate whose signature was made so.
fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

/// The same with another signature algorithm's name in both places: `ecdsa-with-SHA256` and its siblings differ in their last byte.
fn renamed(certificate: &[u8], last: u8) -> Vec<u8> {
    let name = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2];
    let mut renamed = certificate.to_vec();
    let places: Vec<usize> = (0..certificate.len() - name.len())
        .filter(|at| certificate[*at..].starts_with(&name))
        .collect();
    assert_eq!(places.len(), 2);
    places.iter().for_each(|at| renamed[at + 7] = last);
    renamed
}

#[test]
fn the_hash_is_that_of_the_signature() {
    let p256 = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
    assert_eq!(end_point(&p256), Some(Sha256::digest(&p256).to_vec()));
    let p384 = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
    assert_eq!(end_point(&p384), Some(Sha384::digest(&p384).to_vec()));
    let (sha224, sha512) = (renamed(&p256, 1), renamed(&p256, 4));
    assert_eq!(end_point(&sha224), Some(Sha224::digest(&sha224).to_vec()));
    assert_eq!(end_point(&sha512), Some(Sha512::digest(&sha512).to_vec()));
    assert_eq!(end_point(&renamed(&p256, 9)), None);
    assert_eq!(end_point(&certificate(&rcgen::PKCS_ED25519)), None);
    let rsa = pem(RSA_SHA256);
    assert_eq!(end_point(&rsa), Some(Sha256::digest(&rsa).to_vec()));
    // RFC 5929: SHA-1 and MD5 are replaced by SHA-256.
    let old = pem(RSA_SHA1);
    assert_eq!(end_point(&old), Some(Sha256::digest(&old).to_vec()));
    let pss = pem(RSA_PSS_SHA384);
    assert_eq!(end_point(&pss), Some(Sha384::digest(&pss).to_vec()));
}

#[test]
fn what_is_no_certificate_binds_to_nothing() {
    let whole = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
    for cut in 0..whole.len() {
        assert_eq!(end_point(&whole[..cut]), None, "{cut} bytes");
    }
    for whole in [whole, pem(RSA_PSS_SHA384)] {
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 0x81;
            let _ = end_point(&altered); // no panic
        }
    }
}
