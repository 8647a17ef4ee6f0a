// Shows the pools as /v1/events tells of them. Nothing is kept but in this tab's memory, the token too; nothing is
// changed on the server.
"use strict";

const STATES = ["usable", "leased", "resting", "spent", "disabled", "invalid"];

// How long nothing may come before the connection is taken for lost: the server tells something every 15 s.
const SILENCE = 40_000;

// The pauses between two tries to connect, in milliseconds.
const PAUSES = [500, 1_000, 2_000, 5_000];

const pools = document.getElementById("pools");
const status = document.getElementById("status");
const form = document.getElementById("token");
const secret = document.getElementById("secret");
const cards = new Map();
let token = null;

const number = (value) => value.toLocaleString("en");

function say(is, text) {
  if (status.textContent !== text) status.textContent = text;
  status.dataset.is = is;
  pools.dataset.is = is;
}

// --- what comes of the server ---

async function follow() {
  for (let tries = 0; ; tries++) {
    const outcome = await connect(() => (tries = -1));
    if (outcome === "token") return;
    say("lost", outcome);
    const pause = PAUSES[Math.min(Math.max(tries, 0), PAUSES.length - 1)];
    await new Promise((again) => setTimeout(again, pause));
  }
}

// Reads events until they end; answers what is wrong then.
async function connect(connected) {
  const stop = new AbortController();
  let silence;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => stop.abort(), SILENCE);
  };
  try {
    heard();
    const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
    const answer = await fetch("/v1/events", { headers, signal: stop.signal, cache: "no-store" });
    if (answer.status === 401 || answer.status === 403) return refused(await answer.json());
    if (!answer.ok) return "The server is busy; trying again";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return "Disconnected; trying again";
      heard();
      text += value;
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) if (take(event)) connected();
    }
  } catch {
    return "Disconnected; trying again";
  } finally {
    clearTimeout(silence);
    stop.abort();
  }
}

// Takes one event; true where it tells of the pools.
function take(event) {
  const fields = new Map(event.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
  const data = JSON.parse(fields.get("data"));
  if (fields.get("event") !== "pools") {
    say("lost", data.code === "store_unavailable" ? "The store does not answer; trying again" : data.title);
    return false;
  }
  show(data.pools);
  say("live", "Live");
  return true;
}

function refused(problem) {
  if (problem.code === "forbidden" && token === null) return problem.detail;
  say("waiting", token === null ? "A token is needed" : `This token does not do: ${problem.detail}`);
  token = null;
  pools.replaceChildren();
  cards.clear();
  form.hidden = false;
  secret.focus();
  return "token";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  token = secret.value.trim();
  secret.value = "";
  form.hidden = true;
  say("waiting", "Connecting ...");
  follow();
});

// --- what is shown of it ---

function show(all) {
  const names = new Set(all.map((pool) => pool.name));
  for (const [name, card] of cards) {
    if (!names.has(name)) {
      card.remove();
      cards.delete(name);
    }
  }
  for (const pool of all) {
    let card = cards.get(pool.name);
    if (card === undefined) {
      card = document.getElementById("pool").content.cloneNode(true).firstElementChild;
      card.dataset.pool = pool.name;
      card.querySelector("h2").id = `pool-${pool.name}`;
      card.setAttribute("aria-labelledby", `pool-${pool.name}`);
      card.querySelector("[data-moved]").setAttribute("aria-label", `What happened last in ${pool.name}`);
      cards.set(pool.name, card);
      pools.append(card);
    }
    fill(card, pool);
  }
  pools.setAttribute("aria-busy", "false");
}

function fill(card, pool) {
  const put = (name, text) => {
    const place = card.querySelector(`[data-${name}]`);
    if (place.textContent !== text) place.textContent = text;
  };
  const order = pool.picks === "in_order" ? "key after key" : "least recently used first";
  put("name", pool.name);
  put("policy", `${number(pool.uses_per_key)} ${pool.uses_per_key === 1 ? "use" : "uses"} a key, ${order}`);
  put("left", number(pool.uses.left));
  put("dry", dry(pool));
  put("leases", number(pool.uses.leased));
  put("due", pool.next_due_at === null ? "–" : clock(pool.next_due_at));
  for (const state of STATES) card.querySelector(`[data-state="${state}"]`).textContent = number(pool.keys[state]);
  bar(card.querySelector("[data-bar]"), pool.keys);
  const empty = card.querySelector("[data-empty]");
  empty.hidden = pool.keys.total > 0;
  empty.textContent = `No keys yet: keylend keys import FILE --pool ${pool.name}`;
  minutes(card.querySelector("[data-minutes]"), pool.hand_outs_per_minute);
  counts(card, pool.usage_counts);
  moved(card.querySelector("[data-moved]"), pool.transitions);
}

