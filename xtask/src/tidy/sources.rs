//! Rules about single source files.

/// The longest a Rust file may be, in lines.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "common", "helpers", "manager"];

/// The crate that alone makes the grants of reconcilers.
const RECONCILER_HOME: &str = "crates/work/";

/// Checks one file; `path` is relative to the repository.
pub fn check(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        problems.push(format!("{path} has {lines} lines, more than {LINES_MAX}: divide it"));
    }
    let file_names = path.trim_end_matches(".rs").split('/');
    let modules = text.lines().filter_map(declared_module);
    if let Some(name) = file_names.chain(modules).find(|name| EMPTY_NAMES.contains(name)) {
        problems.push(format!("{path}: a module called {name} says nothing; name what it holds"));
    }
    if !path.starts_with(RECONCILER_HOME) && path.starts_with("crates/") && !path.contains("/tests/") {
        for (index, line) in text.lines().enumerate() {
            // Unit tests stand at the end of a file.
            if line.trim() == "#[cfg(test)]" {
                break;
            }
            if !line.trim_start().starts_with("//") && line.contains("Grant::reconciler") {
                let number = index + 1;
                problems.push(format!("{path}:{number}: only {RECONCILER_HOME} may call Grant::reconciler"));
            }
        }
    }
    problems
}

/// The name in `mod name;` or `mod name {`, with or without `pub`.
fn declared_module(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = match line.strip_prefix("pub") {
        Some(rest) => rest.trim_start_matches(|c| c != ' ').trim_start(),
        None => line,
    };
    rest.strip_prefix("mod ")?.split([' ', ';', '{']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_at_most_600_lines() {
        assert!(check("crates/a/src/x.rs", &"\n".repeat(600)).is_empty());
        assert_eq!(check("crates/a/src/x.rs", &"\n".repeat(601)).len(), 1);
    }

    #[test]
    fn a_module_is_named_for_what_it_holds() {
        assert_eq!(check("crates/a/src/utils.rs", "").len(), 1);
        assert_eq!(check("crates/a/src/helpers/disk.rs", "").len(), 1);
        assert_eq!(check("crates/a/src/lib.rs", "pub(crate) mod common;").len(), 1);
        assert_eq!(check("crates/a/src/lib.rs", "    mod manager {").len(), 1);
        assert!(check("crates/a/src/lib.rs", "mod commons;\n// mod common is a word here").is_empty());
    }

    #[test]
    fn only_work_makes_grants_for_reconcilers() {
        let call = "    let grant = Grant::reconciler(name);\n";
        assert_eq!(check("crates/compute/src/servers.rs", call).len(), 1);
        assert!(check("crates/work/src/run.rs", call).is_empty());
        assert!(check("crates/policy/tests/it/main.rs", call).is_empty());
        assert!(check("crates/policy/src/grant.rs", &format!("#[cfg(test)]\n{call}")).is_empty());
        assert!(check("crates/compute/src/servers.rs", "// Grant::reconciler is not ours\n").is_empty());
    }
}
