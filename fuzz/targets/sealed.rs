//! Fernet and JWS tokens: any text is refused, what was sealed opens, and what was changed afterwards does not.
#![no_main]

use std::sync::LazyLock;

use hanse_core::{Cx, Timestamp};
use hanse_crypto::{FernetKeys, FernetTokens, JwsTokens, SigningKeys};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static TOKENS: LazyLock<(FernetTokens, JwsTokens)> = LazyLock::new(|| {
    let (cx, directory) = (Cx::system(), tempfile::tempdir().unwrap());
    let fernet = FernetKeys::new(directory.path().join("fernet"));
    fernet.create(&cx).unwrap();
    let signing = SigningKeys::new(directory.path().join("signing"));
    signing.create(&cx).unwrap();
    (FernetTokens::load(fernet).unwrap(), JwsTokens::load(signing).unwrap())
});

fn is_opened(token: &str) -> bool {
    let (fernet, jws) = &*TOKENS;
    fernet.open(token).is_ok() || jws.verify::<Value>(token).is_ok()
}

fuzz_target!(|input: (&str, &[u8], u16, u8, bool)| {
    let (text, payload, at, change, signed) = input;
    let ((fernet, jws), cx) = (&*TOKENS, Cx::system());
    assert!(!is_opened(text));
    let sealed = if signed {
        jws.sign(cx.now(), Timestamp(i64::from(at) * 1_000_000), &json!({ "sub": text, "payload": payload }))
    } else {
        fernet.seal(&cx, payload)
    };
    let Ok(mut token) = sealed.map(String::into_bytes) else { return };
    let as_text = |token: &[u8]| String::from_utf8_lossy(token).into_owned();
    if signed {
        assert_eq!(jws.verify::<Value>(&as_text(&token)).unwrap().claims["sub"], text);
    } else {
        assert_eq!(fernet.open(&as_text(&token)).unwrap(), payload);
    }
    let at = usize::from(at) % token.len();
    token[at] ^= change;
    // What follows the last whole byte in base64 says nothing, and a decoder may look away.
    let is_other = change != 0 && at + 4 < token.len();
    assert!(!(is_other && is_opened(&as_text(&token))), "{}", as_text(&token));
});
