//! `market serve` takes its certificate, and what belongs to it, from one source.

use std::process::Command;

use crate::site::Site;

#[tokio::test]
async fn variables_without_a_certificate_have_no_effect() {
    let site = Site::new();
    let mut command = site.serve();
    for name in ["SOUK_KEY", "SOUK_CA", "SOUK_CRL"] {
        command.env(name, site.path("nowhere.pem"));
    }
    Site::start_as(&mut command).end().await;
}

#[test]
fn flag_without_its_certificate_is_refused() {
    for flag in ["--key", "--ca", "--crl"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_market")).args(["serve", flag, "some.pem"]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(&format!("{flag} belongs to a certificate")), "{error}");
    }
}
