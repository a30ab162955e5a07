"use strict";
// Every word of a client comes in as text (textContent), never as markup.

const MOST_TASKS = 200;
const A_PAGE = 24;
const OPEN = new Set(["queued", "processing"]);
const WORDS = { queued: "Queued", processing: "Processing", succeeded: "Succeeded", failed: "Failed" };
const DELIVERED = { pending: "On its way", succeeded: "Delivered", failed: "Not taken" };

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const tasks = new Map(); // id -> { task, card, shown status }, the oldest first
let filter = "";
let room = A_PAGE;
let total = 0;
let clockAhead = 0; // seconds by which the sandbox's clock is ahead of ours

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const seconds = (value) => (value < 10 ? `${Math.max(0, value).toFixed(1)} s` : value < 90 ? `${Math.round(value)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`);
const credits = (value) => `${number.format(value)} credit${value === 1 ? "" : "s"}`;
const now = () => Date.now() / 1000 + clockAhead;

// --- jobs ------------------------------------------------------------------------------------------------------------

function newCard(task) {
  const card = make("li", { className: "card" });
  card.id = task.id;
  card.parts = { media: make("div"), status: make("span", { className: "status" }), time: make("span"), credits: make("span") };
  const facts = make("p", { className: "facts" }, make("span", { className: "model", textContent: task.model }), card.parts.status, card.parts.time, card.parts.credits);
  const prompt = make("p", { className: "prompt", textContent: task.prompt || "No prompt", title: task.prompt });
  card.append(card.parts.media, make("div", { className: "text" }, prompt, facts));
  return card;
}

function picture(task, file, index) {
  const alt = task.files.length > 1 ? `${task.prompt}, ${index + 1} of ${task.files.length}` : task.prompt || "Picture";
  const image = make("img", { src: file, alt, loading: "lazy", decoding: "async" });
  image.onerror = () => image.parentElement.replaceWith(make("p", { className: "pending", textContent: "The picture did not come." }));
  return make("a", { href: file, target: "_blank", rel: "noopener" }, image);
}

function player(task, tag) {
  const element = make(tag, { src: task.files[0], controls: true, preload: tag === "video" ? "metadata" : "none" });
  element.setAttribute("aria-label", task.prompt || tag);
  return element;
}

function media(task) {
  const box = make("div", { className: "media" });
  if (OPEN.has(task.status)) {
    const bar = make("progress", { max: 1, value: 0 });
    bar.setAttribute("aria-label", `Progress of ${task.prompt || task.model}`);
    box.className = "media pending";
    box.append(make("span", { textContent: task.status === "queued" ? "Waiting for its turn" : "In the making" }), bar);
  } else if (task.status === "failed") {
    box.className = "media broken";
    box.append(make("strong", { textContent: "Failed" }), make("span", { textContent: task.failure }));
  } else if (task.category === "image") {
    const files = task.files.slice(0, 4);
    if (files.length > 1) box.className = "media many";
    box.append(...files.map((file, index) => picture(task, file, index)));
  } else {
    if (task.category === "audio") box.className = "media sound";
    box.append(player(task, task.category === "audio" ? "audio" : "video"));
  }
  return box;
}

function dress(entry) {
  const { task, card } = entry;
  if (entry.dressed !== task.status) {
    entry.dressed = task.status;
    card.dataset.status = task.status;
    say(card.parts.status, WORDS[task.status]);
    say(card.parts.credits, task.status === "failed" ? "given back" : credits(task.credits));
    const box = media(task);
    card.parts.media.replaceWith(box);
    card.parts.media = box;
  }
  tick(entry);
}

function tick({ task, card }) {
  const until = OPEN.has(task.status) ? now() : task.ends_at;
  say(card.parts.time, seconds(until - task.created_at));
  const bar = card.parts.media.querySelector("progress");
  if (bar) bar.value = Math.min(1, Math.max(0, (now() - task.created_at) / (task.ends_at - task.created_at)));
}

function showJobs() {
  const list = byId("cards");
  const wanted = [...tasks.values()].reverse().filter(({ task }) => !filter || task.status === filter);
  const shown = wanted.slice(0, room);
  const kept = new Set(shown.map(({ task }) => task.id));
  for (const card of [...list.children]) if (!kept.has(card.id)) card.remove();
  let place = list.firstElementChild;
  for (const entry of shown) {
    entry.card ??= newCard(entry.task);
    dress(entry);
    if (entry.card === place) place = place.nextElementSibling; // a card that plays must not be moved
    else list.insertBefore(entry.card, place);
  }
  byId("empty").hidden = total > 0;
  byId("none").hidden = total === 0 || shown.length > 0;
  say(byId("none"), `None of the newest ${number.format(tasks.size)} jobs is ${filter}.`);
  byId("more").hidden = wanted.length <= shown.length;
  byId("bound").hidden = total <= tasks.size;
  say(byId("bound"), `The newest ${number.format(tasks.size)} of ${number.format(total)} jobs are kept here; the rest is counted.`);
}

function learn(changed) {
  for (const task of changed) {
    const known = tasks.get(task.id);
    if (known) known.task = task;
    else tasks.set(task.id, { task });
  }
  for (const id of tasks.keys()) {
    if (tasks.size <= MOST_TASKS) break;
    tasks.delete(id);
  }
}

function showCounts(counts) {
  total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  for (const button of document.querySelectorAll("[data-filter]")) {
    say(button.querySelector("b"), number.format(button.dataset.filter ? counts[button.dataset.filter] : total));
  }
}

// --- what assistive technology is told: ends, and not too often ---------------------------------------------------------

const ended = { succeeded: 0, failed: 0 };
let lastCounts = null;

