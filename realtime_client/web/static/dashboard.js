// The live page. It keeps a copy of the picture that the server describes and touches only what has changed.
//
// Texts come from logs, and whoever writes to a log may write what they like: they become text nodes and nothing else.
// The order of this file: the connection, the page's parts (state, figures, alerts, anomalies), what people do.

const page = document.body;
const byId = (id) => document.getElementById(id);

const SAMPLES = 60; // of a sparkline
const SAMPLE_EVERY = 2000; // milliseconds
const HIDDEN_FOR = 60000; // milliseconds after which a page that nobody sees gives its place to others
const SILENCE = 2.5; // heartbeats without a word after which a connection is dead, whatever it says of itself
const LONGEST_DELAY = 60000;
const GRACE = 7000; // milliseconds for which a stream may be away: it ends now and then, and comes back

// The connection -------------------------------------------------------------------------------------------------------

let source = null;
let lastId = "";
let failures = 0; // refusals in a row
let absences = 0; // the same for connections that broke
let missing = 0;
let heartbeat = 15; // seconds
let watchdog = 0;
let reopening = 0;
let behind = 0; // milliseconds by which this machine's clock is behind the server's
let queue = []; // messages that wait for the next frame of the screen

const handlers = {
  snapshot: showWhole,
  reset: showWhole,
  change: showChange,
  heartbeat(data) {
    heartbeat = data.every;
    behind = Date.parse(data.now) - Date.now();
    heard(data.asOf);
  },
  busy(data) {
    setPage("busy");
    say(`Too many pages are open here. This one tries again every ${Math.round(data.retry)} seconds.`);
  },
};

function open() {
  close();
  setPage("connecting");
  const url = new URL(page.dataset.stream, location.href);
  if (lastId) url.searchParams.set("last_event_id", lastId); // only the browser's own reconnection sets the header
  const current = source = new EventSource(url);
  for (const name of Object.keys(handlers)) {
    current.addEventListener(name, (event) => {
      if (current !== source) return;
      lastId = event.lastEventId || lastId;
      watch();
      absences = 0;
      clearTimeout(missing);
      if (name !== "busy") {
        failures = 0;
        setPage("live");
      }
      let data;
      try {
        data = JSON.parse(event.data);
      } catch {
        return; // cut short by something between here and there
      }
      if (name === "busy") handlers.busy(data); // at once: the end of the stream, right behind it, is no loss
      else enqueue(() => handlers[name](data));
    });
  }
  current.addEventListener("error", () => {
    if (current !== source) return;
    if (current.readyState === EventSource.CLOSED) {
      refused(); // an answer that is no stream: the browser does not try again, so this does
    } else if (page.dataset.page !== "busy") {
      absences += 1; // the browser tries again by itself, and says what came last
      if (absences > 1) setPage("lost");
      else missing = setTimeout(setPage, GRACE, "lost");
    }
  });
  watch();
}

function close() {
  clearTimeout(watchdog);
  clearTimeout(reopening);
  clearTimeout(missing);
  if (source) source.close();
  source = null;
}

function watch() {
  clearTimeout(watchdog);
  const patience = page.dataset.page === "busy" ? 60 : heartbeat * SILENCE;
  watchdog = setTimeout(open, patience * 1000);
}

function refused() {
  close();
  failures += 1;
  setPage("refused");
  const delay = Math.min(LONGEST_DELAY, 1000 * 2 ** failures);
  reopening = setTimeout(open, delay * (0.5 + Math.random()));
}

// What came goes onto the page with the next frame of the screen; a page that nobody sees has no frames.
function enqueue(show) {
  queue.push(show);
  if (document.hidden) flush();
  else if (queue.length === 1) requestAnimationFrame(flush);
}

function flush() {
  const shows = queue;
  queue = [];
  for (const show of shows) show();
}

// The state ------------------------------------------------------------------------------------------------------------

const STATES = {
  idle: "Not connected yet",
  connecting: "Connecting",
  connected: "Connected",
  reconnecting: "Reconnecting",
  unavailable: "Unavailable",
  failed: "Gave up",
  closed: "Closed",
};
// What is said instead while the page itself has not got that far.
const OWN_STATES = { connecting: "Connecting", live: "Connecting", paused: "Paused", busy: "Waiting for a place" };
const PAGES = {
  lost: "This page has lost its server. It tries again by itself; what it shows is old.",
  refused: "The server refuses this page; perhaps you are signed out. It tries again, or reload it.",
  paused: "Paused. What it shows is old.",
};

