//! The table of README.md, and that it says what the code does.

use std::fmt::Write;

use super::breaks::BREAKS;
use super::rules::RULES;

const BEGIN: &str = "<!-- the table: written by the test `the_table_is_that_of_the_code` -->\n";

fn table() -> String {
    let mut text =
        String::from("| rule | | says | without it | shown by |\n|---|---|---|---|---|\n");
    for rule in RULES {
        let line = BREAKS.iter().find(|line| line.rule == rule.name);
        let line = line.unwrap_or_else(|| panic!("nothing shows that {} is needed", rule.name));
        let mark = if rule.marked { " ●" } else { "" };
        writeln!(
            text,
            "| {}{mark} | `{}` | {} | {:?}, in \"{}\" | `{}` |",
            rule.number, rule.name, rule.text, line.promise, line.config.name, line.test
        )
        .expect("a string takes everything");
    }
    text
}

/// With `EVERGREEN_MODEL_TABLE=write` the table is written anew.
#[test]
fn the_table_is_that_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/README.md");
    let readme = std::fs::read_to_string(path).expect("the README is beside this file");
    let (head, told) = readme
        .split_once(BEGIN)
        .expect("the README holds the table");
    let table = table();
    if std::env::var_os("EVERGREEN_MODEL_TABLE").is_some_and(|word| word == "write") {
        std::fs::write(path, format!("{head}{BEGIN}{table}")).expect("the README can be written");
    } else {
        assert!(
            told == table,
            "README.md differs; EVERGREEN_MODEL_TABLE=write writes:\n{table}"
        );
    }
}

#[test]
fn every_rule_has_one_line() {
    for rule in RULES {
        let lines = BREAKS.iter().filter(|line| line.rule == rule.name).count();
        assert_eq!(lines, 1, "{}", rule.name);
    }
    assert_eq!(BREAKS.len(), RULES.len());
}

#[test]
fn every_promise_is_broken_by_some_rule_left_out() {
    use super::promises::{LIMITS, Promise};
    // A good end is what all of them come to; it has no rule of its own.
    for promise in Promise::ALL {
        let shown = BREAKS.iter().any(|line| line.promise == *promise);
        let other = LIMITS.contains(promise);
        assert!(
            shown || other || *promise == Promise::GoodEnd,
            "{promise:?}"
        );
    }
}
