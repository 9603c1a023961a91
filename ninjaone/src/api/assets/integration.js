// The page of one integration.

import { Link, Refused, call, element, follow, now, say, withKey } from "./api.js";
import { ago, judge, moment, parse, span, until } from "./words.js";

const REREAD = 15_000;
const $ = (id) => document.getElementById(id);
const link = new Link();
const integration = location.pathname.split("/").slice(2, 4).map(decodeURIComponent).join("/");
const path = `/v1/integrations/${location.pathname.split("/").slice(2, 4).join("/")}`;
let grant = new URLSearchParams(location.search).get("grant");
let view = null;
let word = null;

say($("name"), integration);
document.title = `${integration} · Evergreen`;

withKey((ask) => {
  const read = async () => {
    try {
      const query = grant === null ? "" : `?grant=${encodeURIComponent(grant)}`;
      const [status, history] = await Promise.all([
        call("GET", `${path}${query}`),
        call("GET", `${path}/history${query}`),
      ]);
      view = status;
      $("content").hidden = false;
      $("missing").hidden = true;
      link.listed();
      draw();
      drawHistory(history.transitions);
    } catch (error) {
      const status = error instanceof Refused ? error.status : 0;
      if (status === 401) ask("This key is not known, or was revoked.");
      else if (status === 403) ask("This key lacks the scope read.");
      else if (status === 404 || status === 422) {
        $("content").hidden = true;
        $("missing").hidden = false;
      } else {
        if (view !== null) $("content").hidden = false;
        link.failed(status === 0 ? "It cannot be reached." : error.message);
        $("content").hidden = false;
      }
    }
  };

  const grants = async () => {
    const there = [];
    for (const kind of ["user", "client"]) {
      try {
        await call("GET", `${path}?grant=${kind}`);
        there.push(kind);
      } catch {
        // It does not have this one.
      }
    }
    if (there.length < 2) return;
    $("grants").hidden = false;
    for (const kind of there) {
      const here = kind === (grant ?? view?.grant);
      $("grants").append(element("a", {
        href: `?grant=${kind}`, text: `${kind} grant`, "aria-current": here ? "page" : null,
      }));
    }
  };

  const act = async (button, doing, done, verb, body) => {
    button.disabled = true;
    say($("answer"), doing);
    try {
      const query = grant === null ? "" : `?grant=${encodeURIComponent(grant)}`;
      const answer = await call("POST", `${path}/${verb}${verb === "connect" ? "" : query}`, body);
      say($("answer"), done);
      return answer;
    } catch (error) {
      const lacking = error instanceof Refused && error.status === 403;
      say($("answer"), lacking ? "This key may look but not act: it lacks the scope admin." : `Not done: ${error.message}`);
      return null;
    } finally {
      button.disabled = false;
      read();
    }
  };
  $("refresh").addEventListener("click", (event) =>
    act(event.currentTarget, "Refreshing…", "Asked for a refresh; the state above is what came of it.", "refresh"));
  $("reset").addEventListener("click", (event) =>
    act(event.currentTarget, "Trying…", "Tried once more; the state above is what came of it.", "reset"));
  $("connect").addEventListener("click", async (event) => {
    const made = await act(event.currentTarget, "Making a link…", "", "connect", { instance_url: view.instance_url });
    if (made === null) return;
    $("invitation").hidden = false;
    $("invitation-url").value = made.url;
    $("invitation-url").select();
  });
  $("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText($("invitation-url").value);
      say($("answer"), "Copied.");
    } catch {
      $("invitation-url").select();
      say($("answer"), "Select and copy it by hand: this browser does not let pages copy.");
    }
  });

  read().then(grants);
  setInterval(read, REREAD);
  setInterval(() => { if (view !== null) draw(); }, 1000);
  let soon = null;
  follow(
    (event) => {
      if (event.integration.split("@")[0] !== integration) return;
      soon ??= setTimeout(() => { soon = null; read(); }, 300);
    },
    (open) => link.stream(open),
  );
});

