//! What others say of identity.

use hanse_conformance_tests::{CONFIG, keystone, possible, tempest};
use hanse_e2e::Cloud;

#[test]
fn the_identity_tests_of_scs_0128_pass() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("scs", CONFIG);
    cloud.hanse_ok(&["up"]);
    let wanted = tempest::scs_identity().unwrap();
    let patterns: Vec<String> =
        wanted.iter().map(|id| format!("^{}($|\\[)", id.replace('.', "\\."))).collect();
    let run = tempest::run(&cloud, &patterns).unwrap();
    assert_eq!(run.outcomes.len(), 16, "{}", run.remarks());
    assert_eq!(run.count("success"), 16, "{}", run.remarks());
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