function dry(pool) {
  if (pool.keys.total > 0 && pool.uses.left === 0) return "now";
  return pool.dry_in_seconds === null ? "–" : lasting(pool.dry_in_seconds);
}

function bar(svg, keys) {
  let x = 0;
  const parts = STATES.map((state) => {
    const width = keys.total === 0 ? 0 : (100 * keys[state]) / keys.total;
    const part = { x, y: 0, width, height: 4, of: state };
    x += width;
    return part;
  });
  draw(svg, parts);
  svg.setAttribute("aria-label", `Of ${number(keys.total)} keys: ${STATES.map((state) => `${number(keys[state])} ${state}`).join(", ")}`);
}

function minutes(svg, each) {
  columns(svg, each);
  const all = each.reduce((sum, count) => sum + count, 0);
  svg.setAttribute("aria-label", `${number(all)} hand-outs in the last hour, ${number(each.at(-2) + each.at(-1))} in the last two minutes, ${number(Math.max(...each))} in the busiest one`);
}

function counts(card, all) {
  const svg = card.querySelector("[data-counts]");
  const most = all.reduce((most, { usage_count }) => (usage_count === "more" ? most : Math.max(most, usage_count)), 0);
  // A column each where there is room for it, else one for as many counts as it takes.
  const width = Math.ceil((most + 1) / 60);
  const each = new Array(Math.ceil((most + 1) / width)).fill(0);
  let more = 0;
  for (const { usage_count, keys } of all) {
    if (usage_count === "more") more += keys;
    else each[Math.floor(usage_count / width)] += keys;
  }
  if (more > 0) each.push(more);
  columns(svg, each);
  const told = all.slice(0, 20).map(({ usage_count, keys }) => `${number(keys)} with ${usage_count}`);
  svg.setAttribute("aria-label", told.length === 0 ? "No keys" : `Keys by uses counted: ${told.join(", ")}`);
  card.querySelector("[data-first]").textContent = "0";
  card.querySelector("[data-last]").textContent = more > 0 ? "more" : String(most);
}

// Columns side by side, the highest as high as there is room.
function columns(svg, each) {
  const most = Math.max(1, ...each);
  const step = 240 / each.length;
  const gap = Math.min(2, step / 4);
  draw(svg, each.map((count, place) => {
    const height = (47 * count) / most;
    return { x: place * step, y: 48 - height, width: step - gap, height, of: "" };
  }));
}

function draw(svg, parts) {
  while (svg.childElementCount > parts.length) svg.lastElementChild.remove();
  while (svg.childElementCount < parts.length) svg.append(document.createElementNS("http://www.w3.org/2000/svg", "rect"));
  parts.forEach((part, place) => {
    const rect = svg.children[place];
    for (const name of ["x", "y", "width", "height"]) rect.setAttribute(name, part[name].toFixed(3));
    rect.setAttribute("class", part.of);
  });
}

function moved(list, all) {
  const told = JSON.stringify(all);
  if (list.dataset.told === told) return;
  list.dataset.told = told;
  const line = ({ at, id, masked, keys, to, why }) => {
    const item = document.createElement("li");
    const add = (name, text, kind) => {
      const part = document.createElement(name);
      part.textContent = text;
      if (kind) part.className = kind;
      item.append(part);
      return part;
    };
    add("time", clock(at)).dateTime = at;
    if (id === null) add("span", `${number(keys)} keys`);
    else add("code", masked ?? id).title = id;
    add("span", `→ ${to}`);
    if (why !== to) add("span", why.replaceAll("_", " "), "why");
    return item;
  };
  list.replaceChildren(...(all.length === 0 ? [nothing()] : all.map(line)));
}

function nothing() {
  const item = document.createElement("li");
  item.textContent = "Nothing since the instance was started.";
  item.className = "note";
  return item;
}

function clock(at) {
  const then = new Date(at);
  const time = then.toLocaleTimeString("en", { hour12: false });
  return then.toDateString() === new Date().toDateString() ? time : `${then.toLocaleDateString("en-CA")} ${time}`;
}

function lasting(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${number(Math.round(seconds / 86_400))} days`;
}

follow();