let status = null;
let asOf = null;

function setPage(state) {
  if (page.dataset.page === state) return;
  page.dataset.page = state;
  say(PAGES[state] ?? "");
  showState();
}

function say(text) {
  setText(byId("trouble"), text);
  byId("trouble").hidden = !text;
}

function showStatus(current) {
  status = current;
  page.dataset.state = current.state;
  page.dataset.transport = current.transport;
  showState();
}

function showState() {
  let text = OWN_STATES[page.dataset.page] ?? "Page offline";
  if (page.dataset.page === "live" && status) {
    text = STATES[status.state] ?? status.state;
    if (!status.connected && status.transport === "polling") text += ", polling instead";
    say(status.connected || !status.error ? "" : `The feed: ${status.error}`);
  }
  setText(byId("state"), text);
  tick();
}

// What moves with every second stands beside the state: there to be read, but not read out each time.
function tick() {
  let text = "";
  if (page.dataset.page === "live" && status) {
    const now = Date.now() + behind;
    const parts = [];
    if (!status.connected && status.transport !== "polling" && status.nextRetryAt) {
      const of = status.maxAttempts === null || status.attempts >= status.maxAttempts ? "" : ` of ${status.maxAttempts}`;
      const left = Date.parse(status.nextRetryAt) - now;
      parts.push(`attempt ${status.attempts + 1}${of} ${left > 0 ? `in ${span(left)}` : "under way"}`);
    }
    if (asOf) parts.push(`last heard ${span(now - Date.parse(asOf))} ago`); // how old the figures are, in an outage too
    text = parts.join(", ");
  }
  setText(byId("since"), text);
}

function heard(at) {
  if (at) asOf = at;
}

// Figures --------------------------------------------------------------------------------------------------------------

// A count grows for ever, so its line shows by how much; the others show what they are.
const FIGURES = {
  totalLogs: { title: "Log lines", counts: true },
  anomalyCount: { title: "Anomalies", counts: true },
  anomalyRate: { title: "Anomaly rate", share: true },
  activeServices: { title: "Active services" },
};
const whole = new Intl.NumberFormat();
const fraction = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const score = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 2 });

const figures = Object.entries(FIGURES).map(([name, figure]) => {
  const value = element("dd", "value", "–");
  const line = svg("path", { class: "line" });
  const chart = svg("svg", { class: "spark", viewBox: `0 0 ${SAMPLES - 1} 20`, preserveAspectRatio: "none" });
  chart.setAttribute("aria-hidden", "true");
  chart.append(line);
  const card = element("div", "figure");
  card.append(element("dt", "", figure.title), value, chart);
  const unit = element("dd", "quiet", figure.counts ? "new ones, two minutes" : "two minutes");
  card.append(unit);
  byId("figures").append(card);
  return { name, ...figure, value, line, last: null, current: null, samples: [] };
});
const further = new Map(); // what else the server counts, by name

function showFigures(stats) {
  for (const figure of figures) {
    figure.current = stats.known[figure.name];
    setText(figure.value, number(figure.current, figure.share));
  }
  const names = new Set();
  for (const [name, value] of stats.further) {
    names.add(name);
    if (!further.has(name)) {
      const row = element("div");
      row.append(element("dt", "", name), element("dd"));
      further.set(name, row);
      byId("further").append(row);
    }
    setText(further.get(name).lastChild, typeof value === "number" ? number(value) : String(value));
  }
  for (const [name, row] of further) {
    if (!names.has(name)) {
      row.remove();
      further.delete(name);
    }
  }
  byId("further").hidden = further.size === 0;
}

function number(value, share = false) {
  if (typeof value !== "number") return "–";
  if (share && value >= 0 && value <= 1) return percent.format(value);
  return (Number.isInteger(value) ? whole : fraction).format(value);
}

function sample() {
  const live = source && page.dataset.page === "live" && status && (status.connected || status.transport === "polling");
  for (const figure of figures) {
    let value = live ? figure.current : null; // an outage is a gap in the line, and so is a time that nobody looked
    if (figure.counts) {
      const before = figure.last;
      figure.last = value;
      value = value === null || before === null ? null : Math.max(0, value - before);
    }
    figure.samples.push(value);
    if (figure.samples.length > SAMPLES) figure.samples.shift();
    figure.line.setAttribute("d", path(figure.samples));
  }
}

