"use strict";
// Text from clients is set as textContent, never as markup.

const MAX_TASKS = 200;
const PAGE_SIZE = 24;
const OPEN_STATUSES = new Set(["queued", "processing"]);
const STATUS_LABELS = { queued: "Queued", processing: "Processing", succeeded: "Succeeded", failed: "Failed" };
const DELIVERY_LABELS = { pending: "Pending", succeeded: "Delivered", failed: "Failed" };

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const tasks = new Map(); // id -> { task, card, renderedStatus }, the oldest first
let filter = "";
let visibleCount = PAGE_SIZE;
let total = 0;
let clockOffset = 0; // seconds by which the sandbox's clock is ahead of the browser's

function createElement(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const seconds = (value) => (value < 10 ? `${Math.max(0, value).toFixed(1)} s` : value < 90 ? `${Math.round(value)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`);
const credits = (value) => `${number.format(value)} credit${value === 1 ? "" : "s"}`;
const now = () => Date.now() / 1000 + clockOffset;

// --- jobs ------------------------------------------------------------------------------------------------------------

function createCard(task) {
  const card = createElement("li", { className: "card" });
  card.id = task.id;
  card.parts = { media: createElement("div"), status: createElement("span", { className: "status" }), time: createElement("span"), credits: createElement("span") };
  const facts = createElement("p", { className: "facts" }, createElement("span", { className: "model", textContent: task.model }), card.parts.status, card.parts.time, card.parts.credits);
  const prompt = createElement("p", { className: "prompt", textContent: task.prompt || "No prompt", title: task.prompt });
  card.append(card.parts.media, createElement("div", { className: "text" }, prompt, facts));
  return card;
}

function createImage(task, file, index) {
  const alt = task.files.length > 1 ? `${task.prompt}, ${index + 1} of ${task.files.length}` : task.prompt || "Image";
  const image = createElement("img", { src: file, alt, loading: "lazy", decoding: "async" });
  image.onerror = () => image.parentElement.replaceWith(createElement("p", { className: "pending", textContent: "The image failed to load." }));
  return createElement("a", { href: file, target: "_blank", rel: "noopener" }, image);
}

function createPlayer(task, tag) {
  const element = createElement(tag, { src: task.files[0], controls: true, preload: tag === "video" ? "metadata" : "none" });
  element.setAttribute("aria-label", task.prompt || tag);
  return element;
}

function media(task) {
  const box = createElement("div", { className: "media" });
  if (OPEN_STATUSES.has(task.status)) {
    const bar = createElement("progress", { max: 1, value: 0 });
    bar.setAttribute("aria-label", `Progress of ${task.prompt || task.model}`);
    box.className = "media pending";
    box.append(createElement("span", { textContent: task.status === "queued" ? "Queued" : "Processing" }), bar);
  } else if (task.status === "failed") {
    box.className = "media failed";
    box.append(createElement("strong", { textContent: "Failed" }), createElement("span", { textContent: task.failure }));
  } else if (task.category === "image") {
    const files = task.files.slice(0, 4);
    if (files.length > 1) box.className = "media many";
    box.append(...files.map((file, index) => createImage(task, file, index)));
  } else {
    if (task.category === "audio") box.className = "media sound";
    box.append(createPlayer(task, task.category === "audio" ? "audio" : "video"));
  }
  return box;
}

function renderCard(entry) {
  const { task, card } = entry;
  if (entry.renderedStatus !== task.status) {
    entry.renderedStatus = task.status;
    card.dataset.status = task.status;
    setText(card.parts.status, STATUS_LABELS[task.status]);
    setText(card.parts.credits, task.status === "failed" ? "refunded" : credits(task.credits));
    const box = media(task);
    card.parts.media.replaceWith(box);
    card.parts.media = box;
  }
  updateProgress(entry);
}

function updateProgress({ task, card }) {
  const until = OPEN_STATUSES.has(task.status) ? now() : task.ends_at;
  setText(card.parts.time, seconds(until - task.created_at));
  const bar = card.parts.media.querySelector("progress");
  if (bar) bar.value = Math.min(1, Math.max(0, (now() - task.created_at) / (task.ends_at - task.created_at)));
}

function renderTasks() {
  const list = byId("cards");
  const matching = [...tasks.values()].reverse().filter(({ task }) => !filter || task.status === filter);
  const shown = matching.slice(0, visibleCount);
  const shownIds = new Set(shown.map(({ task }) => task.id));
  for (const card of [...list.children]) if (!shownIds.has(card.id)) card.remove();
  let position = list.firstElementChild;
  for (const entry of shown) {
    entry.card ??= createCard(entry.task);
    renderCard(entry);
    if (entry.card === position) position = position.nextElementSibling; // moving a card would stop its player
    else list.insertBefore(entry.card, position);
  }
  byId("empty").hidden = total > 0;
  byId("no-match").hidden = total === 0 || shown.length > 0;
  setText(byId("no-match"), `None of the newest ${number.format(tasks.size)} jobs is ${filter}.`);
  byId("more").hidden = matching.length <= shown.length;
  byId("limit-note").hidden = total <= tasks.size;
  setText(byId("limit-note"), `The newest ${number.format(tasks.size)} of ${number.format(total)} jobs are listed; the others are counted.`);
}

function mergeTasks(changed) {
  for (const task of changed) {
    const known = tasks.get(task.id);
    if (known) known.task = task;
    else tasks.set(task.id, { task });
  }
  for (const id of tasks.keys()) {
    if (tasks.size <= MAX_TASKS) break;
    tasks.delete(id);
  }
}

function renderCounts(counts) {
  total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  for (const button of document.querySelectorAll("[data-filter]")) {
    setText(button.querySelector("b"), number.format(button.dataset.filter ? counts[button.dataset.filter] : total));
  }
}

// --- announcements of ended jobs to assistive technology ---------------------------------------------------------

const ended = { succeeded: 0, failed: 0 };
let lastCounts = null;

function countEnded(counts) {
  if (lastCounts) for (const status of Object.keys(ended)) ended[status] += Math.max(0, counts[status] - lastCounts[status]);
  lastCounts = counts;
}

function announce() {
  const parts = Object.entries(ended).filter(([, count]) => count).map(([status, count]) => `${number.format(count)} ${count === 1 ? "job" : "jobs"} ${status}`);
  if (!parts.length) return;
  setText(byId("announcer"), `${parts.join(", ")}.`);
  ended.succeeded = ended.failed = 0;
}

// --- faults ----------------------------------------------------------------------------------------------------------

async function toggleFault(button) {
  const body = { id: button.dataset.id, on: button.getAttribute("aria-checked") !== "true" };
  let error = "";
  try {
    const response = await fetch("/sandbox/faults", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (!response.ok) error = await response.text();
  } catch {
    error = "The sandbox does not answer.";
  }
  setText(byId("fault-error"), error);
}

function createToggle(fault) {
  const button = createElement("button", { type: "button", id: fault.id, className: fault.predefined ? "" : "custom" });
  button.dataset.id = fault.id;
  button.setAttribute("role", "switch");
  button.onclick = () => toggleFault(button);
  button.append(createElement("span", { className: "name", textContent: fault.name }), createElement("span", { className: "detail" }, createElement("span", { className: "what" }), createElement("b")), createElement("span", { className: "knob" }));
  return createElement("li", {}, button);
}

function renderFaults(faults) {
  const list = byId("toggles");
  const known = new Set(faults.map((fault) => fault.id));
  for (const item of [...list.children]) if (!known.has(item.firstElementChild.id)) item.remove();
  for (const fault of faults) {
    const button = byId(fault.id) ?? list.appendChild(createToggle(fault)).firstElementChild;
    button.setAttribute("aria-checked", String(fault.on));
    setText(button.querySelector(".what"), fault.detail);
    setText(button.querySelector("b"), fault.on ? ` · ${fault.hits === 1 ? "1 hit" : `${number.format(fault.hits)} hits`}` : "");
  }
}

// --- requests and webhook deliveries ------------------------------------------------------------------------------

function withBreaks(path) {
  return path.split(/(?<=.\/)/).flatMap((part) => [createElement("wbr"), part]);
}

function renderRequests(requests) {
  for (const name of ["total", "purchases", "replays", "rate_limited"]) setText(byId(name), number.format(requests[name]));
  byId("no-requests").hidden = requests.routes.length > 0;
  byId("routes").hidden = requests.routes.length === 0;
  byId("routes").tBodies[0].replaceChildren(...requests.routes.map(({ route, count, failed }) => {
    const [method, path] = route.startsWith("unknown") ? ["", route] : route.split(" ");
    const name = createElement("td", {}, createElement("code", {}, createElement("span", { className: "method", textContent: method && `${method} ` }), ...withBreaks(path)));
    return createElement("tr", {}, name, createElement("td", { textContent: number.format(count) }), createElement("td", { textContent: number.format(failed), className: failed ? "bad" : "" }));
  }));
}

function renderDeliveries(deliveries) {
  byId("no-deliveries").hidden = deliveries.length > 0;
  byId("delivered").replaceChildren(...deliveries.map((delivery) => {
    const attempt = delivery.attempt > 1 ? `attempt ${delivery.attempt}` : "";
    const item = createElement("li", {}, createElement("span", { className: "status", textContent: DELIVERY_LABELS[delivery.status] }), createElement("span", { textContent: attempt }));
    item.append(createElement("code", { textContent: delivery.event_type }));
    item.dataset.status = delivery.status;
    item.append(createElement("span", { className: "to", textContent: delivery.error ?? delivery.url }));
    return item;
  }));
}

// --- the connection --------------------------------------------------------------------------------------------------

function applyEvent(message) {
  clockOffset = message.now - Date.now() / 1000;
  if (message.sandbox) {
    setText(byId("address"), message.sandbox.base_url);
    setText(byId("speed"), message.sandbox.speed === 1 ? "real time" : `${number.format(message.sandbox.speed)} times real time`);
  }
  if (message.credits !== undefined) setText(byId("credits"), number.format(message.credits));
  if (message.faults) renderFaults(message.faults);
  if (message.requests) renderRequests(message.requests);
  if (message.deliveries) renderDeliveries(message.deliveries);
  if (message.counts) {
    countEnded(message.counts);
    renderCounts(message.counts);
  }
  mergeTasks(message.tasks);
  renderTasks();
}

function setConnection(state, text) {
  byId("live").dataset.state = state;
  setText(byId("live"), text);
}

function connect() {
  const source = new EventSource("/sandbox/events");
  let isFirstEvent = true;
  source.onmessage = (event) => {
    if (isFirstEvent) {
      tasks.clear(); // the first event holds the whole state
      byId("cards").replaceChildren();
      lastCounts = null;
      isFirstEvent = false;
      setConnection("open", "Live");
    }
    applyEvent(JSON.parse(event.data));
  };
  source.onerror = () => {
    isFirstEvent = true;
    setConnection("waiting", "The sandbox does not answer; trying again");
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

for (const button of document.querySelectorAll("[data-filter]")) {
  button.onclick = () => {
    filter = button.dataset.filter;
    visibleCount = PAGE_SIZE;
    for (const other of document.querySelectorAll("[data-filter]")) other.setAttribute("aria-pressed", String(other === button));
    renderTasks();
  };
}
byId("more").onclick = () => {
  const next = byId("cards").childElementCount;
  visibleCount += PAGE_SIZE;
  renderTasks();
  const card = byId("cards").children[next];
  if (card) {
    card.tabIndex = -1;
    card.focus({ preventScroll: true });
  }
};
setInterval(() => { for (const { task, card } of tasks.values()) if (card?.isConnected && OPEN_STATUSES.has(task.status)) updateProgress({ task, card }); }, 200);
setInterval(announce, 3000);
connect();
