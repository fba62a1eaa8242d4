//! What others say of identity.

use hanse_conformance_tests::{CONFIG, keystone, possible, tempest};
use hanse_e2e::Cloud;

#[test]
fn the_identity_tests_of_tempest_pass_and_those_of_scs_0128_are_among_them() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("tempest", tempest::CONFIG);
    cloud.hanse_ok(&["up"]);
    let run = tempest::run(&cloud, &tempest::IDENTITY, tempest::IDENTITY.pattern).unwrap();
    assert_eq!(run.surprises(), "");
    assert_eq!(run.outcomes.len() + run.excluded.len(), tempest::IDENTITY.listed, "{}", run.remarks());
    assert_eq!(run.only(&tempest::scs_identity().unwrap()).count("success"), 16, "{}", run.remarks());
}

#[test]
fn hanse_answers_as_keystone_does_but_for_what_is_intended() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("keystone", CONFIG);
    cloud.hanse_ok(&["up"]);
    if let Err(differences) = keystone::compare(&cloud, None, &[]) {
        panic!("{differences}");
    }
}