function path(samples) {
  const known = samples.filter((value) => value !== null);
  const most = Math.max(...known, 0);
  const least = Math.min(...known, most);
  const start = SAMPLES - samples.length;
  let drawing = false;
  return samples.map((value, n) => {
    if (value === null) {
      drawing = false;
      return "";
    }
    const y = most === least ? 10 : 19 - (18 * (value - least)) / (most - least);
    const step = `${drawing ? "L" : "M"}${start + n} ${y.toFixed(1)}`;
    drawing = true;
    return step;
  }).join("");
}

// Alerts ---------------------------------------------------------------------------------------------------------------

function addAlerts(alerts, kept) {
  const list = byId("alerts");
  for (const alert of alerts.toReversed()) {
    const item = element("li", "alert");
    item.dataset.severity = alert.severity.toLowerCase();
    item.append(element("strong", "severity", alert.severity), " ", time(alert.timestamp), " ");
    item.append(element("span", "text", alert.message));
    list.prepend(item);
  }
  while (list.children.length > kept) list.lastChild.remove();
  byId("no-alerts").hidden = list.children.length > 0;
}

// Anomalies ------------------------------------------------------------------------------------------------------------

const rows = new Map(); // by id, those that the server has as well; an open row stays a while longer
const list = byId("logs");
const levels = new Set();
let fresh = 0; // arrived since that was last announced

function makeRow(log) {
  const item = element("li");
  const details = element("details");
  const summary = element("summary");
  const parts = {
    time: element("span", "when"),
    level: element("span", "level"),
    source: element("span", "source"),
    message: element("span", "message"),
    score: element("span", "number"),
  };
  const scored = element("span", "score");
  scored.append(element("span", "unit", "score "), parts.score);
  summary.append(parts.time, " ", parts.level, " ", parts.source, " ", parts.message, " ", scored);
  const body = element("div", "detail");
  details.append(summary, body);
  item.append(details);
  const row = { item, details, summary, body, parts, log: null, gone: false };
  details.addEventListener("toggle", () => {
    if (details.open) fillDetail(row);
    else if (row.gone) item.remove();
  });
  updateRow(row, log);
  return row;
}

function updateRow(row, log) {
  const before = row.log;
  row.log = log;
  if (before === null || before.timestamp !== log.timestamp) row.parts.time.replaceChildren(time(log.timestamp));
  setText(row.parts.level, log.level);
  row.parts.level.dataset.level = log.level.toLowerCase();
  setText(row.parts.source, log.source);
  setText(row.parts.message, log.message);
  setText(row.parts.score, score.format(log.score ?? 0));
  addLevel(log.level);
  row.words = `${log.level} ${log.source} ${log.message}`.toLowerCase();
  filterRow(row);
  if (row.details.open) fillDetail(row);
}

function fillDetail(row) {
  const { log } = row;
  const parts = [element("p", "full", log.message)];
  const lists = [["Likely causes", log.causes], ["Recommendations", log.recommendations]];
  for (const [title, texts] of lists) {
    if (!texts.length) continue;
    const items = element("ul");
    items.append(...texts.map((text) => element("li", "", text)));
    parts.push(element("h3", "", title), items);
  }
  const fields = element("dl");
  for (const [name, value] of [["Id", log.id], ["Time", log.timestamp ?? "unknown"], ["Score", log.score], ...log.extra]) {
    const field = element("div");
    field.append(element("dt", "", name), element("dd", "", String(value)));
    fields.append(field);
  }
  row.body.replaceChildren(...parts, fields);
}

// Puts a row above another one (at the end where that is null), and leaves it alone if it stands there already.
function place(log, below) {
  let row = rows.get(log.id);
  if (row) updateRow(row, log);
  else {
    row = makeRow(log);
    rows.set(log.id, row);
  }
  if (row.item.parentNode !== list || nextOf(row.item) !== below) {
    const focused = row.item.contains(document.activeElement);
    list.insertBefore(row.item, below ?? end());
    if (focused) row.summary.focus({ preventScroll: true });
  }
  return row;
}

// The next row that the server has as well.
function nextOf(item) {
  let next = item.nextSibling;
  while (next && next.classList.contains("gone")) next = next.nextSibling;
  return next;
}

