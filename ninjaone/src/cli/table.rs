//! Tables as wide as the terminal, without lines.

use comfy_table::{ContentArrangement, Table, presets};

use super::ui::Ui;

/// A table with this head.
pub(super) fn table(ui: &Ui, head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(head.iter().copied());
    if let Some(width) = ui.width {
        table.set_width(width);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Its text, without white space at the ends of lines.
pub(super) fn text(table: &Table) -> String {
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}
