//! What became of the rows of an import or a backfill: as JSON, as text, and as an exit code.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::candidate::{Refused, Whose};
use crate::integration::{GrantKind, GrantRef};

/// How one row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was stored, or would be with `--dry-run`.
    Adopted,
    /// It is stored already.
    Unchanged,
    /// It was not stored.
    Refused,
}

/// One row of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// `TENANT/INTEGRATION`, with `@client` for a client grant; `null` where the row has no name.
    pub id: Option<String>,
    /// The tenant, where known.
    pub tenant: Option<String>,
    /// The integration's name, where known.
    pub integration: Option<String>,
    /// How it ended.
    pub result: Verdict,
    /// The field that is wrong; only on refused rows.
    pub field: Option<String>,
    /// Why; only on refused rows. Begins with the place in the source if there is no `id`.
    pub reason: Option<String>,
    /// What is odd although the row was usable. Left out of the JSON when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Line {
    /// A row that was adopted.
    #[must_use]
    pub fn adopted(grant: &GrantRef) -> Self {
        Self::of(grant, Verdict::Adopted)
    }

    /// A row that was there already.
    #[must_use]
    pub fn unchanged(grant: &GrantRef) -> Self {
        Self::of(grant, Verdict::Unchanged)
    }

    /// A row that could be read but was not adopted.
    #[must_use]
    pub fn refused(grant: &GrantRef, field: &str, reason: &str) -> Self {
        Self {
            field: Some(printable(field)),
            reason: Some(printable(reason)),
            ..Self::of(grant, Verdict::Refused)
        }
    }

    /// The same row with what its reader warned of.
    #[must_use]
    pub fn with_warnings(mut self, warnings: &[String]) -> Self {
        self.warnings = warnings.iter().map(|text| printable(text)).collect();
        self
    }

    fn of(grant: &GrantRef, result: Verdict) -> Self {
        let integration = grant.integration();
        Self {
            id: Some(match grant.kind() {
                GrantKind::User => integration.to_string(),
                GrantKind::Client => grant.to_string(),
            }),
            tenant: Some(integration.tenant().to_owned()),
            integration: Some(integration.integration().to_owned()),
            result,
            field: None,
            reason: None,
            warnings: Vec::new(),
        }
    }
}

impl From<&Refused> for Line {
    fn from(row: &Refused) -> Self {
        if let Whose::Grant(grant) = &row.whose {
            return Self::refused(grant, row.field, &row.reason);
        }
        Self {
            id: None,
            tenant: row.whose.tenant().map(str::to_owned),
            integration: None,
            result: Verdict::Refused,
            field: Some(row.field.to_owned()),
            reason: Some(printable(&format!("{}: {}", row.place, row.reason))),
            warnings: Vec::new(),
        }
    }
}

/// All rows and their counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In the order of the source.
    pub rows: Vec<Line>,
    /// How many were adopted.
    pub adopted: usize,
    /// How many were there already.
    pub unchanged: usize,
    /// How many were refused.
    pub refused: usize,
}

impl Report {
    /// Adds a row and counts it.
    pub fn push(&mut self, line: Line) {
        match line.result {
            Verdict::Adopted => self.adopted += 1,
            Verdict::Unchanged => self.unchanged += 1,
            Verdict::Refused => self.refused += 1,
        }
        self.rows.push(line);
    }

    /// 0 if nothing was refused, else 4: somebody has to look.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.refused == 0 { 0 } else { 4 }
    }
}

/// For people: what needs a look, then the counts.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let name = row.id.as_deref().or(row.tenant.as_deref()).unwrap_or("?");
            if let (Some(field), Some(reason)) = (&row.field, &row.reason) {
                writeln!(f, "refused  {name}: {field}: {reason}")?;
            }
            for warning in &row.warnings {
                writeln!(f, "warning  {name}: {warning}")?;
            }
        }
        let (adopted, unchanged, refused) = (self.adopted, self.unchanged, self.refused);
        write!(
            f,
            "{adopted} adopted, {unchanged} unchanged, {refused} refused"
        )
    }
}

/// A reason may come from a server: one line, no control characters, not without end.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(500)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Report {
        let mut report = Report::default();
        let user: GrantRef = "acme/prod@user".parse().unwrap();
        let client: GrantRef = "acme/prod@client".parse().unwrap();
        report.push(Line::adopted(&user).with_warnings(&["odd".to_owned()]));
        report.push(Line::unchanged(&client));
        report.push(Line::refused(&user, "refresh_token", "already\nspent"));
        report.push(Line::from(&Refused {
            place: "line 7".to_owned(),
            whose: Whose::Tenant("acme".to_owned()),
            field: "integration",
            reason: "is missing".into(),
        }));
        report
    }

    #[test]
    fn the_json_has_the_promised_shape() {
        let expected = json!({
            "rows": [
                {"id": "acme/prod", "tenant": "acme", "integration": "prod", "result": "adopted",
                 "field": null, "reason": null, "warnings": ["odd"]},
                {"id": "acme/prod@client", "tenant": "acme", "integration": "prod",
                 "result": "unchanged", "field": null, "reason": null},
                {"id": "acme/prod", "tenant": "acme", "integration": "prod", "result": "refused",
                 "field": "refresh_token", "reason": "already spent"},
                {"id": null, "tenant": "acme", "integration": null, "result": "refused",
                 "field": "integration", "reason": "line 7: is missing"},
            ],
            "adopted": 1, "unchanged": 1, "refused": 2,
        });
        let json = serde_json::to_value(sample()).unwrap();
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), sample());
    }

    #[test]
    fn people_see_what_needs_a_look_and_the_counts() {
        assert_eq!(
            sample().to_string(),
            "warning  acme/prod: odd\n\
             refused  acme/prod: refresh_token: already spent\n\
             refused  acme: integration: line 7: is missing\n\
             1 adopted, 1 unchanged, 2 refused"
        );
    }

    #[test]
    fn only_a_refusal_needs_attention() {
        let mut report = Report::default();
        assert_eq!(report.exit_code(), 0);
        report.push(Line::unchanged(&"acme/prod@user".parse().unwrap()));
        assert_eq!(report.exit_code(), 0);
        assert_eq!(sample().exit_code(), 4);
    }
}
