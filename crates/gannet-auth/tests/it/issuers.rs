//! Several issuers: whose keys are tried on a token, and that none speaks for another.

use gannet_auth::{JwtValidator, Keys, Refusal, SigningKey};

use crate::tokens::{
    AUDIENCE, ISSUER, RSA, RSA_OTHER, SIGNERS, Signer, claims_with, good, header, key_set, with,
};
use crate::world::{clock, rules};

fn nameless(pem: &str) -> Keys {
    SigningKey::from_pem(pem).unwrap().key_set().into()
}

#[test]
fn issuers_do_not_speak_for_each_other() {
    let other = SigningKey::from_pem(RSA_OTHER).unwrap().with_key_id("rsa");
    let validator =
        rules(key_set()).issuer("https://two.example", other.key_set()).build().unwrap();
    let claims_of = |issuer: &str| claims_with("iss", issuer.into());
    let token = |signer: &Signer, issuer| signer.sign(header(), claims_of(issuer));
    validator.check(&token(&SIGNERS.rsa, ISSUER)).unwrap();
    validator.check(&token(&SIGNERS.rsa_other, "https://two.example")).unwrap();
    for bad in [token(&SIGNERS.rsa, "https://two.example"), token(&SIGNERS.rsa_other, ISSUER)] {
        assert_eq!(validator.check(&bad).unwrap_err(), Refusal::Signature);
    }
    let third = token(&SIGNERS.rsa, "https://three.example");
    assert!(matches!(validator.check(&third), Err(Refusal::Issuer(_))));
}

/// As tenants of one provider do.
#[test]
fn issuers_may_have_one_key_set() {
    let keys = Keys::new(key_set());
    let tenant = "https://tenant-a.example";
    let validator = rules(keys.clone()).issuer(tenant, keys).build().unwrap();
    for issuer in [ISSUER, tenant] {
        let claims = validator.check(&with("iss", issuer.into())).unwrap();
        assert_eq!(claims.issuer(), Some(issuer));
    }
    let other = validator.check(&with("iss", "https://tenant-b.example".into()));
    assert!(matches!(other, Err(Refusal::Issuer(_))), "{other:?}");
}

/// The bound on keys that are tried is each issuer's own.
#[test]
fn an_issuer_among_many_has_its_keys_tried() {
    let mut builder = JwtValidator::builder().audience(AUDIENCE).clock(clock);
    for n in 0..10 {
        builder = builder.issuer(format!("https://{n}.example"), nameless(RSA_OTHER));
    }
    let validator = builder.issuer(ISSUER, nameless(RSA)).build().unwrap();
    validator.check(&good()).unwrap();
    assert!(validator.check(&with("iss", "https://3.example".into())).is_err());
}

/// Keys for whomever stand behind those of the issuer.
#[test]
fn keys_for_any_issuer_are_tried_after_its_own() {
    let mut builder = JwtValidator::builder().audience(AUDIENCE).clock(clock);
    for _ in 0..10 {
        builder = builder.any_issuer(nameless(RSA_OTHER));
    }
    let validator = builder.issuer(ISSUER, nameless(RSA)).build().unwrap();
    validator.check(&good()).unwrap();
    let other = |signer: &Signer| signer.sign(header(), claims_with("iss", "anybody".into()));
    validator.check(&other(&SIGNERS.rsa_other)).unwrap();
    assert!(validator.check(&other(&SIGNERS.rsa)).is_err());
    // Whom it does not say, nobody has to be.
    let silent = SIGNERS.rsa_other.sign(header(), claims_with("iss", serde_json::Value::Null));
    validator.check(&silent).unwrap();
}
