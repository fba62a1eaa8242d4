//! Time-based one-time passwords (RFC 6238) as Keystone's `totp` plugin takes them: HMAC-SHA-1, steps of 30 s, six
//! digits.

use hanse_core::{Error, Result, Secret, Timestamp};
use ring::hmac;

/// Keystone's default for `[totp] included_previous_windows`: a passcode is taken for one step after its own.
pub const PREVIOUS_WINDOWS: u32 = 1;
/// As many as Keystone allows; each is one more passcode that a guess may hit.
const PREVIOUS_WINDOWS_MAX: u32 = 10;

const STEP_SECONDS: u64 = 30;
const DIGITS: usize = 6;
const MODULUS: u32 = 1_000_000;
/// RFC 4226, 4: a shared secret has at least 128 bits.
const KEY_MIN: usize = 16;
/// HMAC-SHA-1 gains nothing beyond its block of 64 bytes; no authenticator makes more than twice that.
const KEY_MAX: usize = 128;

/// The secret that a user shares with their authenticator.
#[derive(Clone, Debug)]
pub struct TotpKey(Secret<Vec<u8>>);

impl TotpKey {
    /// Reads the blob of a credential of type `totp`: base32 (RFC 4648) in upper or lower case, with or without the
    /// `=` at its end.
    ///
    /// # Errors
    /// 400 if it is no base32, or stands for less than 16 or more than 128 bytes.
    pub fn parse(base32: &Secret<String>) -> Result<TotpKey> {
        let digits = base32.expose().trim_end_matches('=');
        let key =
            Secret::new(if digits.len() > KEY_MAX * 2 { None } else { decode(digits) }.unwrap_or_default());
        if !(KEY_MIN..=KEY_MAX).contains(&key.expose().len()) {
            return Err(Error::bad_request(format!(
                "The secret of a TOTP credential must be {KEY_MIN} to {KEY_MAX} bytes in base32, such as 32 of the \
                 letters A to Z and digits 2 to 7."
            )));
        }
        Ok(TotpKey(key))
    }

    /// The six digits that the authenticator shows.
    pub fn passcode(&self, at: Timestamp) -> Secret<String> {
        self.of_step(step(at))
    }

    /// The step (counted from 1970 in 30 s) whose passcode this is: that of `at`, or one of the `previous_windows`
    /// before it (at most 10 are looked at). `None` if it is none of them.
    ///
    /// A passcode is meant to be used once (RFC 6238, 5.2): keep the step with the credential and refuse any that is
    /// not higher. Keystone does not. Limit the attempts of a user too, since a guess is right once in a million.
    pub fn verify(&self, passcode: &Secret<String>, at: Timestamp, previous_windows: u32) -> Option<u64> {
        let now = step(at);
        let mut matched = None;
        for back in 0..=previous_windows.min(PREVIOUS_WINDOWS_MAX) {
            let step = now.saturating_sub(u64::from(back));
            // No early end: which window it was does not show in the time.
            if self.of_step(step) == *passcode && matched.is_none() {
                matched = Some(step);
            }
        }
        matched
    }

    /// RFC 4226, 5.3.
    fn of_step(&self, step: u64) -> Secret<String> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.0.expose());
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let bytes = tag.as_ref();
        let offset = bytes.last().map_or(0, |last| usize::from(last & 0x0f));
        let chosen = bytes.iter().skip(offset).take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        Secret::new(format!("{:0DIGITS$}", (chosen & 0x7fff_ffff) % MODULUS))
    }
}

fn step(at: Timestamp) -> u64 {
    u64::try_from(at.seconds()).unwrap_or(0) / STEP_SECONDS
}

/// As Python decodes: the bits that are left over at the end are passed over, whatever they are.
fn decode(digits: &str) -> Option<Vec<u8>> {
    // No number of whole bytes has such a rest.
    if matches!(digits.len() % 8, 1 | 3 | 6) {
        return None;
    }
    let mut bytes = Vec::with_capacity(KEY_MAX * 2);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            number @ b'2'..=b'7' => number - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5 | u32::from(value)) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use hanse_core::Kind;
    use proptest::prelude::*;

    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn key(base32: &str) -> TotpKey {
        TotpKey::parse(&secret(base32)).unwrap()
    }

    /// `12345678901234567890`, the key of the RFC.
    const RFC: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn the_vectors_of_the_rfc_are_met_in_their_last_six_digits() {
        for (seconds, passcode) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(key(RFC).passcode(at(seconds)).expose(), &passcode[2..]);
        }
    }

    #[test]
    fn a_secret_with_bits_left_over_at_its_end_is_read_as_keystone_reads_it() {
        let odd = key("JBSWY3DPEHPK3PXPJBSWY3DPE7");
        assert_eq!(odd.passcode(at(59)).expose(), "423281");
        assert_eq!(odd.passcode(at(1_234_567_890)).expose(), "226413");
    }

    #[test]
    fn the_present_and_the_previous_windows_are_taken_and_no_others() {
        let key = key(RFC);
        let passcode = key.passcode(at(3000));
        for (seconds, windows, step) in [
            (3000, 0, Some(100)),
            (3029, 0, Some(100)),
            (2999, 1, None),
            (3030, 0, None),
            (3030, 1, Some(100)),
            (3059, 1, Some(100)),
            (3060, 1, None),
            (3060, 2, Some(100)),
            (3300, 10, Some(100)),
            (3330, 11, None),
            (3330, u32::MAX, None),
        ] {
            assert_eq!(key.verify(&passcode, at(seconds), windows), step, "{seconds} {windows}");
        }
    }

    #[test]
    fn a_passcode_is_six_digits_with_its_zeros_and_nothing_else() {
        let key = key(RFC);
        let passcode = key.passcode(at(1_111_111_109));
        assert_eq!(passcode.expose(), "081804");
        for wrong in ["81804", "0081804", " 081804", "081804\0", "", "٠81804"] {
            assert_eq!(key.verify(&secret(wrong), at(1_111_111_109), 1), None, "{wrong:?}");
        }
        assert_eq!(key.verify(&passcode, Timestamp(i64::MIN), 1), None);
    }

    #[test]
    fn case_and_padding_of_the_secret_do_not_matter() {
        let expected = key("JBSWY3DPEHPK3PXPJBSWY3DPE7").passcode(at(59));
        for text in ["jbswy3dpehpk3pxpjbswy3dpe7", "JBSWY3DPEHPK3PXPJBSWY3DPE7======"] {
            assert!(key(text).passcode(at(59)) == expected);
        }
    }

    #[test]
    fn what_is_no_secret_or_too_short_or_too_long_is_refused() {
        let long = "A".repeat(208);
        for text in
            ["", "====", "JBSWY3DPEHPK3PXP", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1", &RFC[..30], &long, "ü"]
        {
            let error = TotpKey::parse(&secret(text)).unwrap_err();
            assert_eq!(error.kind(), Kind::BadRequest, "{text}");
        }
        key(&"A".repeat(205));
    }

    #[test]
    fn no_text_makes_reading_a_secret_panic() {
        proptest!(|(text: String, base32 in "[A-Z2-7]{0,210}")| {
            let _ = TotpKey::parse(&Secret::new(text));
            let read = TotpKey::parse(&Secret::new(base32.clone()));
            let fits = (KEY_MIN..=KEY_MAX).contains(&(base32.len() * 5 / 8)) && ![1, 3, 6].contains(&(base32.len() % 8));
            prop_assert_eq!(read.is_ok(), fits);
        });
    }
}
