// What is known of an integration, in words. A green word needs evidence: a success, a timer ahead,
// a token that lives.

const OVERDUE = 60_000;

export function parse(time) {
  if (time === null || time === undefined) return null;
  const ms = typeof time === "number" ? time : Date.parse(time);
  return Number.isFinite(ms) ? ms : null;
}

export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 10) return `${m} min ${String(s % 60).padStart(2, "0")} s`;
  if (m < 120) return `${m} min`;
  const h = Math.floor(m / 60);
  if (h < 48) return `${h} h ${String(m % 60).padStart(2, "0")} min`;
  return `${Math.floor(h / 24)} days`;
}

export const until = (at, now) => (at > now ? `in ${span(at - now)}` : `${span(now - at)} ago`);
export const ago = (at, now) => (now - at < 1500 ? "just now" : `${span(now - at)} ago`);

export function moment(at) {
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

const REASONS = {
  revoked: ["NinjaOne no longer knows this consent.", "Somebody with access to NinjaOne must consent again."],
  expired: ["The refresh token outlived itself.", "Somebody with access to NinjaOne must consent again."],
  rotation_lost: [
    "A refresh was sent whose answer never arrived, and the old refresh token is spent.",
    "If a worker that was lost comes back, its journal heals this by itself. Otherwise somebody must consent again.",
  ],
  missing_credentials: ["No refresh token is stored.", "Somebody with access to NinjaOne must consent."],
  consent_required: ["NinjaOne wants a person to act.", "Somebody with access to NinjaOne must consent again."],
  reuse_detected: [
    "NinjaOne saw a refresh token twice and closed the grant.",
    "Find out who else holds this refresh token, then consent again.",
  ],
};

const ATTENTIONS = {
  client_unknown: [
    "NinjaOne does not know the client app at this instance.",
    "Check region, client ID and the kind of app. It is checked again every hour and heals without a reconnect.",
  ],
  client_rejected: [
    "NinjaOne refuses the client app: its secret, its grant types or its scopes.",
    "Put the app or its secret right. It heals without a reconnect.",
  ],
  client_changed: [
    "The client ID or secret is not the one that this grant was made with.",
    "Restore the old app, or reconnect with the new one.",
  ],
  undecryptable: [
    "No seal key of this fleet opens the stored tokens.",
    "Give the workers the key that sealed them. Nothing is lost until then.",
  ],
  no_client: ["No client app is configured.", "Configure the client ID and secret of the fleet."],
  no_offline_access: [
    "The grant came without a refresh token.",
    "Tick the grant type Refresh Token on the app and ask for the scope offline_access, then reconnect.",
  ],
  unexpected_redirect: [
    "The token endpoint answers with a redirect, which is never followed.",
    "Check the instance URL.",
  ],
  wrong_endpoint: ["There is no token endpoint at this host, or the host is not allowed.", "Check the instance URL."],
  unclassified: [
    "NinjaOne keeps refusing for a reason that is not known.",
    "Look at its answer below; its support can use the incident id.",
  ],
  token_type: ["NinjaOne gave an access token that is not a bearer token.", "Check the client app."],
  tls_error: ["The TLS handshake with the host keeps failing.", "Check certificates, proxies and the host's name."],
};

// Groups, in order of urgency.
export const GROUPS = [
  ["person", "Need a person", "amiss"],
  ["trouble", "Retrying", "wait"],
  ["unproven", "New", "new"],
  ["healthy", "Healthy", "well"],
  ["ended", "Disconnected", "idle"],
];

const verdict = (group, mood, word, meaning, todo) => ({ group, mood, word, meaning, todo });

export function judge(view, now) {
  const next = parse(view.next_refresh_at);
  const expires = parse(view.access_token_expires_at);
  const alive = view.access_token_valid && expires !== null && expires > now;
  const served = alive
    ? "The access token is served until it expires."
    : "There is no valid access token to serve.";
  if (view.state === "Disconnected") {
    return verdict("ended", "idle", "Disconnected", "The credentials are erased.", "Connect again to use it.");
  }
  if (view.parked) {
    const meaning = `Its turns kept failing, so it waits for a person: ${view.parked}. ${served}`;
    return verdict("person", "amiss", "Set aside", meaning, `evergreen requeue ${view.integration}@${view.grant}`);
  }
  if (view.state === "ReconnectRequired") {
    const [meaning, todo] = REASONS[view.reason] ?? [`Reason: ${view.reason}.`, "Somebody must consent again."];
    return verdict("person", "amiss", "Reconnect needed", `${meaning} ${served}`, todo);
  }
  if (view.state === "Active") {
    const [meaning, todo] = ATTENTIONS[view.attention] ?? [`Attention: ${view.attention}.`, null];
    return verdict("person", "amiss", "Fix needed", `${meaning} ${served}`, todo);
  }
  if (view.persist_pending) {
    const meaning = "A rotated pair was received and waits for the store. It is safe in the worker's journal.";
    return verdict("trouble", "wait", "Waiting for the store", meaning, null);
  }
  if (view.consecutive_failures > 0 || view.purpose === "retry") {
    const n = view.consecutive_failures;
    const times = n === 0 ? "NinjaOne asked to wait." : `The last ${n === 1 ? "attempt" : `${n} attempts`} failed.`;
    const meaning = `${times} ${served} It is tried again by itself.`;
    return verdict("trouble", alive ? "wait" : "amiss", alive ? "Retrying" : "Retrying, no token", meaning, null);
  }
  if (view.state === "Refreshing") {
    return verdict("healthy", "well", "Refreshing", `A request is under way. ${served}`, null);
  }
  if (next !== null && now - next > OVERDUE) {
    const meaning = `The refresh should have begun ${span(now - next)} ago. ${served}`;
    return verdict("trouble", "wait", "Overdue", meaning, "Is a worker running? evergreen doctor tells.");
  }
  if (!alive || next === null) {
    return verdict("trouble", "wait", "No valid token", `${served} A refresh is planned.`, null);
  }
  if (parse(view.last_refresh_at) === null) {
    const meaning = "It is connected. No refresh has succeeded yet, so nothing is proven; the first is planned.";
    return verdict("unproven", "new", "New", meaning, null);
  }
  return verdict("healthy", "well", "Healthy", "The last refresh succeeded, the next is planned, the token lives.", null);
}

const EVENTS = {
  INTEGRATION_TOKEN_REFRESH_SCHEDULED: ["refresh planned", "idle"],
  INTEGRATION_TOKEN_EXPIRING: ["running out of time", "wait"],
  INTEGRATION_TOKEN_REFRESHED: ["refreshed", "well"],
  INTEGRATION_TOKEN_REFRESH_FAILED: ["refresh failed", "wait"],
  INTEGRATION_RECONNECT_REQUIRED: ["reconnect needed", "amiss"],
  INTEGRATION_RECOVERED: ["works again", "well"],
  INTEGRATION_CONNECTED: ["connected", "well"],
  INTEGRATION_DISCONNECTED: ["disconnected", "idle"],
  gap: ["events were lost to webhooks", "amiss"],
};

export function eventWords(event) {
  const [words, mood] = EVENTS[event.event] ?? [event.event, "idle"];
  const payload = event.payload ?? {};
  if (event.event === "INTEGRATION_TOKEN_REFRESH_FAILED" && payload.retryable === false) {
    return ["refresh failed for good", "amiss"];
  }
  if (event.event === "INTEGRATION_RECONNECT_REQUIRED" && payload.reason) {
    return [`${words}: ${payload.reason}`, mood];
  }
  return [words, mood];
}
