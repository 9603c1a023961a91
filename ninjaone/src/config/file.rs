//! `evergreen.toml`: one table, the names of [`super::keys`], texts and whole numbers.

use std::collections::BTreeMap;

use super::keys::{ALL, nearest};
use super::reader::Problem;
use super::sources::File;

/// Reads the file. What is wrong in it goes to `problems`; its content never does.
pub(super) fn parse(file: &File, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let path = file.path.display();
    let table: toml::Table = match file.text.parse() {
        Ok(table) => table,
        Err(e) => {
            // Its own Display shows the line, which may hold a secret.
            let line = e.span().map_or(1, |span| {
                let before = file.text.get(..span.start).unwrap_or_default();
                before.matches('\n').count() + 1
            });
            problems.push(Problem::new(
                format!("{path} line {line}"),
                "is not TOML; allowed are lines such as refresh_buffer = \"15m\"",
            ));
            return BTreeMap::new();
        }
    };
    let mut values = BTreeMap::new();
    for (name, value) in table {
        if !ALL.iter().any(|key| key.0 == name) {
            let shown: String = name.escape_debug().take(60).collect();
            let (meant, _) = nearest(&name.to_lowercase().replace('-', "_"));
            problems.push(Problem::new(
                format!("{shown} in {path}"),
                format!("is no setting; the nearest one is {meant}"),
            ));
            continue;
        }
        match text(&value) {
            Some(text) => {
                values.insert(name, text);
            }
            None => problems.push(Problem::new(
                format!("{name} in {path}"),
                "is neither a text nor a whole number",
            )),
        }
    }
    values
}

fn text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        // Lists are written with commas elsewhere.
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            Some(texts?.join(","))
        }
        _ => None,
    }
}