function note(counts) {
  if (lastCounts) for (const status of Object.keys(ended)) ended[status] += Math.max(0, counts[status] - lastCounts[status]);
  lastCounts = counts;
}

function announce() {
  const parts = Object.entries(ended).filter(([, count]) => count).map(([status, count]) => `${number.format(count)} ${count === 1 ? "job" : "jobs"} ${status}`);
  if (!parts.length) return;
  say(byId("news"), `${parts.join(", ")}.`);
  ended.succeeded = ended.failed = 0;
}

// --- faults ----------------------------------------------------------------------------------------------------------

async function turn(button) {
  const wish = { id: button.dataset.id, on: button.getAttribute("aria-checked") !== "true" };
  let complaint = "";
  try {
    const answer = await fetch("/sandbox/faults", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wish) });
    if (!answer.ok) complaint = await answer.text();
  } catch {
    complaint = "The sandbox does not answer.";
  }
  say(byId("complaint"), complaint);
}

function newSwitch(fault) {
  const button = make("button", { type: "button", id: fault.id, className: fault.ready_made ? "" : "coded" });
  button.dataset.id = fault.id;
  button.setAttribute("role", "switch");
  button.onclick = () => turn(button);
  button.append(make("span", { className: "name", textContent: fault.name }), make("span", { className: "detail" }, make("span", { className: "what" }), make("b")), make("span", { className: "knob" }));
  return make("li", {}, button);
}

function showFaults(faults) {
  const list = byId("switches");
  const known = new Set(faults.map((fault) => fault.id));
  for (const item of [...list.children]) if (!known.has(item.firstElementChild.id)) item.remove();
  for (const fault of faults) {
    const button = byId(fault.id) ?? list.appendChild(newSwitch(fault)).firstElementChild;
    button.setAttribute("aria-checked", String(fault.on));
    say(button.querySelector(".what"), fault.detail);
    say(button.querySelector("b"), fault.on ? ` · ${fault.hits === 1 ? "1 hit" : `${number.format(fault.hits)} hits`}` : "");
  }
}

// --- what was received, what was delivered ------------------------------------------------------------------------------

function breakable(path) {
  return path.split(/(?<=.\/)/).flatMap((part) => [make("wbr"), part]);
}

function showReceived(received) {
  for (const name of ["requests", "purchases", "replays", "rate_limited"]) say(byId(name), number.format(received[name]));
  byId("no-requests").hidden = received.routes.length > 0;
  byId("routes").hidden = received.routes.length === 0;
  byId("routes").tBodies[0].replaceChildren(...received.routes.map(({ route, count, failed }) => {
    const [method, path] = route.startsWith("unknown") ? ["", route] : route.split(" ");
    const name = make("td", {}, make("code", {}, make("span", { className: "method", textContent: method && `${method} ` }), ...breakable(path)));
    return make("tr", {}, name, make("td", { textContent: number.format(count) }), make("td", { textContent: number.format(failed), className: failed ? "bad" : "" }));
  }));
}

function showDeliveries(deliveries) {
  byId("no-deliveries").hidden = deliveries.length > 0;
  byId("delivered").replaceChildren(...deliveries.map((delivery) => {
    const attempt = delivery.attempt > 1 ? `attempt ${delivery.attempt}` : "";
    const item = make("li", {}, make("span", { className: "status", textContent: DELIVERED[delivery.status] }), make("span", { textContent: attempt }));
    item.append(make("code", { textContent: delivery.event_type }));
    item.dataset.status = delivery.status;
    item.append(make("span", { className: "to", textContent: delivery.error ?? delivery.url }));
    return item;
  }));
}

// --- the connection --------------------------------------------------------------------------------------------------

function hear(message) {
  clockAhead = message.now - Date.now() / 1000;
  if (message.sandbox) {
    say(byId("address"), message.sandbox.base_url);
    say(byId("speed"), message.sandbox.speed === 1 ? "as fast as life" : `${number.format(message.sandbox.speed)} times as fast as life`);
  }
  if (message.credits !== undefined) say(byId("credits"), number.format(message.credits));
  if (message.faults) showFaults(message.faults);
  if (message.received) showReceived(message.received);
  if (message.deliveries) showDeliveries(message.deliveries);
  if (message.counts) {
    note(message.counts);
    showCounts(message.counts);
  }
  learn(message.tasks);
  showJobs();
}

function connected(state, text) {
  byId("live").dataset.state = state;
  say(byId("live"), text);
}

function connect() {
  const source = new EventSource("/sandbox/events");
  let isFirst = true;
  source.onmessage = (event) => {
    if (isFirst) {
      tasks.clear(); // the first message tells everything
      byId("cards").replaceChildren();
      lastCounts = null;
      isFirst = false;
      connected("open", "Live");
    }
    hear(JSON.parse(event.data));
  };
  source.onerror = () => {
    isFirst = true;
    connected("waiting", "The sandbox does not answer; trying again");
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

for (const button of document.querySelectorAll("[data-filter]")) {
  button.onclick = () => {
    filter = button.dataset.filter;
    room = A_PAGE;
    for (const other of document.querySelectorAll("[data-filter]")) other.setAttribute("aria-pressed", String(other === button));
    showJobs();
  };
}
byId("more").onclick = () => {
  const next = byId("cards").childElementCount;
  room += A_PAGE;
  showJobs();
  const card = byId("cards").children[next];
  if (card) {
    card.tabIndex = -1;
    card.focus({ preventScroll: true });
  }
};
setInterval(() => { for (const { task, card } of tasks.values()) if (card?.isConnected && OPEN.has(task.status)) tick({ task, card }); }, 200);
setInterval(announce, 3000);
connect();