// The end of what the server has as well: rows that only stay because they are read come after it.
function end() {
  let at = null;
  while ((at ? at.previousSibling : list.lastChild)?.classList.contains("gone")) at = at ? at.previousSibling : list.lastChild;
  return at;
}

// A row that somebody reads stays until it is closed.
function dropRow(id) {
  const row = rows.get(id);
  if (!row) return;
  rows.delete(id);
  row.gone = row.details.open;
  if (row.gone) row.item.classList.add("gone");
  else row.item.remove();
}

function filterRow(row) {
  const words = byId("words").value.trim().toLowerCase();
  const level = byId("level").value;
  row.item.hidden = !(row.words.includes(words) && (!level || row.log.level.toLowerCase() === level));
}

function addLevel(level) {
  const key = level.toLowerCase();
  if (levels.has(key) || levels.size >= 20) return;
  levels.add(key);
  const option = element("option", "", level);
  option.value = key;
  byId("level").append(option);
}

function showCount() {
  let shown = 0;
  for (const row of rows.values()) if (!row.item.hidden) shown += 1;
  setText(byId("count"), shown === rows.size ? `${shown} shown` : `${shown} of ${rows.size} shown`);
  const empty = byId("no-logs");
  setText(empty, rows.size ? "No anomaly matches." : "No anomalies.");
  empty.hidden = shown > 0;
  return shown;
}

// The picture ----------------------------------------------------------------------------------------------------------

function showWhole(data) {
  heard(data.asOf);
  showStatus(data.status);
  showFigures(data.stats);
  const ids = new Set(data.logs.map((log) => log.id));
  for (const id of [...rows.keys()]) if (!ids.has(id)) dropRow(id);
  let below = null;
  for (const log of data.logs.toReversed()) below = place(log, below).item;
  showCount();
  // What was there before is no news to be read out.
  byId("alert-log").setAttribute("aria-live", "off");
  byId("alerts").replaceChildren();
  addAlerts(data.alerts, data.alerts.length);
  setTimeout(() => byId("alert-log").setAttribute("aria-live", "polite"), 1000);
}

function showChange(data) {
  heard(data.asOf);
  if (data.status) showStatus(data.status);
  if (data.stats) showFigures(data.stats);
  if (data.gone || data.logs) {
    for (const id of data.gone ?? []) dropRow(id);
    for (const { log, above } of data.logs ?? []) {
      if (!rows.has(log.id)) fresh += 1;
      place(log, above === null ? null : rows.get(above)?.item ?? null);
    }
    showCount();
  }
  if (data.alerts) addAlerts(data.alerts, data.alertsKept);
}

// What people do -------------------------------------------------------------------------------------------------------

function applyFilter() {
  for (const row of rows.values()) filterRow(row);
  const shown = showCount();
  announce(`${shown} anomalies shown`);
}

let announcing = 0;
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => setText(byId("announcer"), text), 500);
}

byId("words").addEventListener("input", applyFilter);
byId("level").addEventListener("change", applyFilter);
document.querySelector(".filter").addEventListener("submit", (event) => event.preventDefault());

byId("pause").addEventListener("click", () => {
  const paused = page.dataset.page !== "paused";
  byId("pause").setAttribute("aria-pressed", String(paused));
  if (paused) {
    close();
    setPage("paused");
  } else open();
});

let hiding = 0;
function mindWhoLooks() {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(close, HIDDEN_FOR);
  else if (!source && page.dataset.page !== "paused") open();
}
document.addEventListener("visibilitychange", mindWhoLooks);
addEventListener("pagehide", close);
addEventListener("pageshow", (event) => {
  if (event.persisted && page.dataset.page !== "paused") open(); // back from the browser's cache of pages
});

setInterval(() => {
  if (!fresh) return;
  announce(fresh === 1 ? "One new anomaly" : `${fresh} new anomalies`);
  fresh = 0;
}, 5000);
setInterval(tick, 1000);
setInterval(sample, SAMPLE_EVERY);
showCount();
open();
mindWhoLooks(); // a tab that is opened in the background is hidden from the beginning

// Elements -------------------------------------------------------------------------------------------------------------

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function time(iso) {
  if (!iso) return element("span", "", "–");
  const at = new Date(iso);
  const made = element("time", "", at.toLocaleTimeString(undefined, { hour12: false }));
  made.dateTime = iso;
  made.title = at.toLocaleString();
  return made;
}

function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}
