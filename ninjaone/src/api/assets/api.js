// The way to the API: the key, requests, and the stream of events.

const KEY = "evergreen-key";
let unstored = null;

// The key comes in the fragment, which no browser sends to a server, and leaves the address bar at once.
export function key() {
  const given = /^#key=(.+)$/.exec(location.hash);
  if (given) {
    remember(decodeURIComponent(given[1]));
    history.replaceState(null, "", location.pathname + location.search);
  }
  try {
    return sessionStorage.getItem(KEY) ?? unstored;
  } catch {
    return unstored;
  }
}

export function remember(text) {
  unstored = text;
  try {
    sessionStorage.setItem(KEY, text);
  } catch {
    // Without storage the key lives as long as the page.
  }
}

export function forget() {
  unstored = null;
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // There was nothing to forget.
  }
}

export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `the server answered ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

// By how much the server's clock is ahead of this browser's, in ms. Its `Date` has whole seconds.
let ahead = 0;
export const now = () => Date.now() + ahead;

function setClock(response) {
  const date = Date.parse(response.headers.get("date") ?? "");
  if (Number.isFinite(date)) {
    const seen = date + 500 - Date.now();
    if (Math.abs(seen - ahead) > 1500) ahead = seen;
  }
}

export async function call(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: {
      authorization: `Bearer ${key()}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    signal: AbortSignal.timeout(30_000),
  });
  setClock(response);
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

export async function all() {
  const found = [];
  let cursor = null;
  do {
    const more = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const page = await call("GET", `/v1/integrations?limit=500${more}`);
    found.push(...page.integrations);
    cursor = page.next;
  } while (cursor !== null);
  return found;
}

// A stream that says nothing for so long is dead: the server says something every 15 s.
const SILENCE = 40_000;
const PAUSE_MAX = 15_000;

// Follows the events for ever. `onLink(true)` means that the stream is open.
export async function follow(onEvent, onLink) {
  let after = null;
  let pause = 1000;
  for (;;) {
    const stop = new AbortController();
    let watchdog = setTimeout(() => stop.abort(), SILENCE);
    try {
      const query = after === null ? "from=now" : `after=${encodeURIComponent(after)}`;
      const response = await fetch(`/v1/events?${query}`, {
        headers: { authorization: `Bearer ${key()}`, accept: "text/event-stream" },
        cache: "no-store",
        credentials: "omit",
        signal: stop.signal,
      });
      if (!response.ok) throw new Refused(response.status, await response.json().catch(() => null));
      setClock(response);
      onLink(true);
      pause = 1000;
      const lines = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await lines.read();
        if (done) break;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => stop.abort(), SILENCE);
        const blocks = (rest + value).split(/\r?\n\r?\n/);
        rest = blocks.pop();
        for (const block of blocks) {
          const data = [];
          for (const line of block.split(/\r?\n/)) {
            if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
            if (line.startsWith("id:")) after = line.slice(3).trim();
          }
          if (data.length > 0) onEvent(JSON.parse(data.join("\n")));
        }
      }
    } catch (error) {
      if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
        onLink(false, error);
        return;
      }
    } finally {
      clearTimeout(watchdog);
    }
    onLink(false);
    await new Promise((wake) => setTimeout(wake, pause));
    pause = Math.min(pause * 2, PAUSE_MAX);
  }
}

// The form that asks for the key. `start` runs once there is one.
export function withKey(start) {
  const card = document.getElementById("key-card");
  const form = document.getElementById("key-form");
  const field = document.getElementById("key");
  const complaint = document.getElementById("key-error");
  const change = document.getElementById("forget");
  const ask = (why) => {
    forget();
    card.hidden = false;
    change.hidden = true;
    document.getElementById("content").hidden = true;
    document.getElementById("link").hidden = true;
    complaint.textContent = why ?? "";
    field.focus();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    remember(field.value.trim());
    field.value = "";
    // A new page has no stream and no timer of the old key.
    location.reload();
  });
  change.addEventListener("click", () => {
    forget();
    location.reload();
  });
  addEventListener("hashchange", () => {
    if (location.hash.startsWith("#key=")) {
      key();
      location.reload();
    }
  });
  if (key()) {
    change.hidden = false;
    start(ask);
  } else {
    ask();
  }
}

// The line that says whether what is shown is of now.
export class Link {
  constructor() {
    this.line = document.getElementById("link");
    this.text = document.getElementById("link-text");
    this.banner = document.getElementById("lost");
    this.streaming = false;
    this.listedAt = null;
    this.failedSince = null;
  }

  stream(open) {
    this.streaming = open;
    this.show();
  }

  listed() {
    this.listedAt = Date.now();
    this.failedSince = null;
    this.show();
  }

  failed(why) {
    this.failedSince ??= this.listedAt ?? Date.now();
    this.why = why;
    this.show();
  }

  show() {
    const lost = this.failedSince !== null;
    this.line.hidden = false;
    this.line.dataset.mood = lost ? "amiss" : this.streaming ? "well" : "wait";
    const text = lost ? "Connection lost" : this.streaming ? "Live" : "Connecting";
    if (this.text.textContent !== text) this.text.textContent = text;
    document.body.classList.toggle("stale", lost);
    if (lost) {
      const since = new Date(this.failedSince).toLocaleTimeString();
      const what =
        `The API does not answer. What you see is of ${since} and may be wrong by now. ${this.why}`;
      if (this.banner.textContent !== what) this.banner.textContent = what;
    }
    this.banner.hidden = !lost;
  }
}

export function element(name, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) made.setAttribute(attribute, value);
  }
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

// Changes text only where it differs, so that screen readers and selections are left alone.
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
