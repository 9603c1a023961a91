// The dashboard: every integration that the key sees, live.

import { Link, Refused, all, call, element, follow, now, say, withKey } from "./api.js";
import { GROUPS, ago, eventWords, judge, moment, parse, span, until } from "./words.js";

const RELIST = 20_000;
const SHOWN_STEP = 200;
const FEED_MAX = 40;
// More changes than this at once are cheaper to list than to ask for one by one.
const SINGLE_MAX = 15;

const $ = (id) => document.getElementById(id);
const link = new Link();
const views = new Map();
const rows = new Map();
let filter = "all";
let limit = SHOWN_STEP;
let spoken = null;

const nameOf = (view) => `${view.integration}@${view.grant}`;

withKey((ask) => {
  let listing = false;
  const list = async () => {
    if (listing) return;
    listing = true;
    try {
      const found = await all();
      views.clear();
      for (const view of found) views.set(nameOf(view), view);
      $("content").hidden = false;
      $("loading").hidden = true;
      link.listed();
      draw();
    } catch (error) {
      if (error instanceof Refused && error.status === 401) ask("This key is not known, or was revoked.");
      else if (error instanceof Refused && error.status === 403) ask("This key lacks the scope read.");
      else {
        $("content").hidden = false;
        $("loading").hidden = views.size > 0;
        link.failed(error instanceof Refused ? error.message : "It cannot be reached.");
      }
    } finally {
      listing = false;
    }
  };

  const changed = new Set();
  let asking = null;
  const askAgain = async () => {
    asking = null;
    const names = [...changed];
    changed.clear();
    if (names.length > SINGLE_MAX) return list();
    await Promise.all(names.map(async (name) => {
      const [integration, grant] = name.split("@");
      try {
        const view = await call("GET", `/v1/integrations/${integration}?grant=${grant}`);
        views.set(name, view);
      } catch (error) {
        if (error instanceof Refused && error.status === 404) views.delete(name);
      }
    }));
    draw();
  };

  $("content").hidden = false;
  list();
  setInterval(list, RELIST);
  setInterval(tick, 1000);
  follow(
    (event) => {
      tell(event);
      // A gap in the events concerns no integration.
      if (event.integration === "") return;
      changed.add(`${event.integration.split("@")[0]}@${event.payload?.grant ?? "user"}`);
      asking ??= setTimeout(askAgain, 400);
    },
    (open) => link.stream(open),
  );
});

$("search").addEventListener("input", restart);
$("state").addEventListener("change", restart);
$("order").addEventListener("change", restart);
$("more").addEventListener("click", () => {
  limit += SHOWN_STEP;
  draw();
});

function restart() {
  limit = SHOWN_STEP;
  draw();
}

function draw() {
  const time = now();
  const judged = [...views.values()].map((view) => ({ view, verdict: judge(view, time) }));
  drawTiles(judged);
  const search = $("search").value.trim().toLowerCase();
  const state = $("state").value;
  const wanted = judged.filter(({ view, verdict }) =>
    (filter === "all" || verdict.group === filter)
    && (state === "" || view.state === state)
    && (search === "" || [view.integration, view.grant, view.instance_url, view.reason, view.attention, verdict.word]
      .some((text) => text?.toLowerCase().includes(search))));
  wanted.sort(ORDERS[$("order").value]);
  drawRows(wanted.slice(0, limit), time);
  const empty = wanted.length === 0;
  $("empty").hidden = !empty;
  if (empty) {
    say($("empty"), views.size === 0
      ? "No integration yet. evergreen connect or evergreen import brings the first."
      : "None matches. Clear the search or choose another count above.");
  }
  const hidden = wanted.length - limit;
  $("more").hidden = hidden <= 0;
  if (hidden > 0) say($("more"), `Show more (${hidden} not shown)`);
  say($("caption"), `${wanted.length} of ${views.size} integrations`);
}

const rank = Object.fromEntries(GROUPS.map(([group], i) => [group, i]));
const byName = (a, b) => nameOf(a.view).localeCompare(nameOf(b.view));
const ORDERS = {
  name: byName,
  urgent: (a, b) => rank[a.verdict.group] - rank[b.verdict.group] || byName(a, b),
  next: (a, b) => (parse(a.view.next_refresh_at) ?? Infinity) - (parse(b.view.next_refresh_at) ?? Infinity)
    || byName(a, b),
};

function drawTiles(judged) {
  const counts = { all: judged.length };
  for (const { verdict } of judged) counts[verdict.group] = (counts[verdict.group] ?? 0) + 1;
  const tiles = $("tiles");
  if (tiles.childElementCount === 0) {
    for (const [group, words, mood] of [["all", "All", "all"], ...GROUPS]) {
      const tile = element("button", { type: "button", class: "tile", "data-group": group, "data-mood": mood },
        element("span", { class: "count" }), element("span", { class: "words", text: words }));
      tile.addEventListener("click", () => {
        filter = filter === group ? "all" : group;
        restart();
      });
      tiles.append(tile);
    }
  }
  for (const tile of tiles.children) {
    const count = counts[tile.dataset.group] ?? 0;
    say(tile.firstChild, String(count));
    tile.classList.toggle("none", count === 0);
    tile.setAttribute("aria-pressed", String(filter === tile.dataset.group));
  }
  const person = counts.person ?? 0;
  if (spoken !== person) {
    if (spoken !== null || person > 0) {
      say($("spoken"), person === 1 ? "1 integration needs a person." : `${person} integrations need a person.`);
    }
    spoken = person;
    document.title = person > 0 ? `(${person}) Evergreen` : "Evergreen";
  }
}

