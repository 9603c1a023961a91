//! The page at `/`: what this is, and its counters.

use axum::extract::State as Extract;
use axum::http::StatusCode;

use super::handle::Handle;
use super::reply::{Reply, page};

pub(super) async fn front_page(handle: Extract<Handle>) -> Reply {
    let report = handle.ledger();
    let totals = &report.totals;
    let rows = [
        ("grants", report.chains.len() as u64),
        ("token requests", totals.requests),
        ("refreshes that succeeded", totals.refreshes_succeeded),
        ("refreshes that were refused", totals.refreshes_refused),
        (
            "refresh tokens sent again after they were spent",
            totals.double_sends,
        ),
        (
            "of these, after an answer",
            totals.double_sends_after_answer,
        ),
        ("faults applied to token requests", totals.faults),
        (
            "longest gap without a valid access token, ms",
            report.longest_gap_ms,
        ),
    ]
    .map(|(what, number)| format!("<tr><th>{what}</th><td>{number}</td></tr>\n"))
    .concat();
    let body = format!(
        "<p>This is not NinjaOne. It is Evergreen's simulator: a strict stand-in that speaks the \
         same OAuth and a little of the same API, and forgets everything when it stops.</p>\n\
         <table>{rows}</table>\n<p>Endpoints: <code>/ws/oauth/authorize</code> \
         <code>/ws/oauth/token</code> <code>/v2/organizations</code> <code>/v2/devices</code>. \
         Its own, in JSON: <a href=\"/simulator/ledger\">ledger</a>, \
         <a href=\"/simulator/ledger/entries\">entries</a>, \
         <a href=\"/simulator/faults\">faults</a>, <a href=\"/simulator/clients\">clients</a>, \
         <a href=\"/simulator/settings\">settings</a>.</p>"
    );
    Reply::html(StatusCode::OK, page("A simulated NinjaOne", &body))
}