function draw() {
  const time = now();
  const verdict = judge(view, time);
  $("verdict").dataset.mood = verdict.mood;
  say($("headline"), verdict.word);
  say($("meaning"), verdict.meaning);
  $("todo").hidden = !verdict.todo;
  say($("todo"), verdict.todo ?? "");
  if (word !== verdict.word) {
    if (word !== null) say($("spoken"), `${integration}: ${verdict.word}`);
    word = verdict.word;
  }
  $("refresh").hidden = !["Scheduled", "Refreshing", "Active"].includes(view.state);
  $("reset").hidden = view.state !== "ReconnectRequired";
  $("connect").hidden = view.grant !== "user" || !view.instance_url
    || !["reconnect", "fix_configuration"].includes(view.recovery);
  // The button that helps is the one that stands out.
  $("connect").classList.toggle("quiet", view.recovery !== "reconnect");

  const expires = parse(view.access_token_expires_at);
  const next = parse(view.next_refresh_at);
  const last = parse(view.last_refresh_at);
  const alive = view.access_token_valid && expires !== null && expires > time;
  say($("life"), alive ? `${span(expires - time)} left` : expires === null ? "None" : "Expired");
  say($("life-note"), expires === null ? "" : `${alive ? "until" : "since"} ${moment(expires)}`
    + (view.expiry_assumed ? ", assumed: NinjaOne did not say" : ""));
  // The length of its life is known only from a refresh.
  const measured = last !== null && expires !== null && last < expires;
  const share = alive && measured ? Math.max(2, Math.min(100, 100 * (expires - time) / (expires - last))) : 0;
  $("meter").hidden = !measured;
  $("meter").firstElementChild.style.width = `${share}%`;
  say($("next"), view.state === "Refreshing" ? "Now" : next === null ? (view.state === "Active" ? "Checked hourly" : "None planned")
    : next > time ? until(next, time) : time - next < 60_000 ? "Due now" : `Overdue by ${span(time - next)}`);
  say($("next-note"), next === null ? "" : `${moment(next)}${view.purpose ? `, ${view.purpose}` : ""}`);
  say($("last"), last === null ? "Never" : ago(last, time));
  say($("last-note"), last === null ? "" : moment(last));
  drawFacts(time);
}

function drawFacts(time) {
  const at = (text) => {
    const ms = parse(text);
    return ms === null ? null : `${moment(ms)} (${ago(ms, time)})`;
  };
  list($("facts"), [
    ["State", view.state],
    ["Reason", view.reason],
    ["Attention", view.attention],
    ["Warning", view.warning],
    ["Failures in a row", String(view.consecutive_failures)],
    ["Last attempt", at(view.last_attempt_at)],
    ["Unknown since", at(view.unknown_since)],
    ["Instance", view.instance_url],
    ["Client app", view.client_id],
    ["Scopes", view.scopes],
    ["Grant", view.grant],
    ["Consents", String(view.epoch)],
    ["Rotations", String(view.generation)],
    ["Planned by", view.source],
    ["Pairs kept apart", view.quarantined > 0 ? String(view.quarantined) : null],
    ["Held by", view.owner],
  ]);
  const told = view.provider;
  $("provider-card").hidden = told === null;
  if (told !== null) {
    list($("provider"), [
      ["HTTP status", told.status === null ? null : String(told.status)],
      ["Code", told.code],
      ["Text", told.description],
      ["Incident id", told.incident_id],
      ["Request id", told.request_id],
    ]);
  }
}

function list(target, facts) {
  const there = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  const names = there.map(([name]) => name).join();
  if (target.dataset.names !== names) {
    target.dataset.names = names;
    target.replaceChildren(...there.map(([name]) =>
      element("div", {}, element("dt", { text: name }), element("dd"))));
  }
  there.forEach(([, value], i) => say(target.children[i].lastChild, value));
}

const KNOWN = new Set(["at", "from", "to", "on", "wake_at", "next_refresh_at", "attempt", "fence", "v"]);

function drawHistory(transitions) {
  const body = $("history");
  $("history-empty").hidden = transitions.length > 0;
  const newest = [...transitions].reverse().slice(0, 100);
  const print = JSON.stringify(newest);
  if (body.dataset.print === print) return;
  body.dataset.print = print;
  const cell = (label, text, more = {}) => element("td", { role: "cell", "data-label": label, text, ...more });
  body.replaceChildren(...newest.map((entry) => {
    const at = parse(entry.at);
    const wake = parse(entry.wake_at);
    const because = Array.isArray(entry.on) ? entry.on.map(plain).join(", ") : plain(entry.on);
    const notes = Object.entries(entry).filter(([name]) => !KNOWN.has(name))
      .map(([name, value]) => `${name}: ${plain(value)}`);
    if (entry.attempt > 1) notes.unshift(`attempt ${entry.attempt}`);
    const steps = entry.from === entry.to ? plain(entry.to) : `${plain(entry.from) || "·"} → ${plain(entry.to)}`;
    return element("tr", { role: "row" },
      cell("When", at === null ? "" : moment(at), { class: "nowrap" }),
      cell("From → to", steps),
      cell("Because of", because),
      cell("Next timer", wake === null ? "none" : moment(wake), { class: "nowrap" }),
      cell("Notes", notes.join(" · ")));
  }));
}

function plain(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