function drawRows(shown, time) {
  const body = $("rows");
  const keep = new Set(shown.map(({ view }) => nameOf(view)));
  for (const [name, row] of rows) {
    if (!keep.has(name)) {
      row.line.remove();
      rows.delete(name);
    }
  }
  let before = body.firstElementChild;
  for (const { view, verdict } of shown) {
    const name = nameOf(view);
    let row = rows.get(name);
    if (row === undefined) {
      row = newRow(view);
      rows.set(name, row);
    }
    // Rows are moved only when their order changed: focus and selection stay where they are.
    if (row.line === before) before = before.nextElementSibling;
    else body.insertBefore(row.line, before);
    fill(row, view, verdict, time);
  }
}

function newRow(view) {
  const cell = (label, name, ...children) => element(name, {
    role: name === "th" ? "rowheader" : "cell", scope: name === "th" ? "row" : null, "data-label": label,
  }, ...children);
  const row = {
    word: element("strong"),
    why: element("span", { class: "why" }),
    life: element("span"),
    meter: element("span", { class: "meter", "aria-hidden": "true" }, element("span")),
    next: element("span"),
    last: element("span"),
  };
  const [tenant, integration] = view.integration.split("/");
  const grant = view.grant === "user" ? "" : `?grant=${encodeURIComponent(view.grant)}`;
  const name = element("a", { href: `/integrations/${view.integration}${grant}` },
    element("span", { class: "tenant", text: `${tenant}/` }), element("span", { text: integration }));
  const chip = element("span", { class: "chip", text: view.grant, hidden: view.grant === "user" ? "" : null });
  row.line = element("tr", { role: "row" },
    cell("Integration", "th", name, chip),
    cell("How it stands", "td", element("span", { class: "stand" }, element("span", { class: "dot" }), row.word), row.why),
    cell("Access token", "td", row.life, row.meter),
    cell("Next refresh", "td", row.next),
    cell("Last success", "td", row.last));
  return row;
}

function fill(row, view, verdict, time) {
  row.view = view;
  row.line.dataset.mood = verdict.mood;
  say(row.word, verdict.word);
  const why = [view.reason ?? view.attention, view.provider?.code, view.warning]
    .filter((text, i, texts) => text && texts.indexOf(text) === i);
  if (verdict.group === "unproven") why.unshift("no refresh yet");
  if (verdict.group === "trouble" && view.consecutive_failures > 0) why.unshift(`${view.consecutive_failures} failed`);
  say(row.why, verdict.group === "ended" ? "" : why.join(" · "));
  count(row, time);
}

function count(row, time) {
  const view = row.view;
  const expires = parse(view.access_token_expires_at);
  const next = parse(view.next_refresh_at);
  const last = parse(view.last_refresh_at);
  const ended = view.state === "Disconnected";
  const alive = view.access_token_valid && expires !== null && expires > time;
  say(row.life, ended ? "–" : alive ? `${span(expires - time)} left${view.expiry_assumed ? ", assumed" : ""}`
    : expires === null ? "none" : `expired ${ago(expires, time)}`);
  row.meter.hidden = ended || expires === null || last === null || last >= expires;
  row.meter.firstChild.style.width = `${alive ? share(last, expires, time) : 0}%`;
  say(row.next, view.state === "Refreshing" ? "now" : next === null ? (view.state === "Active" ? "checked hourly" : "none planned")
    : next > time ? until(next, time) : time - next < 60_000 ? "due now" : `overdue by ${span(time - next)}`);
  say(row.last, last === null ? "never" : ago(last, time));
  for (const [part, at] of [[row.life, expires], [row.next, next], [row.last, last]]) {
    if (at !== null) part.title = moment(at);
  }
}

// How much of the token's life is left. Its length is known only from a refresh.
const share = (last, expires, time) =>
  Math.max(2, Math.min(100, Math.round(100 * (expires - time) / (expires - last))));

let ticks = 0;
function tick() {
  ticks += 1;
  const time = now();
  for (const row of rows.values()) count(row, time);
  for (const line of $("feed").children) {
    const when = line.firstChild;
    say(when, ago(Number(when.dataset.at), time));
  }
  // Time alone changes verdicts: tokens expire, timers pass.
  if (ticks % 5 === 0) draw();
}

function tell(event) {
  if (event.event === "INTEGRATION_TOKEN_REFRESH_SCHEDULED") return;
  const [words, mood] = eventWords(event);
  const at = parse(event.at) ?? now();
  const integration = event.integration.split("@")[0];
  const name = element("a", { href: `/integrations/${integration}`, text: integration });
  const what = integration === "" ? [words] : [name, ` ${words}`];
  $("feed").prepend(element("li", { "data-mood": mood },
    element("time", { "data-at": String(at), datetime: event.at, title: moment(at), text: ago(at, now()) }),
    element("span", {}, ...what)));
  while ($("feed").childElementCount > FEED_MAX) $("feed").lastElementChild.remove();
  $("feed-empty").hidden = true;
}
